"""Random triplets: the miner that looks at labels alone."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.registry import MINERS
from harness.tuples import Triplets, choose, found_rows, negative_mask, partner_mask


@MINERS.register("random")
class Random:
    """As many triplets as the batch has samples, each uniform over all valid ones (same class, other sample; other
    class).

    Draws are independent, so a triplet can occur twice; the published code (Roth et al., 2020) lists all triplets and
    draws without replacement, which at 56 classes x 2 concerns one triplet in 220.
    """

    revision = 1

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> up to B triplets."""
        partners, negatives = partner_mask(labels), negative_mask(labels)
        # An anchor is in (its partners) x (its negatives) triplets, and these two are independent given the anchor.
        triplets_of = partners.sum(1) * negatives.sum(1)
        anchor = choose(triplets_of.expand(len(labels), -1), generator)
        row = anchor.clamp_min(0)
        return found_rows(anchor, choose(partners[row], generator), choose(negatives[row], generator))
