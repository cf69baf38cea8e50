"""Soft-hard mining: random among the hard ones (Roth and Brattoli, 2019; Roth et al., 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.geometry import at_least_float32, squared_distances
from harness.registry import MINERS
from harness.tuples import Triplets, choose, found_rows, negative_mask, partner_mask, prefer


@MINERS.register("softhard")
class Softhard:
    """Per anchor a positive uniform among those farther than its nearest negative, and independently a negative uniform
    among those nearer than its farthest positive; where there is none, uniform among all.

    Every sample with a partner is an anchor once.
    """

    revision = 1

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> up to B triplets."""
        embeddings = at_least_float32(embeddings)
        distances = squared_distances(embeddings, embeddings)
        partners, negatives = partner_mask(labels), negative_mask(labels)
        nearest_negative = distances.masked_fill(~negatives, torch.inf).amin(1, keepdim=True)
        farthest_positive = distances.masked_fill(~partners, -torch.inf).amax(1, keepdim=True)
        positive = choose(prefer(partners & (distances > nearest_negative), partners), generator)
        negative = choose(prefer(negatives & (distances < farthest_positive), negatives), generator)
        return found_rows(torch.arange(len(labels), device=labels.device), positive, negative)
