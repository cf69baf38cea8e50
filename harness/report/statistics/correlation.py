"""Correlations over methods, with bootstrap intervals, or the reason for which there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from harness.report.statistics.intervals import LEVEL, Vector

MIN_POINTS = 4
"""Three points correlate with |r| > 0.9 by chance in more than a quarter of all cases."""
MIN_POINTS_INTERVAL = 8
"""Below, the bootstrap draws too few different samples for its interval to mean anything."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Coefficient:
    """A correlation coefficient with its bootstrap interval, or the reason for which there is none."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""


def pearson(x: Sequence[float] | Vector, y: Sequence[float] | Vector) -> Coefficient:
    """Pearson's r over points (methods, not runs: runs of one method are no independent evidence)."""
    return _coefficient(*_finite_pairs(x, y))


def spearman(x: Sequence[float] | Vector, y: Sequence[float] | Vector) -> Coefficient:
    """Spearman's rank correlation: Pearson's r of the ranks, ties sharing their mean rank."""
    return _coefficient(*_finite_pairs(x, y), ranks=True)


def least_squares(x: Sequence[float] | Vector, y: Sequence[float] | Vector) -> tuple[float, float] | None:
    """Slope and intercept of the least-squares line; None where a line is not determined."""
    a, b = _finite_pairs(x, y)
    if len(a) < 2 or np.ptp(a) == 0:
        return None
    fit = scipy.stats.linregress(a, b)
    return float(fit.slope), float(fit.intercept)


def _coefficient(x: Vector, y: Vector, ranks: bool = False) -> Coefficient:
    n = len(x)
    if n < MIN_POINTS:
        return Coefficient(None, None, None, n, f"{n} methods; a coefficient needs {MIN_POINTS}")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Coefficient(None, None, None, n, "one of the two does not vary")
    value = float(_correlations(_ranked(x) if ranks else x, _ranked(y) if ranks else y))
    if n < MIN_POINTS_INTERVAL:
        return Coefficient(value, None, None, n, f"{n} methods; an interval needs {MIN_POINTS_INTERVAL}")
    low, high = _bca(x, y, value, ranks)
    return Coefficient(value, low, high, n)


def _bca(x: Vector, y: Vector, value: float, ranks: bool) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap (Efron, 1987) over pairs; always the same resamples.

    At n = 8 to 30 and r = 0 or 0.8 it covered 92 to 95% in a simulation, the plain percentile interval 89 to 91%.
    """
    n = len(x)
    picks = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    draws = _correlations(*_taken(x, y, picks, ranks))
    draws = draws[np.isfinite(draws)]
    below = float(((draws < value).sum() + 0.5 * (draws == value).sum()) / len(draws))
    bias = scipy.stats.norm.ppf(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    others = np.array([np.delete(np.arange(n), i) for i in range(n)])
    left_out = _correlations(*_taken(x, y, others, ranks))
    spread = left_out.mean() - left_out
    scale = 6 * float((spread**2).sum()) ** 1.5
    acceleration = float((spread**3).sum()) / scale if scale > 0 else 0.0
    shifted = bias + scipy.stats.norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    levels = scipy.stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(draws, levels)
    return float(low), float(high)


def _taken(x: Vector, y: Vector, picks: NDArray[np.int64], ranks: bool) -> tuple[Vector, Vector]:
    a, b = x[picks], y[picks]
    return (_ranked(a), _ranked(b)) if ranks else (a, b)


def _ranked(values: Vector) -> Vector:
    return np.asarray(scipy.stats.rankdata(values, axis=-1), dtype=np.float64)


def _correlations(x: Vector, y: Vector) -> Vector:
    """Pearson's r along the last axis; nan where a row does not vary."""
    a = x - x.mean(-1, keepdims=True)
    b = y - y.mean(-1, keepdims=True)
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    product = np.asarray((a * b).sum(-1), dtype=np.float64)
    missing = np.full(np.shape(scale), np.nan)
    return np.asarray(np.divide(product, scale, out=missing, where=scale > 1e-15), dtype=np.float64)


def _finite_pairs(x: Sequence[float] | Vector, y: Sequence[float] | Vector) -> tuple[Vector, Vector]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]
