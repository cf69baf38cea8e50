"""Samples by class, and drawing among them: numpy, because what plans an epoch does so on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def uniform(generator: torch.Generator, count: int) -> Floats:
    """So many numbers in [0, 1); float64, so that times a size they never round up to it."""
    drawn: Floats = torch.rand(count, dtype=torch.float64, generator=generator).numpy()
    return drawn


@dataclass(frozen=True)
class Members:
    """n samples by class.

    `of` [n]: class of a sample, 0..C-1; `order` [n]: samples sorted by class; `start`, `size` [C]: where a class begins
    in it and how many it has; `rank` [n]: place of a sample in its class.
    """

    of: Ints
    order: Ints
    start: Ints
    size: Ints
    rank: Ints

    @classmethod
    def by(cls, labels: Ints) -> Members:
        """Labels [n] -> Members."""
        _, of, size = np.unique(labels, return_inverse=True, return_counts=True)
        order, start = np.argsort(of, kind="stable"), np.cumsum(size) - size
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order)) - start[of[order]]
        return cls(of.astype(np.int64), order, start, size, rank)

    def __len__(self) -> int:
        return len(self.of)

    @property
    def anchors(self) -> Ints:
        """The samples that have a partner; a class with one sample still gives negatives."""
        return np.flatnonzero(self.size[self.of] > 1)

    def partners(self, anchors: Ints, generator: torch.Generator) -> Ints:
        """Another sample of the class of each anchor, uniform: [m] -> [m]."""
        size = self.size[self.of[anchors]]
        step = 1 + (uniform(generator, len(anchors)) * (size - 1)).astype(np.int64)
        return self._at(anchors, (self.rank[anchors] + step) % size)

    def strangers(self, anchors: Ints, generator: torch.Generator) -> Ints:
        """A sample of another class for each anchor, uniform over all: [m] -> [m]."""
        start, size = self.start[self.of[anchors]], self.size[self.of[anchors]]
        place = (uniform(generator, len(anchors)) * (len(self) - size)).astype(np.int64)
        found: Ints = self.order[np.where(place < start, place, place + size)]
        return found

    def partners_but(self, anchors: Ints, rows: Ints, listed: Ints, generator: torch.Generator) -> Ints:
        """A sample of the class of each anchor, uniform over those that are neither it nor listed: [m] -> [m].

        `listed` [q] are samples of the class of the anchor with the number `rows` [q]. -1 where none is left.
        """
        width = int(self.size.max(initial=1))
        rows = np.concatenate([rows, np.arange(len(anchors))])
        taken = np.sort(rows * width + self.rank[np.concatenate([listed, anchors])])
        rows, rank = taken // width, taken % width
        count = np.bincount(rows, minlength=len(anchors))
        free = self.size[self.of[anchors]] - count
        wanted = (uniform(generator, len(anchors)) * free).astype(np.int64)
        # The r-th free place lies beyond as many taken ones as have fewer than r + 1 free places before them.
        free_before = rank - (np.arange(len(rows)) - (np.cumsum(count) - count)[rows])
        skipped = np.bincount(rows[free_before <= wanted[rows]], minlength=len(anchors))
        return np.where(free > 0, self._at(anchors, np.where(free > 0, wanted + skipped, 0)), -1)

    def _at(self, anchors: Ints, rank: Ints) -> Ints:
        found: Ints = self.order[self.start[self.of[anchors]] + rank]
        return found
