"""A control arm: distance-weighted mining with shuffled labels."""

from __future__ import annotations

import torch
from pydantic import PositiveFloat
from torch import Tensor

from harness.geometry import at_least_float32
from harness.registry import MINERS
from harness.tuples import Triplets, choose, found_rows, inverse_density_weights, negative_mask, partner_mask


@MINERS.register("random_label")
class RandomLabel:
    """Distance-weighted mining (as `distance_weighted`) after the labels of the batch were permuted at random.

    Its triplets say nothing about the true classes; what an objective still learns from them it does not learn from
    labels. From the published code of Roth et al. (2020), where it is named random_distance.
    """

    revision = 1

    def __init__(self, *, lower_cutoff: PositiveFloat = 0.5, upper_cutoff: PositiveFloat | None = 1.4) -> None:
        self.lower_cutoff = lower_cutoff
        self.upper_cutoff = upper_cutoff

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Unit-norm embeddings [B, D], labels [B] -> up to B triplets of shuffled labels."""
        order = torch.rand(len(labels), device=labels.device, generator=generator).argsort()
        labels = labels[order]
        weights = inverse_density_weights(
            at_least_float32(embeddings), negative_mask(labels), self.lower_cutoff, self.upper_cutoff
        )
        positive = choose(partner_mask(labels), generator)
        negative = choose(weights, generator)
        return found_rows(torch.arange(len(labels), device=labels.device), positive, negative)
