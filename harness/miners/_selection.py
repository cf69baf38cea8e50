"""Which triplets Smart Mining takes from lists of nearest neighbors: Algorithm 1 of Harwood et al. (2017), vectorized.

FOUND in a translation of the paper. One pass over the list of an anchor, nearest first: everything up to the first
neighbor of its own class is skipped; that one sets the bound, kappa times its squared distance (equation 6), and is no
positive itself. Then everything nearer than the bound is skipped. Of what is left, the j-th triplet takes the j-th
neighbor of another class, each once, and as positive the first of the own class behind it: the softest that is still
farther than the negative. Where the list has none behind it, a sample of the class from outside the list, which is
farther than all listed ones where the list is exact; where the negatives are used up, the triplet is a random one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from harness.miners._members import Bools, Ints, Members

IN_LIST, OUT_OF_LIST, RANDOM = range(3)
"""Where a triplet is from: both members listed; the positive drawn from outside the list; nothing mined."""

ROWS = 2048
"""Anchors at a time: what a step looks at stays in the cache, and memory does not grow with their number."""

DUPLICATE = 1e-8
"""Squared distances up to this are those of copies."""


@dataclass(frozen=True)
class Lists:
    """Neighbors of m anchors, nearest first: squared distances float32 [m, k], samples int32 [m, k] (-1: none)."""

    distances: NDArray[np.float32]
    neighbors: NDArray[np.int32]


@dataclass(frozen=True)
class Selection:
    """J triplets for each of m anchors: samples int64 [m, J] (-1 where the kind is RANDOM), kinds uint8 [m, J].

    `rank` [m, J] and `distance` [m, J] are those of the negative in its list; `counts` say how many anchors had what.
    """

    negative: Ints
    positive: Ints
    kind: NDArray[np.uint8]
    rank: Ints
    distance: NDArray[np.float32]
    counts: dict[str, int]


def select(
    lists: Lists,
    anchors: Ints,
    members: Members,
    kappa: float,
    per_anchor: int,
    generator: torch.Generator,
    far_first: bool = False,
) -> Selection:
    """The triplets of the anchors [m], one list each.

    RECONSTRUCTED: where the nearest of the own class is a copy (distance 0 would make the bound 0 whatever kappa is),
    the first that is none sets the bound; where a whole class is listed and none lies behind the negative, its farthest
    member is the positive. `far_first` takes the negatives from the other end of the list.
    """
    shape = len(anchors), per_anchor
    negative, positive, rank = (np.full(shape, -1, dtype=np.int64) for _ in range(3))
    kind, distance = np.full(shape, RANDOM, dtype=np.uint8), np.full(shape, np.nan, dtype=np.float32)
    counts = dict.fromkeys(_COUNTS, 0)
    for rows, looked in _looks(lists, anchors, members):
        _count(looked, counts)
        smart = looked.admissible(kappa)
        negatives, positives = smart & looked.other, smart & looked.same
        counts["covered"] += int(negatives.any(1).sum())
        for j in range(per_anchor):
            column, found = _last(negatives) if far_first else _first(negatives)
            behind, listed = _first(positives & (looked.columns > column[:, None]))
            lines = np.arange(len(column))
            negatives[lines, column] = False
            chosen = np.where(listed, looked.neighbors[lines, behind], -1).astype(np.int64)
            outside = np.flatnonzero(found & ~listed)
            if len(outside):
                chosen[outside] = _from_outside(looked, outside, anchors[rows], members, generator, counts)
            place = slice(rows.start, rows.stop), j
            negative[place] = np.where(found, looked.neighbors[lines, column], -1)
            positive[place] = np.where(found, chosen, -1)
            rank[place] = np.where(found, column, -1)
            distance[place] = np.where(found, looked.distances[lines, column], np.nan)
            kind[place] = np.where(found, np.where(listed, IN_LIST, OUT_OF_LIST), RANDOM)
    return Selection(negative, positive, kind, rank, distance, counts)


def reach(lists: Lists, anchors: Ints, members: Members) -> NDArray[np.float64]:
    """The largest kappa under which each anchor still has a smart negative, [m]; -1 where it has none under any."""
    found = np.full(len(anchors), -1.0)
    for rows, looked in _looks(lists, anchors, members):
        column, any_other = _last(looked.other & (looked.columns > looked.first[:, None]))
        farthest = looked.distances[np.arange(len(column)), column].astype(np.float64)
        some = any_other & looked.has_positive
        found[rows] = np.where(some, farthest / np.where(looked.has_positive, looked.radius, 1), -1.0)
    return found


_COUNTS = ("covered", "no_positive", "no_negative", "zero_bound", "unbounded_positive", "duplicates_across_classes")


@dataclass(frozen=True)
class _Look:
    """Some lists [r, k], and which of their entries are of the anchor's class."""

    distances: NDArray[np.float32]
    neighbors: NDArray[np.int32]
    same: Bools
    other: Bools
    columns: Ints  # 0..k-1
    first: Ints  # [r]: the place of the neighbor that sets the bound
    has_positive: Bools  # [r]
    radius: NDArray[np.float32]  # [r]: its squared distance
    zero_bound: Bools  # [r]

    def admissible(self, kappa: float) -> Bools:
        """Everything behind the first of the own class and not nearer than the bound (equality is admitted)."""
        bound = np.where(self.has_positive, np.float32(kappa) * self.radius, np.float32(np.inf))
        behind: Bools = (self.distances >= bound[:, None]) & (self.columns > self.first[:, None])
        return behind


