"""Miners that plan an epoch from the whole training set: sampler and miner in one.

Contract: class attribute `plans = True`; constructor `(labels, batch_size, *, options)`; `needs_embeddings`, whether
the next epoch wants the embeddings of the training set; `epoch(generator, embeddings) -> batches` as a batch sampler
has it; and called with a batch as any miner. A study gives such a miner `sampler: none`.

A batch of 3 T images is T triplets: anchors, then their positives, then their negatives. So the triplets of a batch are
known from its layout, and everything that a checkpoint inside an epoch needs is the numbers counted so far.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import DataError, StudyError
from harness.geometry import at_least_float32
from harness.miners._members import Bools, Ints, Members
from harness.miners._selection import IN_LIST, OUT_OF_LIST, RANDOM
from harness.tuples import Triplets

KINDS = {"in_list": IN_LIST, "out_of_list": OUT_OF_LIST, "random": RANDOM}
SEEN, ACTIVE, STALE = range(3)


@dataclass(frozen=True)
class Plan:
    """Triplets of an epoch: samples int64 [n, J] for each of n anchors [n]; where the kind uint8 [n, J] is RANDOM they
    are drawn when the batches are laid out. `pool` [m] are the samples that random triplets are drawn from."""

    pool: Ints
    anchor: Ints
    positive: Ints
    negative: Ints
    kind: NDArray[np.uint8]

    def only(self, chosen: Bools) -> Plan:
        """The triplets of some of the anchors: chosen [n]."""
        return replace(
            self,
            anchor=self.anchor[chosen],
            positive=self.positive[chosen],
            negative=self.negative[chosen],
            kind=self.kind[chosen],
        )

    def state(self) -> dict[str, Tensor]:
        """Tensors, for a checkpoint."""
        return {name: torch.from_numpy(value) for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Plan:
        """The inverse of `state`."""
        return cls(**{name: value.cpu().numpy() for name, value in state.items()})


class Planned:
    """What planning miners share: laying out batches, and counting which triplets have a gradient.

    RECONSTRUCTED: an epoch has as many triplets as there are anchors, times J, and its batches permute them. FOUND:
    each batch has the same share of planned triplets, the others being random ones with the same anchors.
    """

    plans = True
    revision = 1

    def __init__(self, labels: Tensor, batch_size: int, per_anchor: int, share: float, margin: float) -> None:
        self.labels: Ints = labels.cpu().numpy().astype(np.int64)
        self.triplets = whole_triplets(batch_size)
        self.per_anchor, self.share, self.margin = per_anchor, share, margin
        self.everybody: Ints = np.arange(len(self.labels))
        members = Members.by(self.labels)
        refuse_without_triplets(members)
        self.singletons = int((members.size == 1).sum())
        if self.singletons:
            warnings.warn(
                f"{self.singletons} of {len(members.size)} classes have a single sample, which is never an anchor but "
                "may be a negative",
                stacklevel=3,
            )
        self.epoch_number = 0  # epochs begun
        self.step = 0
        self.kinds = torch.zeros(1, self.triplets, dtype=torch.int64)  # of the triplets of each batch
        self.sums = torch.zeros(len(KINDS), 3, dtype=torch.float64)  # kind x (SEEN, ACTIVE, STALE)
        self.seconds: dict[str, float] = {}  # of planning, by stage; of one machine, so no state

    @property
    def needs_embeddings(self) -> bool:
        """Whether the next epoch is planned from embeddings."""
        raise NotImplementedError

    def plan(self, generator: torch.Generator, embeddings: Tensor | None) -> Plan:
        """The triplets of the epoch with the number `epoch_number`, counted from 1."""
        raise NotImplementedError

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None = None) -> Tensor:
        """All batches of the next epoch: int64 [steps, 3 T] positions in the training set."""
        self.epoch_number += 1
        self.seconds = {}
        plan = self.plan(generator, embeddings)
        self.step = 0
        self.sums = torch.zeros_like(self.sums)
        return self._laid_out(plan, generator)

    def chance(self, pool: Ints) -> Plan:
        """A plan of nothing but random triplets among the samples of a pool."""
        anchor = pool[Members.by(self.labels[pool]).anchors]
        nobody = np.full((len(anchor), self.per_anchor), -1, dtype=np.int64)
        return Plan(pool, anchor, nobody, nobody, np.full(nobody.shape, RANDOM, dtype=np.uint8))

    def _laid_out(self, plan: Plan, generator: torch.Generator) -> Tensor:
        slots = self._slots(len(plan.anchor) * self.per_anchor, generator)
        row, column = slots // self.per_anchor, slots % self.per_anchor
        planned = np.arange(self.triplets) < round(self.share * self.triplets)  # places are as random as slots are
        kind = np.where(planned, plan.kind[row, column], RANDOM)
        anchor = plan.anchor[row]
        positive, negative = plan.positive[row, column], plan.negative[row, column]
        drawn = kind == RANDOM
        positive[drawn], negative[drawn] = random_pairs(plan.pool, self.labels, anchor[drawn], generator)
        self.kinds = torch.from_numpy(kind.astype(np.int64))
        return torch.from_numpy(np.concatenate((anchor, positive, negative), axis=1))

    def _slots(self, number: int, generator: torch.Generator) -> Ints:
        """Numbers below `number`, each at most once, in whole batches [steps, T]; of too few, one with repeats."""
        steps = number // self.triplets
        if steps:
            order = torch.randperm(number, generator=generator)[: steps * self.triplets]
        else:
            order = torch.randint(number, (self.triplets,), generator=generator)
        slots: Ints = order.numpy().reshape(-1, self.triplets)
        return slots

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """The triplets of the next batch of the plan: embeddings [3 T, D] -> T triplets."""
        places = torch.arange(self.triplets, device=embeddings.device)
        triplets = Triplets(places, places + self.triplets, places + 2 * self.triplets)
        self._count(at_least_float32(embeddings))
        self.step += 1
        return triplets

    def _count(self, embeddings: Tensor) -> None:
        """Which triplets have a gradient, and which mined ones are violations no more; nothing waits for the device."""
        anchor, positive, negative = embeddings.view(3, self.triplets, -1)
        near = (anchor - positive).square().sum(1).sqrt()
        far = (anchor - negative).square().sum(1).sqrt()
        if self.kinds.device != embeddings.device:
            self.kinds, self.sums = self.kinds.to(embeddings.device), self.sums.to(embeddings.device)
        facts = torch.stack((torch.ones_like(near), far < near + self.margin, far > near), dim=1)
        self.sums.index_add_(0, self.kinds[self.step % len(self.kinds)], facts.double())

    def active_share(self, *kinds: int) -> float | None:
        """The share of triplets of some kinds, of all without one named, that had a gradient in the epoch so far."""
        seen, active, _ = self.sums[list(kinds or KINDS.values())].sum(0).tolist()
        return active / seen if seen else None

    def epoch_numbers(self) -> dict[str, float]:
        """Shares of the epoch's triplets; asked twice it says the same."""
        every, mined = self.sums.tolist(), (IN_LIST, OUT_OF_LIST)
        total = sum(row[SEEN] for row in every) or 1.0
        told = {
            "active_fraction": self.active_share(),
            "active_fraction_mined": self.active_share(*mined),
            "active_fraction_random": self.active_share(RANDOM),
        }
        seen, active, stale = every[IN_LIST]
        if seen:
            told |= {"stale_fraction": stale / seen, "zero_loss_fraction_in_list": 1 - active / seen}
        told |= {f"fraction_{name}": every[kind][SEEN] / total for name, kind in KINDS.items()}
        return {name: value for name, value in told.items() if value is not None}

    def epoch_cost(self) -> dict[str, float]:
        """Seconds of planning the epoch that has just been laid out, by stage."""
        return {f"plan_{stage}_seconds": seconds for stage, seconds in self.seconds.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, between epochs and inside one."""
        return {"epoch": self.epoch_number, "step": self.step, "kinds": self.kinds, "sums": self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.epoch_number, self.step = state["epoch"], state["step"]
        self.kinds, self.sums = state["kinds"], state["sums"]


def random_pairs(pool: Ints, labels: Ints, anchors: Ints, generator: torch.Generator) -> tuple[Ints, Ints]:
    """A positive uniform in the class of each anchor and a negative uniform outside, both from the pool: [q], [q]."""
    members = Members.by(labels[pool])
    local = np.searchsorted(pool, anchors)
    return pool[members.partners(local, generator)], pool[members.strangers(local, generator)]


def whole_triplets(batch_size: int) -> int:
    """How many triplets a batch holds; raises StudyError where it is not whole triplets."""
    if batch_size % 3:
        near = [size for size in (batch_size // 3 * 3, batch_size // 3 * 3 + 3) if size]
        raise StudyError(
            f"a batch of {batch_size} images is not whole triplets; {' or '.join(map(str, near))} could be"
        )
    return batch_size // 3


def refuse_without_triplets(members: Members) -> None:
    """Raises DataError where no triplet exists at all."""
    if len(members.size) < 2:
        raise DataError("the training set has one class only, so that there are no negatives; two classes would do")
    if not len(members.anchors):
        raise DataError("every class of the training set has a single sample, so that there are no positives")
