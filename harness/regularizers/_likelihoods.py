"""What non-isotropy regularization tells of an epoch: how likely samples were, and how hard it pulled at them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

QUANTILES = {"min": 0.0, "median": 0.5, "p99": 0.99, "max": 1.0}


class EpochRecord(nn.Module):
    """The negative log-likelihood of each sample and the ratio of gradient norms of each step, of one epoch.

    Nothing waits for the device before the epoch is over. What is noted is part of the state, so that a run that was
    left in the middle of an epoch tells the same numbers in the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._noted: dict[str, list[Tensor]] = {"likelihoods": [], "ratios": []}

    def note(self, likelihoods: Tensor) -> None:
        """The negative log-likelihoods [B] of a step."""
        self._noted["likelihoods"].append(likelihoods.detach())

    def watched(self, embeddings: Tensor) -> Tensor:
        """The embeddings [B, D] themselves, for one of two terms of a loss.

        When the gradients come, the norm of that term's on the embeddings is noted as a ratio to that of all others.
        """
        if not embeddings.requires_grad:
            return embeddings
        own: list[Tensor] = []
        ratios = self._noted["ratios"]

        def compare(total: Tensor) -> None:
            mine = own[0].double() if own else torch.zeros_like(total, dtype=torch.float64)
            ratios.append((mine.norm() / (total.double() - mine).norm()).reshape(1))

        branch = embeddings.view_as(embeddings)
        branch.register_hook(own.append)  # type: ignore[no-untyped-call]
        embeddings.register_hook(compare)  # type: ignore[no-untyped-call]
        return branch

    def epoch_numbers(self) -> dict[str, float]:
        """Quantiles of the likelihoods, median and maximum of the ratios; forgets what it told."""
        likelihoods, ratios = (_joined(noted) for noted in self._noted.values())
        for noted in self._noted.values():
            noted.clear()
        levels = torch.tensor(list(QUANTILES.values()), dtype=torch.float64)
        numbers = {f"nir_nll_{name}": math.nan for name in QUANTILES}
        if len(likelihoods):
            found = torch.quantile(likelihoods.double().cpu(), levels)
            numbers = dict(zip(numbers, found.tolist(), strict=True))
        if len(ratios):
            ratios = ratios.cpu()
            numbers |= {"nir_gradient_ratio": float(ratios.median()), "nir_gradient_ratio_max": float(ratios.max())}
        return numbers

    def get_extra_state(self) -> dict[str, Tensor]:
        """What was noted since the epoch began."""
        return {name: _joined(noted) for name, noted in self._noted.items()}

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """The inverse of `get_extra_state`."""
        self._noted = {name: [noted] for name, noted in state.items()}


def _joined(noted: list[Tensor]) -> Tensor:
    return torch.cat(noted) if noted else torch.empty(0)
