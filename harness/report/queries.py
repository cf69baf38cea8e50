"""Which queries of the test split each run got right, from the evidence that runs leave in their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import DataError
from harness.report.statistics import ClassInterval, class_interval
from harness.store.spool import run_path
from harness.training.evidence import read_evidence

METRIC = "recall_at_1"
MOST_RUNS = 600
"""Runs of one setting whose files are read; at about 3 ms each, more would make a reader wait."""
AGREES = 1e-3
"""How far the mean over queries may lie from the recorded number; values of queries are kept as float16."""


@dataclass(frozen=True, eq=False)
class Queries:
    """R@1 of each query [N] with its class [N] and its place in the bank [N]."""

    values: NDArray[np.float64]
    labels: NDArray[Any]
    indices: NDArray[Any]


@lru_cache(maxsize=32)  # the best method is compared with every other one
def read_queries(results: Path, run_id: str, epoch: int, recorded: float) -> Queries | None:
    """The queries of a run after an epoch; None where there is no evidence, or it is not that of `recorded`."""
    try:
        kept = read_evidence(run_path(results, run_id) / "evidence.npz")
    except DataError:
        return None
    values = kept.per_query.get(METRIC)
    if values is None or kept.epoch != epoch or kept.run_id != run_id or not np.isfinite(values).any():
        return None
    exact = values.astype(np.float64)
    if abs(float(np.nanmean(exact)) - recorded) > AGREES:
        return None
    return Queries(exact, kept.query_labels, kept.query_indices)


def class_difference(results: Path, new: pd.DataFrame, base: pd.DataFrame) -> ClassInterval:
    """Interval over test classes of the mean difference `new - base` between runs that are given pair by pair.

    Both have one row a run with run_id, epoch and value, in the same order of seeds. The reason stands in the result
    where a run left no evidence of its number, or where two runs were not asked the same queries.
    """
    pairs = [_read_all(results, frame) for frame in (new, base)]
    found = [run for runs in pairs for run in runs]
    missing = sum(run is None for run in found)
    if missing or not found:
        return ClassInterval(None, None, None, 0, f"{missing} of {len(found)} runs left no evidence of these numbers")
    known = [run for run in found if run is not None]
    first = known[0]
    if not all(_same_queries(first, run) for run in known):
        return ClassInterval(None, None, None, 0, "the runs were not asked the same queries")
    values = np.stack([run.values for run in known])
    half = len(known) // 2
    return class_interval(values[:half].mean(0) - values[half:].mean(0), first.labels)


def _read_all(results: Path, runs: pd.DataFrame) -> Sequence[Queries | None]:
    rows = zip(runs["run_id"], runs["epoch"], runs["value"], strict=True)
    return [read_queries(results, str(run_id), int(epoch), float(value)) for run_id, epoch, value in rows]


def _same_queries(one: Queries, other: Queries) -> bool:
    return np.array_equal(one.indices, other.indices) and np.array_equal(one.labels, other.labels)
