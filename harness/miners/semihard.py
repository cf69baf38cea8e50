"""Semi-hard mining (Schroff et al., 2015)."""

from __future__ import annotations

import torch
from pydantic import PositiveFloat
from torch import Tensor

from harness.geometry import at_least_float32, safe_sqrt, squared_distances
from harness.registry import MINERS
from harness.tuples import Triplets, choose, found_rows, negative_mask, partner_mask, prefer


@MINERS.register("semihard")
class Semihard:
    """Per anchor a random positive p, and a negative n uniform among d(a,p) < d(a,n) < d(a,p) + margin.

    Where there is no such negative, one uniform among all. Every sample with a partner is an anchor once. Distances are
    not squared, as in the consistent comparison (Roth et al., 2020), although the triplet loss squares them.
    """

    revision = 1

    def __init__(self, *, margin: PositiveFloat = 0.2) -> None:
        self.margin = margin

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> up to B triplets."""
        embeddings = at_least_float32(embeddings)
        distances = safe_sqrt(squared_distances(embeddings, embeddings))
        negatives = negative_mask(labels)
        positive = choose(partner_mask(labels), generator)
        reach = distances.gather(1, positive.clamp_min(0)[:, None])
        window = negatives & (distances > reach) & (distances < reach + self.margin)
        negative = choose(prefer(window, negatives), generator)
        return found_rows(torch.arange(len(labels), device=labels.device), positive, negative)
