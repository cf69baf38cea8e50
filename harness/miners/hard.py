"""Batch-hard mining (Hermans et al., 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.geometry import at_least_float32, squared_distances
from harness.registry import MINERS
from harness.tuples import Triplets, found_rows, negative_mask, partner_mask


@MINERS.register("hard")
class Hard:
    """Per anchor its farthest positive and its nearest negative (equation 5 of the paper).

    Every sample with a partner is an anchor once; of equal distances the first counts. No chance is involved.
    """

    revision = 1

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> up to B triplets."""
        embeddings = at_least_float32(embeddings)
        distances = squared_distances(embeddings, embeddings)
        partners, negatives = partner_mask(labels), negative_mask(labels)
        farthest = distances.masked_fill(~partners, -torch.inf).argmax(1)
        nearest = distances.masked_fill(~negatives, torch.inf).argmin(1)
        positive = torch.where(partners.any(1), farthest, -1)
        negative = torch.where(negatives.any(1), nearest, -1)
        return found_rows(torch.arange(len(labels), device=labels.device), positive, negative)
