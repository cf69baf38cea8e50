"""Miners of pytorch-metric-learning: `pml:TripletMarginMiner`."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.errors import OptionError
from harness.geometry import at_least_float32
from harness.pml import peer, signature_of
from harness.tuples import Triplets


class PmlMiner:
    """A miner of pytorch-metric-learning with the distance that it has by default.

    One that gives pairs is made to give triplets: each positive pair with every negative pair of the same anchor. An
    anchor that has pairs of one sort alone has no triplet. The host waits for the device, as it does in the original.
    """

    revision = 1
    wrapped: ClassVar[type]

    def __init__(self, **options: Any) -> None:
        try:
            self.miner = self.wrapped(**options)
        except (AssertionError, TypeError, ValueError) as error:
            raise OptionError(f"miner 'pml:{self.wrapped.__name__}' refuses {options}: {error}") from error

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> triplets."""
        device = embeddings.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            if generator is not None:  # it draws from torch's own stream, which is set and put back
                seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
                torch.manual_seed(int(seed))
            found = self.miner(at_least_float32(embeddings), labels)
        rows = [row.long() for row in found]
        return Triplets(*rows) if len(rows) == 3 else triplets_of_pairs(len(labels), *rows)


def triplets_of_pairs(size: int, anchor: Tensor, positive: Tensor, other_anchor: Tensor, negative: Tensor) -> Triplets:
    """Each positive pair [P] with every negative pair [N] of the same anchor; anchors are below `size`.

    Memory grows with the triplets that there are, not with P x N.
    """
    order = other_anchor.argsort(stable=True)
    of_anchor = torch.bincount(other_anchor, minlength=size)
    partners = of_anchor[anchor]
    pair = torch.repeat_interleave(torch.arange(len(anchor), device=anchor.device), partners)
    place = torch.arange(len(pair), device=anchor.device) - (partners.cumsum(0) - partners)[pair]
    begin = of_anchor.cumsum(0) - of_anchor
    return Triplets(anchor[pair], positive[pair], negative[order[begin[anchor[pair]] + place]])


@functools.cache
def load(name: str) -> type:
    """The miner around theirs of that name; raises OptionError when there is none."""
    wrapped = peer("miner", name)
    attributes = {
        "__doc__": f"{name} of pytorch-metric-learning.",
        "__module__": __name__,
        "__signature__": signature_of(wrapped).as_part(),
        "wrapped": wrapped,
    }
    return type(name, (PmlMiner,), attributes)
