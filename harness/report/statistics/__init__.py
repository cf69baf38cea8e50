"""Statistics that say how much they rest on: one idea a file, no frames and no figures.

Every result carries its n, and what cannot be said from that n is left out with the reason.
"""

from __future__ import annotations

from harness.report.statistics.aggregate import MIN_RUNS, Aggregate, aggregate, interquartile_mean
from harness.report.statistics.classes import MIN_CLASSES, ClassInterval, class_interval
from harness.report.statistics.correlation import (
    MIN_POINTS,
    MIN_POINTS_INTERVAL,
    RESAMPLES,
    Coefficient,
    least_squares,
    pearson,
    spearman,
)
from harness.report.statistics.equivalence import Posterior, equivalence
from harness.report.statistics.holm import holm
from harness.report.statistics.intervals import LEVEL, Mean, Vector, paired_difference, t_half_width, t_interval
from harness.report.statistics.ranks import Ranks, cliques, critical_difference, rank_methods
from harness.report.statistics.sample_size import runs_needed
from harness.report.statistics.sign_flip import SignFlip, fewest_differences, sign_flip
from harness.report.statistics.verdict import Comparison, Word, compare

__all__ = [
    "LEVEL",
    "MIN_CLASSES",
    "MIN_POINTS",
    "MIN_POINTS_INTERVAL",
    "MIN_RUNS",
    "RESAMPLES",
    "Aggregate",
    "ClassInterval",
    "Coefficient",
    "Comparison",
    "Mean",
    "Posterior",
    "Ranks",
    "SignFlip",
    "Vector",
    "Word",
    "aggregate",
    "class_interval",
    "cliques",
    "compare",
    "critical_difference",
    "equivalence",
    "fewest_differences",
    "holm",
    "interquartile_mean",
    "least_squares",
    "paired_difference",
    "pearson",
    "rank_methods",
    "runs_needed",
    "sign_flip",
    "spearman",
    "t_half_width",
    "t_interval",
]