def _looks(lists: Lists, anchors: Ints, members: Members) -> Iterator[tuple[slice, _Look]]:
    classes = members.of.astype(np.int32)
    columns = np.arange(lists.neighbors.shape[1])
    for begin in range(0, len(anchors), ROWS):
        rows = slice(begin, min(begin + ROWS, len(anchors)))
        neighbors, distances = lists.neighbors[rows], lists.distances[rows]
        valid = neighbors >= 0
        same = classes[neighbors] == classes[anchors[rows], None]
        other = valid & ~same
        same &= valid
        nearest, some = _first(same)
        first, counts = _first(same & (distances > DUPLICATE))
        lines = np.arange(len(first))
        zero = some & (distances[lines, nearest] <= DUPLICATE)
        radius = distances[lines, first]
        yield rows, _Look(distances, neighbors, same, other, columns, first, counts, radius, zero)


def _first(mask: Bools) -> tuple[Ints, Bools]:
    """The first column of each row where the mask holds, and whether there is one: [r, k] -> [r], [r]."""
    column = mask.argmax(1)
    return column, mask[np.arange(len(mask)), column]


def _last(mask: Bools) -> tuple[Ints, Bools]:
    column = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    return column, mask[np.arange(len(mask)), column]


def _from_outside(
    looked: _Look, lines: Ints, anchors: Ints, members: Members, generator: torch.Generator, counts: dict[str, int]
) -> Ints:
    """A positive from outside its list for some anchors of a look; the farthest listed one where there is none."""
    same = looked.same[lines]
    rows, columns = np.nonzero(same)
    listed = looked.neighbors[lines[rows], columns].astype(np.int64)
    drawn = members.partners_but(anchors[lines], rows, listed, generator)
    farthest = looked.neighbors[lines, _last(same)[0]]
    counts["unbounded_positive"] += int((drawn < 0).sum())
    return np.where(drawn >= 0, drawn, farthest)


def _count(looked: _Look, counts: dict[str, int]) -> None:
    counts["no_positive"] += int((~looked.has_positive).sum())
    counts["no_negative"] += int((~looked.other.any(1)).sum())
    counts["zero_bound"] += int(looked.zero_bound.sum())
    near = looked.distances[:, :16] <= DUPLICATE
    counts["duplicates_across_classes"] += int((near & looked.other[:, :16]).any(1).sum())
