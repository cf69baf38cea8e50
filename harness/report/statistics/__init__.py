"""Statistics that say how much they rest on: one idea a file, no frames and no figures.

Every result carries its n, and what cannot be said from that n is left out with the reason.
"""

from __future__ import annotations

from harness.report.statistics.correlation import (
    MIN_POINTS,
    MIN_POINTS_INTERVAL,
    RESAMPLES,
    Coefficient,
    least_squares,
    pearson,
    spearman,
)
from harness.report.statistics.intervals import LEVEL, Mean, Vector, paired_difference, t_half_width, t_interval

__all__ = [
    "LEVEL",
    "MIN_POINTS",
    "MIN_POINTS_INTERVAL",
    "RESAMPLES",
    "Coefficient",
    "Mean",
    "Vector",
    "least_squares",
    "paired_difference",
    "pearson",
    "spearman",
    "t_half_width",
    "t_interval",
]
