"""Practical equivalence: how likely is a difference so small that nobody would care?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy.special

from harness.report.statistics.intervals import Vector, finite


@dataclass(frozen=True)
class Posterior:
    """Probability that the true mean difference is below, inside and above the region of practical equivalence.

    All three are None where n differences say nothing about their own spread; `reason` tells why.
    """

    left: float | None
    inside: float | None
    right: float | None
    n: int
    reason: str = ""

    @property
    def outside_p(self) -> float:
        """Two-sided p value of "the difference lies inside the region"; nan where there is no posterior.

        With the prior below, a posterior tail is the one-sided p value of the t test against that end of the region.
        """
        if self.left is None or self.right is None:
            return math.nan
        return min(1.0, 2 * (1 - max(self.left, self.right)))


def equivalence(differences: Sequence[float] | Vector, region: float, correlation: float = 0.0) -> Posterior:
    """The Bayesian correlated t test (Benavoli et al., 2017, JMLR 18, equation 7), in closed form.

    The posterior of the mean difference under the prior 1/sd is Student's t with n - 1 degrees of freedom about the
    mean, with variance (1/n + correlation / (1 - correlation)) sd^2. `region` is half its width. `correlation` is 0 for
    independent runs and the share of test samples for overlapping folds (Nadeau and Bengio, 2003).

    Raises ValueError for a region that is not positive or a correlation outside [0, 1).
    """
    if not region > 0 or not 0 <= correlation < 1:
        raise ValueError(f"needs region > 0 and 0 <= correlation < 1, not {region} and {correlation}")
    values = finite(differences)
    n = len(values)
    if n < 2:
        return Posterior(None, None, None, n, "one run tells nothing about the spread of runs" if n else "no runs")
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    if sd <= 1e-12 * max(1.0, abs(mean)):
        return _without_spread(mean, n)
    scale = sd * math.sqrt(1 / n + correlation / (1 - correlation))
    left, right = (float(scipy.special.stdtr(n - 1, (end - region) / scale)) for end in (-mean, mean))
    return Posterior(left, 1 - left - right, right, n)


def _without_spread(mean: float, n: int) -> Posterior:
    """The same numbers with every seed are equal; the same difference with every seed leaves its spread unknown."""
    if abs(mean) <= 1e-12:
        return Posterior(0.0, 1.0, 0.0, n)
    return Posterior(None, None, None, n, "the difference is the same with every seed, so its spread is not known")
