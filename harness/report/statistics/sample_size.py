"""How many runs would decide it, if the means and the spread of seeds are as they were measured so far?"""

from __future__ import annotations

import math

import scipy.stats

POWER = 0.8
"""Chance of a decision with that many runs; half of all studies are undecided with as many as a power of 0.5 asks."""
MOST = 1000
"""Beyond, a number would be an invention: the difference lies too close to the end of the region."""


def runs_needed(difference: float, sd: float, region: float, level: float, family: int = 1) -> int | None:
    """About how many paired runs until a verdict: "better" when |difference| > region, else "practically equal".

    `sd` is that of the paired differences, `level` the error allowed in all, `family` the number of questions for which
    "better" is corrected. n = ((z_a + z_b) sd / distance)^2 + z_a^2 / 2, where distance is that of the difference from
    the end of the region, and the last term stands for the t distribution (Guenther, 1981). None for more than `MOST`
    and for a spread that is not known.
    """
    distance = abs(abs(difference) - region)
    if not (math.isfinite(distance) and math.isfinite(sd)) or distance == 0:
        return None
    better = abs(difference) > region
    critical = float(scipy.stats.norm.isf(level / (2 * family if better else 2)))
    both_ends = not better and abs(difference) < region / 2  # then the mean may leave the region on either side
    chance = float(scipy.stats.norm.ppf((1 + POWER) / 2 if both_ends else POWER))
    n = max(2.0, ((critical + chance) * sd / distance) ** 2 + critical**2 / 2)
    return math.ceil(n) if n <= MOST else None
