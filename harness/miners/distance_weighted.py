"""Distance-weighted mining (Wu et al., 2017)."""

from __future__ import annotations

import torch
from pydantic import PositiveFloat
from torch import Tensor

from harness.geometry import at_least_float32
from harness.registry import MINERS
from harness.tuples import Triplets, choose, found_rows, inverse_density_weights, negative_mask, partner_mask


@MINERS.register("distance_weighted")
class DistanceWeighted:
    """Per anchor a random positive, and a negative with probability ~ 1 / q(max(d, lower_cutoff)), where q is the
    density of distances on the unit sphere; negatives from `upper_cutoff` on are not drawn (equation 4 and the code of
    the paper).

    Where every negative is beyond it, one uniform among all. Every sample with a partner is an anchor once. The code of
    the consistent comparison (Roth et al., 2020) declares the upper cutoff but never applies it: `upper_cutoff: null`.
    """

    revision = 1

    def __init__(self, *, lower_cutoff: PositiveFloat = 0.5, upper_cutoff: PositiveFloat | None = 1.4) -> None:
        self.lower_cutoff = lower_cutoff
        self.upper_cutoff = upper_cutoff

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Unit-norm embeddings [B, D], labels [B] -> up to B triplets."""
        positive = choose(partner_mask(labels), generator)
        negative = choose(self.weights(embeddings, labels), generator)
        return found_rows(torch.arange(len(labels), device=labels.device), positive, negative)

    def weights(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """What each negative's probability is proportional to, 0 for the own class: [B, D], [B] -> float64 [B, B]."""
        return inverse_density_weights(
            at_least_float32(embeddings), negative_mask(labels), self.lower_cutoff, self.upper_cutoff
        )
