"""Verdicts on two methods that were run with the same seeds: better, practically equal, or not enough runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.report.statistics.equivalence import Posterior, equivalence
from harness.report.statistics.holm import holm
from harness.report.statistics.intervals import LEVEL, Mean, Vector, t_interval
from harness.report.statistics.sample_size import runs_needed
from harness.report.statistics.sign_flip import SignFlip, sign_flip

Word = Literal["better", "worse", "practically equal", "not enough runs"]


@dataclass(frozen=True)
class Comparison:
    """One method against another: everything that is said of their paired differences, and the verdict.

    `outside_holm` is the corrected p value of "the difference lies inside the region", which decides on "better";
    `sign_flip_holm` corrects the sign-flip test in the same way. Both are nan where there is no p value. `needed` is
    the number of runs that would decide, where it is not decided and can be told.
    """

    mean: Mean
    sign_flip: SignFlip
    posterior: Posterior
    outside_holm: float
    sign_flip_holm: float
    verdict: Word
    needed: int | None


def compare(differences: Sequence[Vector], region: float, family: int | None = None) -> list[Comparison]:
    """Judge each vector of paired differences; `family` as in `holm`, by default those that have two values or more.

    better, worse: the difference lies beyond the region, by the two-sided t test against its ends, after Holm.
    practically equal: at least 95% of the posterior lie inside. This is said of each pair by itself, uncorrected: of
    pairs whose true difference lies just outside, one in twenty is called equal.
    not enough runs: neither.
    """
    means = [t_interval(values) for values in differences]
    flips = [sign_flip(values) for values in differences]
    posteriors = [equivalence(values, region) for values in differences]
    asked = [mean.n >= 2 for mean in means]
    size = max(1, sum(asked)) if family is None else family
    outside = holm([posterior.outside_p for posterior in posteriors], size)
    flipped = holm([_p(flip) if told else np.nan for flip, told in zip(flips, asked, strict=True)], size)
    rows = zip(means, flips, posteriors, outside.tolist(), flipped.tolist(), strict=True)
    return [_judged(mean, flip, posterior, p, q, region, size) for mean, flip, posterior, p, q in rows]


def _p(flip: SignFlip) -> float:
    return np.nan if flip.p is None else flip.p


def _judged(
    mean: Mean, flip: SignFlip, posterior: Posterior, outside: float, flipped: float, region: float, family: int
) -> Comparison:
    word = _word(mean, posterior, outside)
    needed = None
    if word == "not enough runs" and mean.sd is not None and posterior.inside is not None:
        needed = runs_needed(mean.mean, mean.sd, region, 1 - LEVEL, family)
        needed = None if needed is None else max(needed, mean.n + 1)
    return Comparison(mean, flip, posterior, outside, flipped, word, needed)


def _word(mean: Mean, posterior: Posterior, outside: float) -> Word:
    if outside <= 1 - LEVEL:
        return "better" if mean.mean > 0 else "worse"
    if posterior.inside is not None and posterior.inside >= LEVEL:
        return "practically equal"
    return "not enough runs"
