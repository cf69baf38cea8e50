"""Quadruplet loss (Chen et al., 2017) on mined triplets."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, row_distances, safe_sqrt, squared_distances
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, masked_mean, members, needed, present


@OBJECTIVES.register("quadruplet")
class Quadruplet(nn.Module):
    """mean of [d(a,p) - d(a,n) + margin]+ plus mean of [d(a,p) - d(n,f) + second_margin]+, d Euclidean, where the
    fourth sample f belongs to a third class.

    The mean over all such f of the batch is taken: the expectation of drawing one for each triplet. A caller that has
    drawn them gives them as `fourth`. Distances and margins are those of the consistent comparison (Roth et al.,
    2020); the paper squares distances and adapts the margins. The published code compares d(a,p) of every triplet with
    d(n,f) of every other, f almost uniform over the batch whatever its class: `as_published=True`, behind the
    Quadruplet rows of that paper (without `fourth`, f is then uniform over the batch).
    """

    takes = "triplets"
    normalize = True
    proxy_table: str | None = None
    revision = 1

    def __init__(
        self,
        *,
        margin: NonNegativeFloat = 0.2,
        second_margin: NonNegativeFloat = 0.2,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.second_margin = second_margin
        self.as_published = as_published

    def forward(
        self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None, fourth: Tensor | None = None
    ) -> Tensor:
        """Embeddings [B, D], labels [B], triplets [T] and, if wanted, fourth positions [T] -> loss."""
        tuples = needed(tuples)
        anchor, positive, negative = members(embeddings, tuples)
        near = row_distances(anchor, positive)
        first = (near - row_distances(anchor, negative) + self.margin).relu()
        apart, counts = self._fourths(at_least_float32(embeddings), labels, tuples, fourth)
        second = (near[:, None] - apart + self.second_margin).relu()
        per_triplet = (second * counts).sum(1) / counts.sum(1).clamp_min(1)
        here = present(tuples)
        return masked_mean(first, here) + masked_mean(per_triplet, here & counts.any(1))

    def _fourths(
        self, embeddings: Tensor, labels: Tensor, tuples: Triplets, fourth: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Distances of the negatives to the candidates for f, and which of them count: two [T, candidates]."""
        if fourth is not None and not self.as_published:
            apart = row_distances(embeddings[tuples.negative], embeddings[fourth])[:, None]
            return apart, torch.ones_like(apart, dtype=torch.bool)
        # A sample can meet itself here, and has to be at distance 0 then, not at the root of a rounding error.
        other = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        distances = safe_sqrt(squared_distances(embeddings, embeddings) * other)
        apart = functional.embedding(tuples.negative, distances if fourth is None else distances[:, fourth])
        if self.as_published:
            return apart, torch.ones_like(apart, dtype=torch.bool)
        named = torch.stack((labels[tuples.anchor], labels[tuples.negative]))
        return apart, (named[:, :, None] != labels).all(0)
