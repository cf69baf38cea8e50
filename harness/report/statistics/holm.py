"""Holm's correction: the more one asks, the more one of the answers must show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.report.statistics.intervals import Vector


def holm(p_values: Sequence[float] | Vector, family: int | None = None) -> Vector:
    """Adjusted p values [m] in the given order (Holm, 1979).

    Reject where they are <= a level, and the chance of any error at all is at most that level, however the questions
    depend on each other.

    `family` is how many questions were asked, where only some of their answers are given, such as those about the
    best of k methods out of all k (k - 1) / 2 pairs; the p values that are not given count as larger than all others,
    which can only make the result larger than Holm's. A p value that is nan was not asked and stays nan.

    Raises ValueError for a family smaller than the number of p values.
    """
    given = np.asarray(p_values, dtype=np.float64)
    asked = np.flatnonzero(np.isfinite(given))
    size = len(asked) if family is None else family
    if size < len(asked):
        raise ValueError(f"a family of {size} questions cannot have {len(asked)} p values")
    order = asked[np.argsort(given[asked], kind="stable")]
    steps = np.maximum.accumulate(given[order] * (size - np.arange(len(order))))
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
