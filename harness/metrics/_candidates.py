"""The nearest neighbors found so far of many queries, in little memory."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

NOTHING = np.int64(0x7FFFFFFF << 32 | 0x7FFFFFFF)
"""A key behind all others, with an index that no sample has."""


class Candidates:
    """For each of N queries up to `room` neighbors: distances, as integers of the same order, and indices of samples.

    What is closer than the query's threshold is offered to `keep`. When a query has no room left, all but its `depth`
    nearest are forgotten and its threshold sinks to the farthest of them, so that nothing is lost that could be one
    of the `depth` nearest. `found` [N] counts what is there; more than `room` means that something was lost after all.
    """

    def __init__(self, thresholds: Array, depth: int, room: int) -> None:
        self.thresholds, self.depth, self.room = thresholds, depth, room
        self.distances = np.empty(len(thresholds) * room, dtype=np.int32)
        # Half the memory for sets such as Stanford Online Products, whose test set has 60,502 samples.
        self.indices: Array = np.empty(
            len(thresholds) * room, dtype=np.uint16 if len(thresholds) <= 1 << 16 else np.int32
        )
        self.found = np.zeros(len(thresholds), dtype=np.int64)

    def keep(self, first: int, counts: Array, index: Array, distance: Array) -> None:
        """Adds candidates of the queries from `first` on, `counts` [q] of each: indices of samples, distances; [n]."""
        if len(index) == 0:
            return
        queries = slice(first, first + len(counts))
        if (self.found[queries] + counts).max() > self.room:
            self.forget(first + np.flatnonzero(self.found[queries] + counts > self.room))
        # The place behind those of the same query that are there already or come before it in this call.
        behind = np.arange(first, queries.stop) * self.room + self.found[queries] - (np.cumsum(counts) - counts)
        place = np.arange(len(index)) + np.repeat(behind, counts)
        self.found[queries] += counts
        if self.found[queries].max() > self.room:
            fits = place < np.repeat(np.arange(first + 1, queries.stop + 1) * self.room, counts)
            place, index, distance = place[fits], index[fits], distance[fits]
        self.distances[place] = distance
        self.indices[place] = index

    def forget(self, queries: Array) -> None:
        """Forgets all but the `depth` nearest of these queries [q], and lowers their thresholds to the last of them."""
        queries = queries[(self.found[queries] > self.depth) & (self.found[queries] <= self.room)]
        if len(queries) == 0:
            return
        keys = self.rows(queries)
        keys.partition(self.depth - 1, axis=1)
        self.distances.reshape(-1, self.room)[queries, : self.depth] = keys[:, : self.depth] >> 32
        self.indices.reshape(-1, self.room)[queries, : self.depth] = keys[:, : self.depth] & 0x7FFFFFFF
        self.found[queries] = self.depth
        bits = (keys[:, self.depth - 1] >> 32).astype(np.int32)
        self.thresholds[queries] = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)

    def sorted(self, queries: Array) -> Array:
        """Keys of these queries [q], ascending, in rows filled up with `NOTHING`; -> int64 [q, at most room].

        A key is the distance and, below it, the index, so that equal distances stand in the order of indices.
        """
        keys = self.rows(queries)
        keys.sort(axis=1)
        return keys

    def rows(self, queries: Array) -> Array:
        """A copy of the keys of these queries, as in `sorted` but in no order."""
        found = self.found[queries]
        width = min(int(found.max(initial=0)), self.room)
        keys = self.distances.reshape(-1, self.room)[queries, :width].astype(np.int64) << 32
        keys |= self.indices.reshape(-1, self.room)[queries, :width]
        keys[np.arange(width) >= found[:, None]] = NOTHING
        return keys
