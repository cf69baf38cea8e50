"""Triplet loss (Schroff et al., 2015)."""

from __future__ import annotations

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from harness.registry import OBJECTIVES
from harness.tuples import Triplets, masked_mean, members, needed, present


@OBJECTIVES.register("triplet")
class Triplet(nn.Module):
    """mean over triplets of [ |a - p|^2 - |a - n|^2 + margin ]+, equation 3 of the paper.

    Inactive triplets count in the mean.
    """

    takes = "triplets"
    normalize = True
    proxy_table: str | None = None
    revision = 1

    def __init__(self, *, margin: NonNegativeFloat = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B], triplets -> loss."""
        tuples = needed(tuples)
        anchor, positive, negative = members(embeddings, tuples)
        near = (anchor - positive).square().sum(1)
        far = (anchor - negative).square().sum(1)
        return masked_mean((near - far + self.margin).relu(), present(tuples))
