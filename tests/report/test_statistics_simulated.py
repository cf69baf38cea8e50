"""Do intervals cover the truth as often as they say, and do tests err as rarely? Studies drawn from known models.

Where a statistic claims 95%, it has to cover between 93.5 and 96.5% of the cases; where it claims 5% errors, it may
err in 6%. Seeds are fixed. With 4,000 studies a rate of 95% is known to about 0.35 points, with 2,000 to 0.5.
"""

import numpy as np
import pytest

from harness.report.statistics import (
    aggregate,
    class_interval,
    compare,
    holm,
    interquartile_mean,
    paired_difference,
    sign_flip,
    t_interval,
)
from harness.report.statistics.aggregate import MIN_RUNS
from harness.report.statistics.classes import MIN_CLASSES

NOMINAL = pytest.approx(0.95, abs=0.015)
RUNS = [3, 5, 10]


def covered(intervals, truth):
    return np.mean([found.low <= truth <= found.high for found in intervals])


def studies(number, methods, runs, seed, spread=1.0, shared=1.0):
    """R@1 in points [number, methods, runs] of methods that are all equal; a seed is lucky for all of them a little."""
    rng = np.random.default_rng(seed)
    luck = shared * rng.standard_normal((number, 1, runs))
    return luck + np.reshape(spread, (-1, 1)) * rng.standard_normal((number, methods, runs))


@pytest.mark.parametrize("n", RUNS)
def test_the_t_interval_of_a_mean_covers_it(n):
    assert covered(map(t_interval, studies(3000, 1, n, seed=n)[:, 0]), 0) == NOMINAL


@pytest.mark.parametrize("n", RUNS)
def test_the_interval_of_a_paired_difference_covers_it(n):
    pairs = studies(3000, 2, n, seed=10 + n, spread=[0.5, 1.0]) + np.array([[0.7], [0.0]])
    found = [paired_difference(dict(enumerate(new)), dict(enumerate(base))) for new, base in pairs]
    assert covered(found, 0.7) == NOMINAL


LEVELS = {
    "alike": ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
    "far apart": ([-2.0, 0.0, 2.0], [1.0, 1.0, 1.0]),
    "two, one noisier": ([-0.5, 0.5], [0.5, 1.0]),
    "five, of all kinds": ([-1.0, -0.5, 0.0, 0.5, 1.0], [0.5, 1.5, 1.0, 0.7, 1.2]),
}


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("kind", LEVELS)
def test_the_interval_of_the_interquartile_mean_covers_it(kind, n):
    levels, spreads = (np.array(values)[:, None] for values in LEVELS[kind])
    rng = np.random.default_rng(n)
    truth = float(interquartile_mean((levels + spreads * rng.standard_normal((len(levels), 200_000))).ravel()))
    drawn = levels + spreads * rng.standard_normal((1200, len(levels), n))
    assert covered(map(aggregate, drawn), truth) == NOMINAL


@pytest.mark.parametrize("n", [1, 3, MIN_RUNS - 1])
def test_the_interquartile_mean_of_few_runs_has_no_interval_and_says_why(n):
    found = aggregate(studies(1, 3, n, seed=1)[0])
    assert found.value is not None
    assert found.low is None
    assert f"an interval needs {MIN_RUNS}" in found.reason


@pytest.mark.parametrize(("classes", "n"), [*((MIN_CLASSES, n) for n in RUNS), (100, 5)])
def test_the_interval_over_classes_covers_r_at_1_on_all_classes_of_the_kind(classes, n):
    """Classes are easy or hard (Beta(2, 1.2)) and have 5 to 59 queries; networks differ in what they find hard."""
    rng = np.random.default_rng(classes + n)
    intervals = []
    for _ in range(1500):
        sizes = rng.integers(5, 60, classes)
        hardness = np.clip(rng.beta(2, 1.2, classes) + 0.05 * rng.standard_normal((n, classes)), 0, 1)
        rates = rng.binomial(sizes, hardness).mean(0) / sizes  # all queries of a class with the mean of their class
        intervals.append(class_interval(np.repeat(rates, sizes), np.repeat(np.arange(classes), sizes)))
    sample = np.clip(rng.beta(2, 1.2, 200_000) + 0.05 * rng.standard_normal(200_000), 0, 1)
    assert covered(intervals, sample.mean()) == NOMINAL


def test_with_few_classes_there_is_no_interval_and_the_reason_is_told():
    found = class_interval(np.ones(90), np.repeat(np.arange(30), 3))
    assert (found.mean, found.low, found.classes) == (1.0, None, 30)
    assert f"30 test classes; an interval needs {MIN_CLASSES}" in found.reason


@pytest.mark.parametrize("n", RUNS)
@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_sign_flip_and_holm_find_a_difference_among_equal_methods_in_at_most_6_of_100_studies(noise, n):
    scores = studies(1000, 6, n, seed=20 + n)
    if noise == "skewed":
        scores = np.exp(scores)
    differences = scores[:, 1:] - scores[:, :1]
    found = [holm([sign_flip(values).p for values in study]).min() <= 0.05 for study in differences]
    assert np.mean(found) <= 0.06


@pytest.mark.parametrize("n", RUNS)
def test_no_method_is_called_worse_than_the_best_of_equals_in_more_than_6_of_100_studies(n):
    scores = studies(400, 8, n, seed=30 + n)
    wrong = [any(one.verdict in ("better", "worse") for one in _against_best(study, 0.01)) for study in scores]
    assert np.mean(wrong) <= 0.06


def _against_best(study, region):
    best = study.mean(1).argmax()
    pairs = len(study) * (len(study) - 1) // 2
    return compare(list(np.delete(study, best, axis=0) - study[best]), region, pairs)


@pytest.mark.parametrize("n", RUNS)
def test_methods_at_the_end_of_the_region_are_called_equal_or_better_in_at_most_6_of_100_cases(n):
    differences = 0.25 + 0.15 * np.random.default_rng(40 + n).standard_normal((1000, n))
    verdicts = [compare([values], region=0.25)[0].verdict for values in differences]
    assert verdicts.count("practically equal") / 1000 <= 0.06
    assert verdicts.count("better") / 1000 <= 0.06


def test_without_the_correction_for_all_pairs_the_best_of_equals_would_beat_somebody_too_often():
    scores = studies(300, 8, 10, seed=33)
    tempting = []
    for study in scores:
        best = study.mean(1).argmax()
        told = compare(list(np.delete(study, best, axis=0) - study[best]), 0.01)
        tempting.append(any(one.verdict == "worse" for one in told))
    assert np.mean(tempting) > 0.08
