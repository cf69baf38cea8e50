"""How well two assignments of the same samples agree, from the cells of their contingency table that are not empty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[Any]]


def agreement(classes: Array, clusters: Array) -> dict[str, float]:
    """nmi, ami and f1 of two assignments, integers >= 0 [N] and [N]; their meaning is told in `Clustering`."""
    table = Contingency.of(classes, clusters)
    if len(table.rows) == len(table.columns) == 1:
        # Nothing is split on either side, which is perfect agreement; the formulas would divide zero by zero.
        return {"nmi": 1.0, "ami": 1.0, "f1": pairwise_f1(table)}
    shared = mutual_information(table)
    mean_entropy = (entropy(table.rows) + entropy(table.columns)) / 2
    by_chance = expected_mutual_information(table)
    # Both differences vanish together where chance alone gives full agreement, as between single samples.
    above = mean_entropy - by_chance
    tiny = np.finfo(np.float64).eps
    return {
        "nmi": shared / mean_entropy,
        "ami": (shared - by_chance) / (above if abs(above) > tiny else math.copysign(tiny, above)),
        "f1": pairwise_f1(table),
    }


@dataclass(frozen=True)
class Contingency:
    """Sizes of classes [R] and clusters [C], and of the overlaps [n] that are not empty with their row and column."""

    rows: Array
    columns: Array
    cells: Array
    row: Array
    column: Array

    @classmethod
    def of(cls, classes: Array, clusters: Array) -> Contingency:
        """Counted by sorting, so that the empty cells, nearly all of them, cost nothing."""
        _, row, rows = np.unique(classes, return_inverse=True, return_counts=True)
        _, column, columns = np.unique(clusters, return_inverse=True, return_counts=True)
        code, cells = np.unique(row * len(columns) + column, return_counts=True)
        return cls(rows, columns, cells, code // len(columns), code % len(columns))


def pairwise_f1(table: Contingency) -> float:
    """2 TP / (A + B) over unordered pairs of samples; nan where no pair is together on either side."""
    together, in_class, in_cluster = (
        int((counts * (counts - 1) // 2).sum()) for counts in (table.cells, table.rows, table.columns)
    )
    return 2 * together / (in_class + in_cluster) if in_class + in_cluster else math.nan


def mutual_information(table: Contingency) -> float:
    """In nats."""
    number = table.rows.sum()
    chance = table.rows[table.row] * (table.columns[table.column] / number)
    return max(0.0, float((table.cells / number * np.log(table.cells / chance)).sum()))


def entropy(counts: Array) -> float:
    """In nats."""
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def expected_mutual_information(table: Contingency) -> float:
    """The mean over all assignments with the same sizes (Vinh et al., 2010, equation 24a).

    A term depends on nothing but the two sizes, so each pair of different sizes is evaluated once.
    """
    number = int(table.rows.sum())
    log_factorial = torch.arange(1, number + 2, dtype=torch.float64).lgamma().numpy()
    sizes, times = np.unique(table.columns, return_counts=True)
    total = 0.0
    for size, repeated in zip(*np.unique(table.rows, return_counts=True), strict=True):
        total += int(repeated) * float(times @ expected_terms(int(size), sizes, number, log_factorial))
    return total


def expected_terms(size: int, others: Array, number: int, log_factorial: Array) -> Array:
    """Expected share of one overlap in the mutual information: a class of `size`, clusters of sizes [C] -> [C]."""
    overlap = np.arange(1, min(size, int(others.max())) + 1)
    other = others[:, None]
    possible = (overlap <= other) & (overlap >= size + other - number)
    # Impossible overlaps are looked up anywhere and counted as nothing.
    log_probability = (
        log_factorial[size]
        + log_factorial[number - size]
        - log_factorial[number]
        + (log_factorial[other] + log_factorial[number - other])
        - log_factorial[overlap]
        - log_factorial[size - overlap]
        - log_factorial[np.maximum(other - overlap, 0)]
        - log_factorial[np.maximum(number - size - other + overlap, 0)]
    )
    information = overlap / number * np.log(number * overlap / (size * other))
    terms: Array = np.where(possible, np.exp(log_probability) * information, 0).sum(1)
    return terms
