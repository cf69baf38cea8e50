"""How high the best of so many trials is to be expected: Dodge et al. (EMNLP 2019), in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.statistics.intervals import LEVEL, Vector


@dataclass(frozen=True)
class ExpectedBest:
    """For each budget of 1 ... n trials: the mean of the highest score, and a central interval of that score."""

    trials: Vector
    expected: Vector
    low: Vector
    high: Vector


def expected_best(scores: Sequence[float], level: float = LEVEL) -> ExpectedBest:
    """The highest of k trials drawn independently from those that were made, for k = 1 ... n.

    With the scores v_1 <= ... <= v_n, the highest of k draws is at most v_i with probability (i / n)^k. So its mean is
    the sum over i of v_i ((i / n)^k - ((i - 1) / n)^k), their equation 3, and the interval, which is one of the highest
    score itself and not of its mean, is read off the same powers.
    """
    values = np.sort(np.asarray(scores, dtype=float))
    number = len(values)
    draws = np.arange(1, number + 1)
    at_most = (np.arange(number + 1) / max(number, 1))[:, None] ** draws[None, :]  # [n + 1, k], the first row is 0
    low, high = (_quantile(values, at_most[1:], share) for share in ((1 - level) / 2, (1 + level) / 2))
    return ExpectedBest(draws.astype(float), values @ np.diff(at_most, axis=0), low, high)


def _quantile(values: Vector, at_most: Vector, share: float) -> Vector:
    """The smallest value that the highest of k draws does not exceed with that probability, for each k."""
    # What is exactly at the share must not fall behind it by the rounding of a power.
    return values[np.argmax(at_most >= share - 1e-12, axis=0)] if len(values) else values
