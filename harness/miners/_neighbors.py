"""Lists of nearest neighbors of the whole training set, as good as was asked for, whatever faiss makes of it.

MEASURED with faiss 1.15 (d = 128, k = 100): exact search takes N^2 x 7.6e-9 processor seconds, HNSW N x 6e-4, so that
an approximate index is a loss below about 80,000 samples. At recall@10 >= 0.99 it picks the same negative for more than
99% of the anchors. faiss hides what goes wrong: it pads short lists with -1, returns nothing for rows that are not
finite, and misses a sample in its own list where others are equal to it. So rows come here finite, a sample is dropped
by its number and not by its place, -1 is masked, and recall is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.miners._members import Bools, Ints
from harness.miners._searchers import Searcher, has_cagra, searcher
from harness.miners._selection import Lists

QUERIES = 16_384
"""Samples whose lists are searched at a time: what faiss returns is wider than what is kept."""

EXACT_TO = {"cpu": 80_000, "cuda": 1_000_000}
FLAT_BELOW = 200
FALL_BACK_TO = 1_000_000
"""`auto` searches up to EXACT_TO exactly; an index is no good for fewer than FLAT_BELOW; and up to FALL_BACK_TO samples
exact search is affordable where an index fails."""

PROBES = 512
MISSING = 0.01
RETRIES = 2


@dataclass(frozen=True)
class Wanted:
    """How to search. `effort`: efSearch of HNSW, lists to look into of IVF, itopk of CAGRA; None: by default."""

    kind: str = "auto"
    effort: int | None = None
    min_recall: float = 0.98


@dataclass
class Search:
    """What a search took and how good it was; `flags` name what went wrong."""

    kind: str
    effort: int = 0
    recall_at_10: float = 1.0
    recall_at_k: float = 1.0
    flags: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Charge the time inside to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin


def nearest(rows: Tensor, anchors: Ints, k: int, wanted: Wanted, generator: torch.Generator) -> tuple[Lists, Search]:
    """Lists of the k nearest of each anchor among rows [n, D], finite float32, k < n, and how they were had.

    An approximate index whose recall@10 on 512 anchors is below `min_recall` (RECONSTRUCTED: it stands for the 98% of
    successful test traversals of the paper) searches with twice the effort, twice, and then exactly. One that fails or
    leaves more than 1% of the entries empty is replaced by exact search at once. Above a million samples there is no
    such way out, and a flag says so. Raises what faiss raises when exact search fails, too.
    """
    search = Search(chosen_kind(wanted.kind, len(rows), rows.device.type))
    if search.kind == "flat":
        return exactly(rows, anchors, k, search), search
    try:
        with search.timed("index"):
            index = searcher(search.kind, rows, wanted.effort, k)
        lists = _searched(index, anchors, k, search)
    except (RuntimeError, MemoryError):
        search.flags.add("index_failed")
        return exactly(rows, anchors, k, search), search
    return _good_enough(index, lists, rows, anchors, k, wanted.min_recall, search, generator), search


def chosen_kind(kind: str, n: int, device: str) -> str:
    """What `auto` means for so many samples."""
    if n < FLAT_BELOW or (kind == "auto" and n <= EXACT_TO.get(device, EXACT_TO["cpu"])):
        return "flat"
    if kind != "auto":
        return kind
    return "cagra" if device == "cuda" and has_cagra() else "hnsw"


def exactly(rows: Tensor, anchors: Ints, k: int, search: Search) -> Lists:
    """Exact lists."""
    search.kind, search.effort, search.recall_at_10, search.recall_at_k = "flat", 0, 1.0, 1.0
    return _searched(searcher("flat", rows, None, k), anchors, k, search)


def _good_enough(
    index: Searcher,
    lists: Lists,
    rows: Tensor,
    anchors: Ints,
    k: int,
    min_recall: float,
    search: Search,
    generator: torch.Generator,
) -> Lists:
    affordable = len(rows) <= FALL_BACK_TO
    if float((lists.neighbors < 0).mean()) > MISSING:
        search.flags.add("index_incomplete")
        if affordable:
            return exactly(rows, anchors, k, search)
    places = torch.randperm(len(anchors), generator=generator)[:PROBES].numpy()
    with search.timed("probe"):
        truth = _searched(searcher("flat", rows, None, k), anchors[places], k, Search("flat"))
    for attempt in range(RETRIES + 1):
        search.effort = index.effort
        search.recall_at_10 = recall(lists.neighbors[places], truth.neighbors[:, :10])
        search.recall_at_k = recall(lists.neighbors[places], truth.neighbors)
        if search.recall_at_10 >= min_recall:
            return lists
        if attempt < RETRIES:
            index.effort *= 2
            lists = _searched(index, anchors, k, search)
    search.flags.add("recall_too_low")
    return exactly(rows, anchors, k, search) if affordable else lists


def recall(found: NDArray[np.int32], truth: NDArray[np.int32]) -> float:
    """The share of the true neighbors [p, t] that are in the lists [p, k]."""
    hits = [np.isin(wanted, given).mean() for given, wanted in zip(found, truth, strict=True)]
    return float(np.mean(hits)) if hits else 1.0


def _searched(index: Searcher, anchors: Ints, k: int, search: Search) -> Lists:
    distances = np.empty((len(anchors), k), dtype=np.float32)
    neighbors = np.empty((len(anchors), k), dtype=np.int32)
    with search.timed("search"):
        for begin in range(0, len(anchors), QUERIES):
            some = anchors[begin : begin + QUERIES]
            place = slice(begin, begin + len(some))
            distances[place], neighbors[place] = without_self(*index.find(some, k + 1), some)
    return Lists(distances, neighbors)


def without_self(
    distances: NDArray[np.float32], found: NDArray[np.int64], own: Ints
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lists [q, k + 1] without the sample itself, or without their last entry where it is not among them: [q, k].

    Distances are not negative afterwards, and infinite where a list has no entry.
    """
    drop: Bools = found == own[:, None]
    drop[~drop.any(1), -1] = True
    shape = len(own), found.shape[1] - 1
    distances, found = distances[~drop].reshape(shape), found[~drop].reshape(shape)
    return np.where(found < 0, np.float32(np.inf), np.maximum(distances, 0)), found
