"""The neighbors found so far of many queries, as integers that one sort brings into their ranking."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.metrics._ranks import ordered_bits

Array = np.ndarray[Any, np.dtype[Any]]

INDEX_BITS = 21
"""The lowest bits of a key: the index of the neighbor, so that equal distances are ranked by index."""

QUERY_BITS = 10
"""The highest bits of a key: which query of its block. Between lie 32 bits of distance; the sign stays clear."""


class Candidates:
    """Keys of the neighbors of queries in blocks of at most 1 << QUERY_BITS, added tile by tile in any order.

    A block is taken out as soon as it is complete; while some blocks wait, others are gone already.
    """

    def __init__(self, blocks: int) -> None:
        self.parts: list[list[Array]] = [[] for _ in range(blocks)]

    def keep(self, block: int, query: Array, distance: Array, index: Array) -> None:
        """Adds pairs of a query's place in its block and a neighbor's index, int64, with their float32 distance; [n].

        Threads may do so at once.
        """
        keys = ordered_bits(distance).astype(np.int64)
        keys += 1 << 31  # from 0 on
        keys <<= INDEX_BITS
        keys |= index
        keys |= query << (32 + INDEX_BITS)
        self.parts[block].append(keys)

    def taken(self, block: int, queries: int) -> tuple[Array, Array]:
        """Indices [n] of all neighbors of so many queries, one ranking behind the other; starts [queries + 1] of each.

        Forgets them.
        """
        keys = np.concatenate([*self.parts[block], np.empty(0, dtype=np.int64)])
        self.parts[block] = []
        keys.sort()
        starts = np.append(np.searchsorted(keys, np.arange(queries) << (32 + INDEX_BITS)), len(keys))
        keys &= (1 << INDEX_BITS) - 1
        return keys, starts
