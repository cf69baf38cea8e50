"""Triplet loss as a ratio of distances (Harwood et al., 2017)."""

from __future__ import annotations

from pydantic import PositiveFloat
from torch import Tensor, nn

from harness.geometry import row_distances
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, masked_mean, members, needed, present


@OBJECTIVES.register("triplet_ratio")
class TripletRatio(nn.Module):
    """mean over triplets of [ 1 - d(a,n) / (d(a,p) + margin) ]+, d Euclidean and not squared: equation 2 of the paper.

    FOUND in a translation of the paper, margin 0.2 included. A triplet is active exactly where that of a hinge with
    d(a,n) < d(a,p) + margin is, but the negative is pushed the more the nearer the positive is, and no triplet costs
    more than 1. Inactive triplets count in the mean (INFERRED: the loss is a sum over all triplets of the batch).
    """

    takes = "triplets"
    normalize = True
    proxy_table: str | None = None
    revision = 1

    def __init__(self, *, margin: PositiveFloat = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B], triplets -> loss."""
        tuples = needed(tuples)
        anchor, positive, negative = members(embeddings, tuples)
        ratio = row_distances(anchor, negative) / (row_distances(anchor, positive) + self.margin)
        return masked_mean((1 - ratio).relu(), present(tuples))
