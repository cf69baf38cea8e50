"""Ranks over data sets: the Friedman test and the critical difference of Nemenyi's, where they can show something."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats

from harness.report.statistics.intervals import LEVEL, Vector

MIN_BLOCKS = 5


@dataclass(frozen=True)
class Ranks:
    """Mean ranks [k] (1 is best), Friedman's p and the critical difference; the reason where they show nothing."""

    mean: Vector
    blocks: int
    friedman_p: float | None
    critical: float | None
    reason: str = ""


def rank_methods(scores: Vector, level: float = LEVEL) -> Ranks:
    """Mean ranks of scores [blocks, k], higher being better (Demsar, 2006, section 3.2.2); blocks are data sets.

    Seeds are no blocks: they say nothing about other data sets. A diagram is refused for fewer than three methods, for
    fewer than `MIN_BLOCKS` blocks, and where only methods that are half of all ranks apart could be told apart: three
    data sets and 14 methods ask for a difference of 11.5 of 13 ranks.
    """
    blocks, methods = scores.shape
    mean = np.asarray(scipy.stats.rankdata(-scores, axis=1).mean(0), dtype=np.float64)
    if methods < 3:
        return Ranks(mean, blocks, None, None, "ranks are for three methods or more")
    critical = critical_difference(methods, blocks, level)
    if blocks < MIN_BLOCKS or critical >= methods / 2:
        reason = (
            f"with {blocks} {'block' if blocks == 1 else 'blocks'} two of {methods} methods would have to be "
            f"{critical:.1f} mean ranks apart, of {methods - 1} that are possible"
        )
        return Ranks(mean, blocks, None, None, reason)
    return Ranks(mean, blocks, float(scipy.stats.friedmanchisquare(*scores.T).pvalue), critical)


def critical_difference(methods: int, blocks: int, level: float = LEVEL) -> float:
    """Nemenyi's: mean ranks further apart than this differ at the level, all pairs together."""
    quantile = float(scipy.stats.studentized_range.ppf(level, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * blocks))


def cliques(mean: Vector, critical: float) -> list[tuple[float, float]]:
    """Ranges of mean ranks whose methods cannot be told apart, as long as possible, best first."""
    ranks = np.sort(mean)
    ends = [float(ranks[ranks <= start + critical].max()) for start in ranks]
    found: list[tuple[float, float]] = []
    for start, end in zip(ranks.tolist(), ends, strict=True):
        if end > start and (not found or end > found[-1][1]):
            found.append((start, end))
    return found
