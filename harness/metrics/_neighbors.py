"""Exact ranks of the positives among the nearest neighbors of each query, for sets too large to sort whole rows.

Every distance is computed once, in tiles that stay in the cache and serve both of its samples. What a tile leaves
behind are the few candidates that beat a threshold of their query. The threshold comes from a random sample: it is
chosen so that probably a few more than the wanted number of neighbors pass, or so that the farthest positive does.
Whether enough did pass is counted, and a query that had bad luck is ranked again by `full_ranks`; so the answer is
exact and does not depend on the sample. Blocks of queries are ranked as soon as they have met all others, so that
the candidates of all are never held at once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.metrics._candidates import INDEX_BITS, Array, Candidates
from harness.metrics._parallel import finish, in_turn, single_threaded
from harness.metrics._positives import Positives
from harness.metrics._ranks import BLOCK, RankBlock, classes_by_size, full_ranks, half_norms, scaled

TILE = 1024
"""Rows and columns of a tile: 4 MiB of distances. At most 1 << QUERY_BITS."""

MEMORY = 1 << 30
"""Bytes that candidates and ranks may take; sets that need more are ranked by `full_ranks`."""


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
    yield from search.positives.blocks()
    unlucky = torch.from_numpy(~search.positives.complete)
    del search  # `full_ranks` needs memory, too
    yield from full_ranks(embeddings, labels, queries=unlucky)


@dataclass(frozen=True)
class Plan:
    """How many neighbors are wanted, and which place in a sample of what size is the threshold."""

    depth: int
    sample: int
    place: int


def planned(embeddings: Tensor, labels: Tensor, depth: int) -> Plan | None:
    """None where sorting whole rows is better: other devices and types, small sets, deep rankings, little memory."""
    number = len(labels)
    depth = max(depth, *(members.shape[1] for members in classes_by_size(labels)), 1)
    tiles = number / 8 / TILE
    sample = TILE << min(3, max(0, round(math.log2(tiles)))) if tiles > 0.5 else 0
    if embeddings.device.type != "cpu" or embeddings.dtype != torch.float32 or number >= 1 << INDEX_BITS or not sample:
        return None
    # About `expected` of the wanted neighbors are in the sample, which is drawn without replacement; with 2.5 standard
    # deviations more, one query in 160 is unlucky.
    expected = depth * sample / number
    place = math.ceil(expected + 2.5 * math.sqrt(expected * (1 - sample / number))) + 1
    found = place * number / sample
    # A query waits for its block to be complete with a quarter of what it finds outside of the sample, on average.
    waiting = 8 * number * (place + found / 4) + 4 * number * depth
    return None if found > number / 4 or waiting > MEMORY else Plan(depth, sample, place)


class Search:
    """One pass over all pairs of samples, which are taken in random order. A position is a place in that order."""

    def __init__(self, embeddings: Tensor, labels: Tensor, plan: Plan, threads: int = 1) -> None:
        self.embeddings, self.plan, self.threads = embeddings, plan, threads
        self.order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        self.half = half_norms(embeddings)
        self.thresholds = farthest_positives(embeddings, self.half, labels)[self.order]
        self.positives = Positives(labels)
        self.candidates = Candidates(math.ceil(len(labels) / TILE))
        self.indices = self.order.numpy()
        self.sample = self.gathered(slice(0, plan.sample))
        self.memory = Memory(embeddings.shape[1])

    def run(self) -> None:
        """Compares all with the sample, which sets the thresholds, and then the others among themselves."""
        number, sample, height = len(self.order), self.plan.sample, TILE * TILE // self.plan.sample
        # The thresholds of the sample must stand before others are compared with it.
        for first, last in ((0, sample), (sample, number)):
            items = ranges(first, last, height)
            finish(lambda rows: self.compare(rows, [slice(0, sample)], True), items, self.threads)
        finish(self.rank, ranges(0, sample, TILE), self.threads)
        # Above the diagonal: a block of rows is complete as soon as it and all before it have been compared.
        for rows in in_turn(
            lambda rows: self.compare(rows, ranges(rows.start, number, TILE)),
            ranges(sample, number, TILE),
            self.threads,
        ):
            self.rank(rows)

    def compare(self, rows: slice, others: Iterable[slice], tighten: bool = False) -> slice:
        """Compares some positions of one block with others, range by range; returns the former."""
        left = self.gathered(rows)
        left = torch.cat([-left[:, :-2], left[:, -1:], left[:, -2:-1]], dim=1)
        for columns in others:
            right = self.sample if tighten else self.gathered(columns, self.memory.right)
            self.compare_tile(left, right, rows, columns, tighten)
        return rows

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
        tile = distances.numpy()
        if tighten:
            self.tighten(rows, tile)
        row, column, distance = self.closer(tile, slice(0, len(right)), self.thresholds[rows, None])
        block = rows.start // TILE
        self.candidates.keep(block, row + rows.start % TILE, distance, self.indices[columns].take(column))
        for own in () if overlap else ranges(columns.start, columns.stop, TILE):
            part = slice(own.start - columns.start, own.stop - columns.start)
            row, column, distance = self.closer(tile, part, self.thresholds[own])
            self.candidates.keep(own.start // TILE, column, distance, self.indices[rows].take(row))

    def tighten(self, rows: slice, distances: Array) -> None:
        """Lowers the thresholds of the rows to the planned place among their distances [r, sample] to the sample.

        Gives up queries that far more would pass, because so many are equally far: no candidate, and so no memory.
        """
        nearest = np.partition(distances, self.plan.place - 1, axis=1)[:, self.plan.place - 1]
        nearest = np.minimum(nearest, self.thresholds[rows].numpy())
        nearest[np.count_nonzero(distances <= nearest[:, None], axis=1) > 2 * self.plan.place] = -np.inf
        self.thresholds[rows] = torch.from_numpy(nearest)

    def closer(self, distances: Array, part: slice, thresholds: Tensor) -> tuple[Array, Array, Array]:
        """Row, place and value of the distances [r, c] in a part of the columns that are not above the thresholds."""
        height, width = len(distances), part.stop - part.start
        passed = view(self.memory.passed, height, width).numpy()
        places = places_of_true(np.less_equal(distances[:, part], thresholds.numpy(), out=passed).ravel())
        row = places // width  # numpy divides by one number quickly, but takes remainders slowly
        places -= row * width
        return row, places, distances.ravel().take(row * distances.shape[1] + (places + part.start))

    def rank(self, rows: slice) -> None:
        """Ranks the candidates of a block of queries, which must be complete."""
        queries = self.indices[rows]
        neighbors, starts = self.candidates.taken(rows.start // TILE, len(queries))
        self.positives.fill(queries, neighbors, starts, self.plan.depth)


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


def ranges(start: int, stop: int, step: int) -> Iterator[slice]:
    """Consecutive slices of `step` from `start`; the last may be shorter."""
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def view(memory: Tensor, rows: int, columns: int) -> Tensor:
    """The beginning of a flat tensor as a matrix."""
    return memory[: rows * columns].view(rows, columns)
