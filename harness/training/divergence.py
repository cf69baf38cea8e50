"""Noticing that a run has diverged, and saying how: what each step showed, and what is no longer a number."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.errors import Diverged
from harness.training.optimizer import gradient_norm, parameters_of

LOOK_EVERY = 50
"""Steps between two looks at the log: each makes the host wait for the device, and a run may diverge at once."""

SHOWN = 3
"""Steps that a message tells of: the first that is wrong and those before."""


class StepLog:
    """Numbers of each step of an epoch, kept on the device: loss, largest |embedding|, and the norm of the gradient
    where it was computed, to be clipped."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.losses: list[Tensor] = []
        self.largest: list[Tensor] = []
        self.gradients: list[Tensor] = []

    def note(self, loss: Tensor, embeddings: Tensor, gradient: Tensor | None) -> None:
        """Keep the numbers of the next step, without waiting for the device."""
        self.losses.append(loss.detach())
        self.largest.append(embeddings.detach().abs().amax())
        if gradient is not None:
            self.gradients.append(gradient)

    def state(self) -> dict[str, list[Tensor]]:
        """What the steps so far have shown, for a checkpoint inside an epoch."""
        return {"losses": self.losses, "largest": self.largest, "gradients": self.gradients}

    def load_state(self, state: dict[str, list[Tensor]]) -> None:
        """Go on after the steps of a state."""
        self.losses, self.largest, self.gradients = (list(state[name]) for name in ("losses", "largest", "gradients"))

    def due(self) -> bool:
        """Whether it is time to look."""
        return len(self.losses) % LOOK_EVERY == 0 or len(self.losses) == self.steps

    def first_bad(self) -> int | None:
        """The first step with a loss or an embedding that is not finite, of those since the last look."""
        # A gradient too large to be squared is not yet the end: clipping or Adam may survive it.
        begin = (len(self.losses) - 1) // LOOK_EVERY * LOOK_EVERY
        seen = torch.stack([torch.stack(self.losses[begin:]).float(), torch.stack(self.largest[begin:])])
        bad = (~seen.isfinite()).any(0).nonzero()
        return begin + int(bad[0]) if len(bad) else None

    def mean_loss(self) -> float:
        """The mean loss of all steps."""
        return torch.stack(self.losses).float().mean().item()

    def tell(self, step: int) -> str:
        """A step and those before it, in words."""
        return "; ".join(self._tell(number) for number in range(max(0, step + 1 - SHOWN), step + 1))

    def _tell(self, step: int) -> str:
        said = (
            f"step {step + 1}: loss {self.losses[step].item():.3g}, largest |embedding| {self.largest[step].item():.3g}"
        )
        return f"{said}, norm of the gradient {self.gradients[step].item():.3g}" if self.gradients else said


def diverged(log: StepLog, step: int, epoch: int, optimizer: torch.optim.Optimizer, *modules: nn.Module) -> Diverged:
    """What is known of a run whose step (from 0) of an epoch (from 0) went wrong."""
    loss = log.losses[step].item()
    what = "embeddings became nan or infinite" if math.isfinite(loss) else f"the loss became {loss}"
    gradient = gradient_norm(parameters_of(optimizer)).item()
    rates = sorted({group["lr"] for group in optimizer.param_groups})
    at = f"learning rate {rates[0]:.3g}" if len(rates) == 1 else f"learning rates {rates[0]:.3g} to {rates[-1]:.3g}"
    return Diverged(
        f"{what} at step {step + 1} of epoch {epoch + 1} ({log.tell(step)}; {at}); at step {len(log.losses)} the norm "
        f"of the gradient is {gradient:.3g}, with {broken(*modules)}; a smaller optimizer.lr or a "
        "training.gradient_clip may help"
    )


def broken(*modules: nn.Module) -> str:
    """Which weights hold something that is not finite now."""
    named = [(name, weight) for module in modules for name, weight in module.named_parameters()]
    bad = [name for name, weight in named if not bool(weight.isfinite().all())]
    if not bad:
        return "all weights are finite"
    shown = ", ".join(bad[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
    return f"nan or infinity in {len(bad)} of {len(named)} tensors of weights ({shown})"
