"""Exact ranks of the positives among the nearest neighbors of each query, for sets too large to sort whole rows.

Every distance is computed once, in tiles that stay in the cache and serve both of its samples. What a tile leaves
behind are the few candidates that beat a threshold of their query. The threshold comes from a random sample: it is
chosen so that probably a few more than the wanted number of neighbors pass, or so that the farthest positive does.
Whether enough did pass is counted, and a query that had bad luck is ranked again by `full_ranks`; so the answer is
exact and does not depend on the sample.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.measured import classes_of
from harness.metrics._candidates import Array, Candidates
from harness.metrics._parallel import finish, in_turn, single_threaded
from harness.metrics._ranks import (
    BLOCK,
    RankBlock,
    classes_by_size,
    full_ranks,
    half_norms,
    ordered_bits,
    rectangles,
    scaled,
)

FAR = torch.iinfo(torch.int64).max
"""The rank of a positive that is not among the wanted neighbors."""

TILE = 1024
"""Rows and columns of a tile: 4 MiB of distances."""

MEMORY = 1 << 30
"""Bytes that candidates may take; sets that need more are ranked by `full_ranks`."""


def near_ranks(embeddings: Tensor, labels: Tensor, depth: int) -> Iterator[RankBlock]:
    """Ranks of the positives of all queries that have one: embeddings [N, D], labels [N].

    Right up to rank max(depth, size of the largest class); beyond, a positive may have the rank `FAR`.
    """
    plan = planned(embeddings, labels, depth)
    if plan is None:
        yield from full_ranks(embeddings, labels)
        return
    with single_threaded() as threads:
        search = Search(scaled(embeddings), labels, plan, threads)
        search.run()
        unlucky = torch.zeros(len(labels), dtype=torch.bool)
        for block, complete in search.blocks():
            unlucky[block.queries[~complete]] = True
            yield RankBlock(block.queries[complete], block.ranks[complete])
        yield from full_ranks(embeddings, labels, queries=unlucky)


@dataclass(frozen=True)
class Plan:
    """How many neighbors are wanted and have room, and which place in a sample of what size is the first threshold."""

    depth: int
    room: int
    sample: int
    place: int


def planned(embeddings: Tensor, labels: Tensor, depth: int) -> Plan | None:
    """None where sorting whole rows is better: other devices and types, small sets, deep rankings, little memory."""
    number = len(labels)
    depth = max(depth, *(members.shape[1] for members in classes_by_size(labels)), 1)
    # Beside what is wanted, room for what two tiles are expected to bring, so that few queries ever lack it.
    room = depth + 2 * math.ceil(depth * TILE / number) + 64
    sample = TILE * min(8, round(number / 8 / TILE))
    if embeddings.device.type != "cpu" or embeddings.dtype != torch.float32:
        return None
    if sample == 0 or room > number / 4 or room * number * 8 > MEMORY:  # 6 or 8 bytes a candidate
        return None
    # About `expected` of the wanted neighbors are in the sample, with a variance of as much; with 2.5 standard
    # deviations more, one query in 160 is unlucky.
    expected = depth * sample / number
    return Plan(depth, room, sample, math.ceil(expected + 2.5 * math.sqrt(expected)) + 1)


class Search:
    """One pass over all pairs of samples, which are taken in random order. A position is a place in that order."""

    def __init__(self, embeddings: Tensor, labels: Tensor, plan: Plan, threads: int = 1) -> None:
        self.embeddings, self.labels, self.plan, self.threads = embeddings, labels, plan, threads
        self.order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        self.half = half_norms(embeddings)
        self.thresholds = farthest_positives(embeddings, self.half, labels)[self.order]
        self.candidates = Candidates(self.thresholds.numpy(), plan.depth, plan.room)
        self.indices = self.order.numpy()
        self.position = torch.empty_like(self.order)
        self.position[self.order] = torch.arange(len(self.order))
        self.classes = np.append(classes_of(labels)[1].numpy().astype(np.int32), np.int32(-1))
        self.sample = self.gathered(slice(0, plan.sample))
        self.memory = Memory(embeddings.shape[1])
        self.writing = threading.Lock()

    def run(self) -> None:
        """Compares all with the sample, which sets the thresholds, and then the others among themselves."""
        number, sample, height = len(self.labels), self.plan.sample, TILE * TILE // self.plan.sample
        # The thresholds of the sample must stand before others are compared with it.
        for first, last in ((0, sample), (sample, number)):
            finish(lambda rows: self.compare(rows, [slice(0, sample)], True), ranges(first, last, height), self.threads)
        finish(
            lambda rows: self.compare(rows, ranges(rows.start, number, TILE)),
            ranges(sample, number, TILE),
            self.threads,
        )

    def compare(self, rows: slice, others: Iterable[slice], tighten: bool = False) -> None:
        """Compares some positions with others, range by range."""
        left = self.gathered(rows)
        left = torch.cat([-left[:, :-2], left[:, -1:], left[:, -2:-1]], dim=1)
        for columns in others:
            right = self.sample if tighten else self.gathered(columns, self.memory.right)
            self.compare_tile(left, right, rows, columns, tighten)

    def gathered(self, positions: slice, room: Tensor | None = None) -> Tensor:
        """The embeddings at these positions, with a 1 and half the squared norm behind: [n, D + 2].

        With these, one product of matrices gives distances. A copy of all in this order would double the memory.
        """
        index = self.order[positions]
        number, dimensions = len(index), self.embeddings.shape[1]
        rows = torch.empty(number, dimensions + 2) if room is None else room[:number]
        torch.index_select(self.embeddings, 0, index, out=rows[:, :dimensions])
        rows[:, dimensions] = 1
        torch.index_select(self.half, 0, index, out=rows[:, dimensions + 1])
        return rows

    def compare_tile(self, left: Tensor, right: Tensor, rows: slice, columns: slice, tighten: bool) -> None:
        """Finds candidates of the rows among the columns and, where these positions lie apart, of the columns, too."""
        # Half the squared distances, from both sides alike.
        distances = torch.mm(left, right.T, out=view(self.memory.distances, len(left), len(right)))
        overlap = columns.start <= rows.start < columns.stop
        if overlap:
            distances.diagonal(rows.start - columns.start).fill_(torch.inf)
        if tighten:
            self.tighten(rows, distances.numpy())
        width, values = len(right), distances.numpy().ravel()
        chosen = self.closer(distances, self.thresholds[rows, None])
        starts = np.searchsorted(chosen, np.arange(len(left) + 1) * width)
        self.keep(rows.start, np.diff(starts), remainder(chosen, width) + columns.start, values[chosen])
        if not overlap:
            chosen = self.closer(distances, self.thresholds[columns])
            query = remainder(chosen, width).astype(np.uint16)  # 16 bits are sorted by radix
            chosen = chosen[np.argsort(query, kind="stable")]
            counts = np.bincount(query, minlength=width)
            self.keep(columns.start, counts, chosen // width + rows.start, values[chosen])

    def tighten(self, rows: slice, distances: Array) -> None:
        """Lowers the thresholds of the rows to the planned place among their distances [r, sample] to the sample."""
        place = self.plan.place - 1
        nearest = torch.from_numpy(np.partition(distances, place, axis=1)[:, place])
        torch.minimum(self.thresholds[rows], nearest, out=self.thresholds[rows])

    def closer(self, distances: Tensor, thresholds: Tensor) -> Array:
        """Places, in the flat distances [r, c], of those that are not above the thresholds; ascending."""
        passed = view(self.memory.passed, *distances.shape).numpy()
        return places_of_true(np.less_equal(distances.numpy(), thresholds.numpy(), out=passed).ravel())

    def keep(self, first: int, counts: Array, other: Array, distance: Array) -> None:
        """Adds candidates of consecutive positions, `counts` of each; one thread at a time."""
        index, bits = self.indices[other], ordered_bits(distance)
        with self.writing:
            self.candidates.keep(first, counts, index, bits)

    def blocks(self) -> Iterator[tuple[RankBlock, Tensor]]:
        """Ranks of all queries that have a positive, and whether they are known to be right [b]."""
        parts = (
            (queries, positives.shape[1])
            for members in classes_by_size(self.labels)
            for queries, positives in rectangles(members, BLOCK // self.plan.room // 4)
        )
        yield from in_turn(self.ranked, parts, self.threads)

    def ranked(self, part: tuple[Tensor, int]) -> tuple[RankBlock, Tensor]:
        """Ranks of the positives of some queries, each of which has so many, from the candidates."""
        queries, positives = part
        positions = self.position[queries].numpy()
        keys, found = self.candidates.sorted(positions), self.candidates.found[positions]
        # What is no sample has a large index, which is clipped to that of the class behind all.
        near = np.take(self.classes, keys & 0x7FFFFFFF, mode="clip")
        hits = np.flatnonzero(near == self.classes[queries.numpy(), None])
        query = hits // keys.shape[1]
        counts = np.bincount(query, minlength=len(keys))
        ranks = np.full((len(keys), positives), FAR)
        ranks[query, np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)] = hits % keys.shape[1] + 1
        complete = (found <= self.plan.room) & ((found >= self.plan.depth) | (counts == positives))
        return RankBlock(queries, torch.from_numpy(ranks)), torch.from_numpy(complete)


def farthest_positives(embeddings: Tensor, half: Tensor, labels: Tensor) -> Tensor:
    """A bound [N] on half the squared distance of each sample's farthest positive; -infinity without one."""
    farthest = torch.full_like(half, -torch.inf)
    for members in classes_by_size(labels):
        for some in members.split(max(1, BLOCK // members.shape[1] ** 2)):  # type: ignore[no-untyped-call]
            own = embeddings[some]
            distances = half[some][:, None, :] + half[some][:, :, None] - own @ own.transpose(1, 2)
            distances.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
            farthest[some] = distances.amax(2)
    # Products of small matrices are not rounded as those of tiles are.
    return farthest + 1e-5 * half.max()


class Memory(threading.local):
    """Room for one tile; every thread has its own."""

    def __init__(self, dimensions: int) -> None:
        self.right = torch.empty(TILE, dimensions + 2)
        self.distances = torch.empty(TILE * TILE)
        self.passed = torch.empty(TILE * TILE, dtype=torch.bool)


def places_of_true(passed: Array) -> Array:
    """As np.flatnonzero of a flat array of bool, for few true values: looks at eight at a time first."""
    if len(passed) % 8:
        return np.flatnonzero(passed)
    eights = passed.view(np.uint64)
    some = np.flatnonzero(eights != 0)
    within = np.flatnonzero(eights[some].view(np.bool_))
    result: Array = some[within >> 3] * 8 + (within & 7)
    return result


def remainder(values: Array, divisor: int) -> Array:
    """As values % divisor; numpy divides by one number quickly, but takes remainders slowly."""
    result: Array = values - values // divisor * divisor
    return result


def ranges(start: int, stop: int, step: int) -> Iterator[slice]:
    """Consecutive slices of `step` from `start`; the last may be shorter."""
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def view(memory: Tensor, rows: int, columns: int) -> Tensor:
    """The beginning of a flat tensor as a matrix."""
    return memory[: rows * columns].view(rows, columns)
