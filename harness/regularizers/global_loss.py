"""Global loss: the distances of matching and of other pairs become two narrow distributions that stand apart."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from harness.registry import REGULARIZERS
from harness.tuples import Triplets, masked_mean, members, needed, present

TOLD = ("global_loss", "mean_positive", "mean_negative", "variance_positive", "variance_negative")


@REGULARIZERS.register("global_loss")
class GlobalLoss(nn.Module):
    """objective_weight * loss + var+ + var- + mean_weight * [ mean+ - mean- + margin ]+ (Kumar et al., 2016).

    mean and var (divided by N, not N - 1) are those of d+ = |a - p|^2 / 4 and d- = |a - n|^2 / 4 over the triplets of
    the batch, mined or random, which lie in [0, 1] for embeddings of unit length: equation 3 of Harwood et al. (2017).

    FOUND: the form of the term and `margin` (t) 0.01. INFERRED: a batch stands for the training set that the equation
    sums over. Of third parties: `mean_weight` (lambda) 0.8. RECONSTRUCTED: that the two losses are added, and
    `objective_weight` (gamma) 1; the paper has no equation for that.
    """

    needs = frozenset({"tuples"})
    revision = 1
    told: Tensor

    def __init__(
        self,
        *,
        margin: NonNegativeFloat = 0.01,
        mean_weight: NonNegativeFloat = 0.8,
        objective_weight: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.mean_weight = mean_weight
        self.objective_weight = objective_weight
        self.register_buffer("told", torch.zeros(len(TOLD) + 1, dtype=torch.float64))  # sums over batches, and how many
        self._tuples: Triplets | None = None

    def on_tuples(self, tuples: Triplets, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """The triplets as they are, which `on_loss` of the same batch will need."""
        self._tuples = tuples
        return tuples

    def on_loss(self, loss: Tensor, embeddings: Tensor, labels: Tensor, objective: nn.Module) -> Tensor:
        """The objective's loss and the global one, of embeddings [B, D] with the triplets of this batch."""
        tuples, self._tuples = needed(self._tuples), None
        anchor, positive, negative = members(embeddings, tuples)
        counted = present(tuples)
        near, near_spread = moments((anchor - positive).square().sum(1) / 4, counted)
        far, far_spread = moments((anchor - negative).square().sum(1) / 4, counted)
        apart = self.mean_weight * (near - far + self.margin).relu() * counted.any()
        term = near_spread + far_spread + apart
        self._tell(term, near, far, near_spread, far_spread)
        return self.objective_weight * loss + term

    @torch.no_grad()
    def _tell(self, *numbers: Tensor) -> None:
        self.told += torch.stack([*numbers, torch.ones_like(numbers[0])]).detach()

    def epoch_numbers(self) -> dict[str, float]:
        """Means over the batches since this was asked last."""
        *sums, batches = self.told.tolist()
        self.told.zero_()
        return {name: total / batches for name, total in zip(TOLD, sums, strict=True)} if batches else {}


def moments(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance of the values [T] where the mask holds; 0 with gradients of 0 where it does not."""
    mean = masked_mean(values, mask)
    return mean, masked_mean((values - mean).square(), mask)
