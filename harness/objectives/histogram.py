"""Histogram loss (Ustinova and Lempitsky, 2016)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.geometry import at_least_float32
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, negative_mask, partner_mask


@OBJECTIVES.register("histogram")
class Histogram(nn.Module):
    """The probability that a negative pair is more similar than a positive one: sum_r h-(r) sum_{q <= r} h+(q).

    h+ and h- are histograms of the inner products of positive and negative pairs over `bins` nodes on [-1, 1], where
    each pair is shared between its two nodes in proportion to its nearness (equations 1 to 4 of the paper). The
    consistent comparison (Roth et al., 2020) has 65 nodes, on Stanford Online Products 11.

    Its code finds the two nodes of a pair by equality of floating-point numbers. That holds for 65 nodes, but for most
    other numbers the share of the upper node is lost in part of the cells (with 11 nodes in 6 of 10), and with it about
    half the mass: `as_published=True`, behind the Histogram row of Stanford Online Products.
    """

    takes = "batch"
    normalize = True
    proxy_table: str | None = None
    revision = 1
    upper_kept: Tensor

    def __init__(self, *, bins: Annotated[int, Field(ge=2)] = 65, as_published: bool = False) -> None:
        super().__init__()
        self.bins = bins
        kept = published_cells(bins) if as_published else torch.ones(bins - 1)
        self.register_buffer("upper_kept", kept, persistent=False)

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        similarities = embeddings @ embeddings.T
        negatives = negative_mask(labels)
        pairs = partner_mask(labels) | negatives
        histograms = self._histograms(similarities, negatives, pairs)
        return (histograms[1] * histograms[0].cumsum(0)).sum()

    def _histograms(self, similarities: Tensor, negatives: Tensor, pairs: Tensor) -> Tensor:
        """Histograms of the positive and of the negative pairs, each of mass 1 (or 0 without pairs): [2, bins]."""
        # Every pair is there twice, (i, j) and (j, i), which the division takes out again.
        place = (similarities + 1) * ((self.bins - 1) / 2)
        # What is not a number must become a loss that is none, not an index.
        cell = place.detach().nan_to_num().floor().clamp(0, self.bins - 2).long()
        lower = (1 - (place - cell).abs()).relu() * pairs
        upper = (1 - (place - cell - 1).abs()).relu() * pairs * self.upper_kept[cell]
        node = (cell + self.bins * negatives).flatten()
        sums = similarities.new_zeros(2 * self.bins)
        sums = sums.index_add(0, node, lower.flatten()).index_add(0, node + 1, upper.flatten())
        counts = torch.stack(((pairs & ~negatives).sum(), negatives.sum()))
        return sums.view(2, self.bins) / counts.clamp_min(1)[:, None]


def published_cells(bins: int) -> Tensor:
    """In which cells the published code finds the upper node: 0 or 1, [bins - 1].

    In float64, it compares the lower end of a similarity's cell with all nodes, and with all nodes less one width.
    """
    width = 2 / (bins - 1)
    nodes = torch.arange(bins, dtype=torch.float64) * width - 1
    nodes[-1] = 1.0
    lower_ends = nodes[:-1]
    return (lower_ends == nodes[1:] - width).float()
