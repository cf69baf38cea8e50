"""The paired sign-flip permutation test: was it chance which of two methods was ahead with each seed?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.report.statistics.intervals import Vector, finite

EXACT_UP_TO = 16
"""Differences up to which all sign patterns are tried: 32,768, as a pattern and its opposite say the same."""
FLIPS = 19_999
"""Random patterns above; with the observed one they allow p = 0.00005."""


@dataclass(frozen=True)
class SignFlip:
    """A two-sided p value with the smallest that n differences can give; None where there is no difference at all."""

    p: float | None
    smallest: float | None
    n: int
    exact: bool


def sign_flip(differences: Sequence[float] | Vector) -> SignFlip:
    """Two-sided p of the mean difference when every sign is as likely as its opposite (Fisher, 1935, section 21).

    It assumes symmetry about zero and nothing else. Exact for n <= `EXACT_UP_TO`, where p is a multiple of 2^(1-n):
    with n = 3 it cannot fall below 0.25, with n = 5 not below 0.0625, whatever the differences are. Above, the p of
    `FLIPS` random patterns and the observed one, always the same patterns (Phipson and Smyth, 2010, equation 2).
    """
    values = finite(differences)
    n = len(values)
    if n == 0:
        return SignFlip(None, None, 0, exact=True)
    observed = abs(float(values.sum()))
    # Sums of the same numbers in another order differ in the last bits, and must count as equal.
    as_far = np.abs(_patterns(n) @ values) >= observed - 1e-9 * float(np.abs(values).sum())
    if n <= EXACT_UP_TO:
        return SignFlip(float(as_far.mean()), smallest_p(n), n, exact=True)
    return SignFlip((1 + int(as_far.sum())) / (1 + FLIPS), smallest_p(n), n, exact=False)


def smallest_p(n: int) -> float:
    """The smallest two-sided p that n >= 1 differences can give."""
    return float(2.0 ** (1 - n)) if n <= EXACT_UP_TO else 1 / (1 + FLIPS)


def fewest_differences(p: float) -> int | None:
    """How many differences it takes at least for a p as small as this; None when no number does."""
    n = max(1, 1 + math.ceil(-math.log2(p)))
    return n if n <= EXACT_UP_TO else EXACT_UP_TO + 1 if p >= smallest_p(EXACT_UP_TO + 1) else None


@lru_cache(maxsize=32)
def _patterns(n: int) -> Vector:
    """Sign patterns [patterns, n], one sign fixed where all of them are listed."""
    if n <= EXACT_UP_TO:
        bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
        return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
    return np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, n))
