"""Batches whose distances are distributed like those of a larger pool ("DDM", Roth et al., 2020)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from harness.geometry import row_norms, safe_sqrt, squared_distances
from harness.registry import SAMPLERS
from harness.samplers._matching import Matching


@SAMPLERS.register("distance_matching")
class DistanceMatching:
    """Of several class-balanced candidates from a class-balanced pool, the one with the lowest
    |mean - mean*| + |std - std*| + histogram_weight * W, the starred ones of the pool, taken over coordinates.

    W is the Wasserstein distance between the distributions of pair distances of candidate and pool, both as normalized
    histograms on the pool's range. The published code gives the two histograms to a routine that expects samples, so
    that its W is the mean difference of their sorted heights and does not see where on the axis they lie:
    `as_published=True`.
    """

    needs_embeddings = True
    revision = 1

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        samples_per_class: PositiveInt = 2,
        pool_size: PositiveInt = 512,
        candidates: PositiveInt = 10,
        bins: PositiveInt = 50,
        histogram_weight: NonNegativeFloat = 150.0,
        as_published: bool = False,
    ) -> None:
        self.matching = Matching.by(labels, batch_size, samples_per_class, pool_size, candidates)
        self.bins = bins
        self.histogram_weight = histogram_weight
        self.as_published = as_published

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None = None) -> Tensor:
        """All batches of one epoch: embeddings [N, D] -> int64 [steps, batch_size]."""
        return self.matching.epoch(generator, embeddings, self.cost)

    def cost(self, points: Tensor, candidates: Tensor) -> Tensor:
        """How far candidates are from their pool: [P, D], int64 [candidates, B] -> [candidates]."""
        members = points[candidates]
        location = row_norms(members.mean(1) - points.mean(0))
        scale = row_norms(members.std(1, correction=0) - points.std(0, correction=0))
        return location + scale + self.histogram_weight * self._histogram_distances(points, candidates)

    def _histogram_distances(self, points: Tensor, candidates: Tensor) -> Tensor:
        """Wasserstein distance of each candidate's pair distances to the pool's: [candidates]."""
        distances = safe_sqrt(squared_distances(points, points))
        pairs = distances[tuple(pairs_of(len(points), points.device))]
        low, high = pairs.min(), pairs.max()
        width = (high - low) / self.bins
        # A pool without spread has everything in the first bin.
        cells = ((distances - low) / torch.where(width > 0, width, 1)).long().clamp(0, self.bins - 1)
        everyone = torch.arange(len(points), device=points.device)[None]
        pool = pair_histograms(cells, everyone, self.bins)
        heights = pair_histograms(cells, candidates, self.bins)
        if self.as_published:
            return (heights.sort(1).values - pool.sort(1).values).abs().mean(1)
        return (heights.cumsum(1) - pool.cumsum(1)).abs().sum(1) * width


def pairs_of(count: int, device: torch.device) -> Tensor:
    """All unordered pairs of positions: int64 [2, count (count - 1) / 2]."""
    return torch.triu_indices(count, count, 1, device=device)


def pair_histograms(cells: Tensor, members: Tensor, bins: int) -> Tensor:
    """In which share of its pairs each group has each cell: cells int64 [P, P], members int64 [G, B] -> [G, bins]."""
    first, second = pairs_of(members.shape[1], members.device)
    found = cells[members[:, first], members[:, second]]
    groups = torch.arange(len(members), device=members.device)[:, None] * bins
    counts = torch.bincount((found + groups).flatten(), minlength=len(members) * bins)
    return counts.view(-1, bins).double() / found.shape[1]
