"""Random triplets from the whole training set."""

from __future__ import annotations

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from harness.miners._planned import Plan, Planned
from harness.registry import MINERS


@MINERS.register("random_global")
class RandomGlobal(Planned):
    """Each image is an anchor once an epoch, its positive uniform in its class, its negative uniform outside.

    Sampler and miner in one: what `smart` does in its first epochs, and the arm that it is to be compared with. Beside
    `random`, which draws from class-balanced batches, it tells what the batches alone do.
    """

    def __init__(
        self, labels: Tensor, batch_size: int, *, per_anchor: PositiveInt = 1, margin: PositiveFloat = 0.2
    ) -> None:
        super().__init__(labels, batch_size, per_anchor, 0.0, margin)

    @property
    def needs_embeddings(self) -> bool:
        """Never: labels are enough."""
        return False

    def plan(self, generator: torch.Generator, embeddings: Tensor | None) -> Plan:
        """Nothing but random triplets."""
        return self.chance(self.everybody)
