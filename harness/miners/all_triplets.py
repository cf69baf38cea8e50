"""Every valid triplet of the batch, for batches so small that nothing need be chosen."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.registry import MINERS
from harness.tuples import Triplets, negative_mask, partner_mask


@MINERS.register("all_triplets")
class AllTriplets:
    """Anchor, another sample of its class, a sample of another class: all of them, in the order of their positions.

    At 56 classes x 2 these are 12,320 triplets, at 14 classes x 8 already 81,536. How many there are is only known on
    the device, so an accelerator is waited for once a step: cheaper than a row for each of B^3 candidates.
    """

    revision = 1

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> all valid triplets; chance plays no part."""
        valid = partner_mask(labels)[:, :, None] & negative_mask(labels)[:, None, :]
        anchor, positive, negative = valid.nonzero(as_tuple=True)
        return Triplets(anchor, positive, negative)
