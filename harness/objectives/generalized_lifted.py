"""Generalized lifted-structure loss (Hermans et al., 2017; after Song et al., 2016)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from harness.geometry import at_least_float32, masked_logsumexp, row_norms, safe_sqrt, squared_distances
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, masked_mean, negative_mask, partner_mask


@OBJECTIVES.register("generalized_lifted")
class GeneralizedLifted(nn.Module):
    """mean over anchors of [ log sum_p e^d(a,p) + log sum_n e^(margin - d(a,n)) ]+ + l2_weight * mean |z|, d Euclidean
    on embeddings of any length, over all positives and negatives of the batch (Hermans et al., equation 8).

    An anchor is every sample with another one of its class. Defaults are those of the consistent comparison (Roth et
    al., 2020); the norm penalty is not in the paper. A batch without a pair gives 0. The published code adds 1e-6 to
    every coordinate difference (torch's PairwiseDistance): `as_published=True`.
    """

    takes = "batch"
    normalize = False
    proxy_table: str | None = None
    revision = 1

    def __init__(
        self, *, margin: NonNegativeFloat = 1.0, l2_weight: NonNegativeFloat = 0.005, as_published: bool = False
    ) -> None:
        super().__init__()
        self.margin = margin
        self.l2_weight = l2_weight
        self.shift = 1e-6 if as_published else 0.0

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        distances = self._distances(embeddings)
        partners = partner_mask(labels)
        pull = masked_logsumexp(distances, partners)
        push = masked_logsumexp(self.margin - distances, negative_mask(labels))
        anchors = partners.any(1)
        penalty = self.l2_weight * row_norms(embeddings).mean()
        return masked_mean((pull + push).relu(), anchors) + torch.where(anchors.any(), penalty, 0)

    def _distances(self, embeddings: Tensor) -> Tensor:
        """Of every two samples: embeddings [B, D] -> [B, B]."""
        squared = squared_distances(embeddings, embeddings)
        if self.shift:
            # |x - y + s|^2 = |x - y|^2 + 2 s sum(x - y) + D s^2, without a [B, B, D] tensor of differences.
            sums = embeddings.sum(1)
            shifted = squared + 2 * self.shift * (sums[:, None] - sums[None, :]) + embeddings.shape[1] * self.shift**2
            squared = shifted.clamp_min(0)
        return safe_sqrt(squared)
