"""The statistics against hand calculation, scipy and simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from harness.report.statistics import (
    MIN_POINTS,
    MIN_POINTS_INTERVAL,
    least_squares,
    paired_difference,
    pearson,
    spearman,
    t_half_width,
    t_interval,
)


def test_the_interval_of_three_values_is_the_one_worked_by_hand():
    # mean 2, sd 1, t(0.975, 2) = 4.302653, so half = 4.302653 / sqrt(3)
    mean = t_interval([1.0, 2.0, 3.0])
    assert (mean.mean, mean.sd, mean.n) == (2.0, 1.0, 3)
    assert mean.half_width == pytest.approx(2.484138)
    assert mean.low == pytest.approx(2 - 2.484138)


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert t_interval([0.5]).half_width is None
    assert t_interval([]).n == 0
    assert math.isnan(t_interval([]).mean)


def test_a_value_that_is_not_finite_is_no_observation():
    assert t_interval([1.0, math.nan, 3.0, math.inf]) == t_interval([1.0, 3.0])


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_t_interval_covers_the_truth_in_95_of_100_cases(n):
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(4000):
        mean = t_interval(rng.standard_normal(n))
        hits += mean.low <= 0 <= mean.high
    assert hits / 4000 == pytest.approx(0.95, abs=0.012)


def test_a_published_population_sd_gives_the_interval_of_its_values():
    values = np.array([0.61, 0.62, 0.60, 0.63, 0.615])
    expected = t_interval(values).half_width
    assert t_half_width(values.std(ddof=0), 5, ddof=0) == pytest.approx(expected)
    assert t_half_width(values.std(ddof=1), 5, ddof=1) == pytest.approx(expected)


def test_differences_are_paired_by_seed_and_unpaired_seeds_do_not_count():
    difference = paired_difference({0: 0.7, 1: 0.9, 2: 0.5}, {2: 0.4, 0: 0.5, 7: 0.1})
    assert difference.n == 2
    assert difference.mean == pytest.approx(0.15)


def test_coefficients_agree_with_scipy():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 20))
    x[3] = x[4]  # a tie
    assert pearson(x, y).value == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    assert spearman(x, y).value == pytest.approx(scipy.stats.spearmanr(x, y).statistic)


def test_the_bootstrap_interval_is_close_to_scipys_bca():
    rng = np.random.default_rng(2)
    x = rng.standard_normal(18)
    y = -0.8 * x + 0.6 * rng.standard_normal(18)
    ours = pearson(x, y)
    theirs = scipy.stats.bootstrap(
        (x, y),
        lambda a, b: scipy.stats.pearsonr(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=4000,
        rng=0,
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


def test_the_bootstrap_interval_of_a_correlation_covers_the_truth():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        x = rng.standard_normal(12)
        y = -0.8 * x + 0.6 * rng.standard_normal(12)
        found = pearson(x, y)
        hits += found.low <= -0.8 <= found.high
    assert 0.88 <= hits / 300 <= 0.99


def test_too_few_points_give_a_reason_instead_of_a_coefficient():
    x = list(range(MIN_POINTS - 1))
    assert pearson(x, x).value is None
    assert str(MIN_POINTS) in pearson(x, x).reason


def test_few_points_give_a_coefficient_without_an_interval():
    x = np.arange(MIN_POINTS_INTERVAL - 1, dtype=float)
    found = pearson(x, x**2)
    assert found.value is not None
    assert found.low is None
    assert "interval" in found.reason


def test_a_property_that_does_not_vary_has_no_coefficient():
    assert "vary" in pearson([1.0] * 10, list(range(10))).reason


def test_missing_values_leave_out_their_pair_only():
    x = [1.0, 2.0, math.nan, 4.0, 5.0, 9.0]
    y = [2.0, 3.0, 4.0, math.nan, 7.0, 1.0]
    assert pearson(x, y).n == 4


def test_the_same_points_always_get_the_same_interval():
    x, y = np.random.default_rng(4).standard_normal((2, 15))
    assert pearson(x, y) == pearson(x.copy(), y.copy())


def test_a_line_is_recovered_and_a_vertical_one_refused():
    x = np.array([0.0, 1.0, 2.0])
    slope, intercept = least_squares(x, 3 - 2 * x)
    assert (slope, intercept) == (pytest.approx(-2), pytest.approx(3))
    assert least_squares([1.0, 1.0], [0.0, 1.0]) is None
