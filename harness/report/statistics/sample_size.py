"""How many runs would decide it, if the means and the spread of seeds are as they were measured so far?"""

from __future__ import annotations

import math

import numpy as np
import scipy.special
import scipy.stats

POWER = 0.8
"""Chance of a decision with that many runs; half of all studies are undecided with as many as a power of 0.5 asks."""
MOST = 1000
"""Beyond, a number would be an invention: the difference lies too close to the end of the region."""
_EXACT_UP_TO = 40


def runs_needed(difference: float, sd: float, region: float, level: float, family: int = 1) -> int | None:
    """About how many paired runs until a verdict: "better" when |difference| > region, else "practically equal".

    `sd` is that of the paired differences, `level` the error allowed in all, `family` the number of questions for which
    "better" is corrected. The fewest runs with which the t test against the end of the region has a power of 80%:
    n = ((z_a + z_b) sd / distance)^2 + z_a^2 / 2 (Guenther, 1981), and for small n by the noncentral t distribution.
    None for more than `MOST` and for a spread that is not known.
    """
    distance = abs(abs(difference) - region)
    if not (math.isfinite(distance) and math.isfinite(sd)) or distance == 0:
        return None
    better = abs(difference) > region
    tail = level / (2 * family if better else 2)
    both_ends = not better and abs(difference) < region / 2  # then a mean may leave the region on either side
    power = (1 + POWER) / 2 if both_ends else POWER
    critical = -float(scipy.special.ndtri(tail))
    n = max(2.0, ((critical + float(scipy.special.ndtri(power))) * sd / distance) ** 2 + critical**2 / 2)
    if n > MOST:
        return None
    return _by_noncentral_t(math.ceil(n), distance / sd, tail, power) if n <= _EXACT_UP_TO and sd > 0 else math.ceil(n)


def _by_noncentral_t(guess: int, effect: float, tail: float, power: float) -> int:
    """The fewest runs with that power, looked for up to a little above a guess that is seldom too small."""
    n = np.arange(2, guess + 4)
    powers = np.asarray(scipy.stats.nct.sf(scipy.stats.t.isf(tail, n - 1), n - 1, effect * np.sqrt(n)))
    reached = np.flatnonzero(powers >= power)
    return int(n[reached[0]]) if len(reached) else guess + 4
