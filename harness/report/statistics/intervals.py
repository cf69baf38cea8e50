"""Student-t intervals: of a mean over seeds, of a published one, and of differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.stats
from numpy.typing import NDArray

Vector = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its sample standard deviation and Student-t interval (none for n < 2)."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def half_width(self) -> float | None:
        """What stands after the plus-minus sign."""
        return None if self.high is None else self.high - self.mean


def t_interval(values: Sequence[float] | Vector, level: float = LEVEL) -> Mean:
    """Mean with the Student-t interval, which holds its level for any n >= 2 where the bootstrap of a mean does not.

    Values that are not finite are no observations. n = 0 gives nan, n < 2 no interval.
    """
    known = finite(values)
    n = len(known)
    if n == 0:
        return Mean(math.nan, None, None, None, 0)
    mean = float(known.mean())
    if n == 1:
        return Mean(mean, None, None, None, 1)
    sd = float(known.std(ddof=1))
    half = t_quantile((1 + level) / 2, n - 1) * sd / math.sqrt(n)
    return Mean(mean, sd, mean - half, mean + half, n)


def t_half_width(sd: float, n: int, ddof: int = 1, level: float = LEVEL) -> float:
    """Half of the Student-t interval of a mean published as mean +- sd; `ddof` is what the sd was taken with."""
    sample_sd = sd * math.sqrt((n - ddof) / n) * math.sqrt(n / (n - 1))
    return t_quantile((1 + level) / 2, n - 1) * sample_sd / math.sqrt(n)


def paired_difference(new: Mapping[int, float], base: Mapping[int, float], level: float = LEVEL) -> Mean:
    """Mean difference `new - base` over the seeds that both have; seeds of only one of them do not count."""
    shared = sorted(set(new) & set(base))
    return t_interval([new[seed] - base[seed] for seed in shared], level)


@lru_cache(maxsize=1024)
def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t."""
    return float(scipy.stats.t.ppf(probability, freedom))


def finite(values: Sequence[float] | Vector) -> Vector:
    """The values that are observations: those that are finite."""
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]
