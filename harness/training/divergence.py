"""Noticing that a run has diverged, and saying how: what each step showed, and what is no longer a number."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.errors import Diverged

LOOK_EVERY = 50
"""Steps between two looks at the log: each makes the host wait for the device, and a run may diverge at once."""

SHOWN = 3
"""Steps that a message tells of: the first that is wrong and those before."""


class StepLog:
    """Three numbers of each step of an epoch, kept on the device: loss, largest |embedding|, norm of the gradient."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.numbers = torch.zeros(steps, 3, device=device)  # [steps, 3]
        self.steps = 0

    def note(self, loss: Tensor, embeddings: Tensor, gradient: Tensor) -> None:
        """Keep the numbers of the next step, without waiting for the device."""
        largest = embeddings.detach().abs().amax()
        torch.stack([loss.detach().float(), largest, gradient], out=self.numbers[self.steps])
        self.steps += 1

    def due(self) -> bool:
        """Whether it is time to look."""
        return self.steps % LOOK_EVERY == 0 or self.steps == len(self.numbers)

    def first_bad(self) -> int | None:
        """The first step with a loss or an embedding that is not finite."""
        # A gradient too large to be squared is not yet the end: clipping or Adam may survive it.
        bad = (~self.numbers[: self.steps, :2].isfinite()).any(1).nonzero()
        return int(bad[0]) if len(bad) else None

    def mean_loss(self) -> float:
        """The mean loss of all steps."""
        return self.numbers[: self.steps, 0].mean().item()

    def tell(self, step: int) -> str:
        """A step and those before it, in words."""
        rows = list(enumerate(self.numbers[: step + 1].tolist(), 1))[-SHOWN:]
        return "; ".join(
            f"step {number}: loss {loss:.3g}, largest |embedding| {largest:.3g}, norm of the gradient {gradient:.3g}"
            for number, (loss, largest, gradient) in rows
        )


def diverged(log: StepLog, step: int, epoch: int, optimizer: torch.optim.Optimizer, *modules: nn.Module) -> Diverged:
    """What is known of a run whose step (from 0) of an epoch (from 0) went wrong."""
    loss = log.numbers[step, 0].item()
    what = f"the loss became {loss}" if not torch.tensor(loss).isfinite() else "embeddings became nan or infinite"
    rates = sorted({group["lr"] for group in optimizer.param_groups})
    at = f"learning rate {rates[0]:.3g}" if len(rates) == 1 else f"learning rates {rates[0]:.3g} to {rates[-1]:.3g}"
    return Diverged(
        f"{what} at step {step + 1} of epoch {epoch + 1} ({log.tell(step)}; {at}); {broken(*modules)}; a smaller "
        "optimizer.lr or a training.gradient_clip may help"
    )


def broken(*modules: nn.Module) -> str:
    """Which weights hold something that is not finite now."""
    named = [(name, weight) for module in modules for name, weight in module.named_parameters()]
    bad = [name for name, weight in named if not bool(weight.isfinite().all())]
    if not bad:
        return "all weights are finite"
    shown = ", ".join(bad[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
    return f"nan or infinity in {len(bad)} of {len(named)} tensors of weights ({shown})"
