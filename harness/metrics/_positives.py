"""Room for the ranks of all positives of all queries, filled in any order of the queries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from harness.measured import classes_of
from harness.metrics._candidates import Array
from harness.metrics._ranks import RankBlock, classes_by_size

FAR = torch.iinfo(torch.int64).max
"""The rank of a positive that was not found."""

BLOCK = 1 << 17
"""Ranks given at a time."""


class Positives:
    """For each sample the ranks of its positives, in ascending order, in 4 bytes each."""

    def __init__(self, labels: Tensor) -> None:
        _, index, counts = classes_of(labels)
        self.members = list(classes_by_size(labels))
        self.classes = index.numpy().astype(np.int32)
        self.number = counts[index].numpy() - 1
        self.complete = np.zeros(len(labels), dtype=bool)
        self.starts = np.zeros(len(labels), dtype=np.int64)
        self.ranks = np.zeros(int(self.number.sum()), dtype=np.int32)  # 0: not found
        last = 0
        for members in self.members:
            first, last = last, last + members.numel() * (members.shape[1] - 1)
            self.starts[members.flatten().numpy()] = np.arange(first, last, members.shape[1] - 1)

    def fill(self, queries: Array, neighbors: Array, starts: Array, depth: int) -> None:
        """Takes the ranks of the positives of queries [q] from their rankings: neighbors [n], starts [q + 1] of each.

        A query is complete with `depth` neighbors, or with all its positives among fewer.
        """
        found = np.diff(starts)
        hits = np.flatnonzero(self.classes[neighbors] == np.repeat(self.classes[queries], found))
        until = np.searchsorted(hits, starts)
        counts = np.diff(until)
        # Each hit stands in its query's row at the place that it has among the query's hits.
        shift = np.repeat(self.starts[queries] - until[:-1], counts)
        self.ranks[np.arange(len(hits)) + shift] = hits - np.repeat(starts[:-1] - 1, counts)
        self.complete[queries] = (found >= depth) | (counts == self.number[queries])

    def blocks(self) -> Iterator[RankBlock]:
        """The ranks of all complete queries that have a positive."""
        complete, first = torch.from_numpy(self.complete), 0
        for members in self.members:
            positives = members.shape[1] - 1
            for queries in members.flatten().split(max(1, BLOCK // positives)):  # type: ignore[no-untyped-call]
                ranks = torch.from_numpy(self.ranks[first : first + len(queries) * positives]).view(-1, positives)
                first += ranks.numel()
                some = complete[queries]
                if not bool(some.all()):
                    queries, ranks = queries[some], ranks[some]
                ranks = ranks.long()
                yield RankBlock(queries, ranks.masked_fill_(ranks == 0, FAR))
