"""A control arm: triplets inside one class."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.registry import MINERS
from harness.tuples import Triplets, choose, found_rows


@MINERS.register("intra_class")
class IntraClass:
    """As many triplets as the batch has samples: a class uniform over those of the batch, then anchor, positive and
    negative independently uniform inside it.

    Members may coincide, since classes often have two samples in a batch; triplets of three times the same sample
    carry no gradient and are left out. From the published code of Roth et al. (2020), where it is named intra_random.
    """

    revision = 1

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> up to B triplets."""
        members = labels[:, None] == labels[None, :]
        # A uniform class and a uniform member of it: every sample in proportion to 1 / size of its class.
        anchor = choose((1 / members.sum(1)).expand(len(labels), -1), generator)
        positive, negative = choose(members[anchor], generator), choose(members[anchor], generator)
        same = (anchor == positive) & (anchor == negative)
        return found_rows(anchor, positive, torch.where(same, -1, negative))
