"""Interquartile means, class intervals and ranks against hand calculation and scipy."""

import numpy as np
import pytest
import scipy.stats

from harness.report.statistics import aggregate, class_interval, cliques, critical_difference, rank_methods
from harness.report.statistics.aggregate import interquartile_mean
from harness.report.statistics.classes import MIN_CLASSES


@pytest.mark.parametrize("n", [4, 8, 20])
def test_the_interquartile_mean_of_a_multiple_of_four_is_scipys_trimmed_mean(n):
    values = np.random.default_rng(n).standard_normal((3, n))
    np.testing.assert_allclose(interquartile_mean(values), scipy.stats.trim_mean(values, 0.25, axis=-1))


def test_the_interquartile_mean_of_five_counts_the_edges_in_part():
    # of 5 sorted values, 1.25 fall away at either end: 0, 0.75, 1, 0.75, 0
    assert interquartile_mean(np.array([100.0, 2.0, 1.0, 3.0, -50.0])) == pytest.approx((0.75 * 1 + 2 + 0.75 * 3) / 2.5)
    assert interquartile_mean(np.array([7.0])) == 7


def test_one_run_that_collapsed_hardly_moves_the_interquartile_mean():
    good = np.random.default_rng(0).normal(0.6, 0.01, (3, 5))
    bad = good.copy()
    bad[0, 0] = 0.01
    assert abs(aggregate(good).value - aggregate(bad).value) < 0.005
    assert abs(good.mean() - bad.mean()) > 0.03


def test_data_sets_may_have_different_numbers_of_runs_and_holes():
    found = aggregate([[0.1, 0.2, 0.3, 0.4, 0.5, float("nan")], [0.2] * 3 + [0.3] * 3, []])
    assert (found.groups, found.n) == (2, 11)
    assert found.low < found.value < found.high
    assert aggregate([]).reason == "no runs"
    assert "one data set" in aggregate([[0.1, 0.2, 0.3, 0.4, 0.5]]).reason


def test_the_same_runs_always_get_the_same_interval():
    runs = np.random.default_rng(1).standard_normal((2, 6))
    assert aggregate(runs) == aggregate(runs.copy())


def test_the_standard_error_over_classes_is_that_of_the_mean_of_class_means_when_all_classes_are_of_a_size():
    means = np.random.default_rng(2).random(200)
    found = class_interval(np.repeat(means, 10), np.repeat(np.arange(200), 10))
    half = scipy.stats.t.ppf(0.975, 199) * means.std(ddof=1) / np.sqrt(200)
    assert found.mean == pytest.approx(means.mean())
    assert found.high - found.mean == pytest.approx(half, rel=0.06)  # 1,000 resamples know it to about 2%


def test_queries_of_one_class_are_no_independent_evidence():
    rng = np.random.default_rng(3)
    few = rng.random(MIN_CLASSES) < 0.6  # all queries of a class fail together
    one, many = (class_interval(np.repeat(few, k).astype(float), np.repeat(np.arange(MIN_CLASSES), k)) for k in (1, 40))
    assert many.high - many.low == pytest.approx(one.high - one.low)


def test_what_is_no_query_does_not_count_and_labels_may_be_any_numbers():
    labels = np.repeat(np.arange(1000, 1000 + MIN_CLASSES), 2)
    values = np.random.default_rng(4).random(2 * MIN_CLASSES)
    with_gallery = class_interval(np.append(values, [np.nan] * 5), np.append(labels, [7] * 5))
    assert with_gallery == class_interval(values, labels)
    assert class_interval(np.array([np.nan]), np.array([1])).reason == "no queries"


@pytest.mark.parametrize(
    ("methods", "blocks", "critical"), [(14, 3, 11.45), (5, 3, 3.52), (14, 12, 5.7), (14, 30, 3.6)]
)
def test_the_critical_difference_is_that_of_the_tables(methods, blocks, critical):
    assert critical_difference(methods, blocks) == pytest.approx(critical, abs=0.03)


def test_ranks_over_three_data_sets_are_refused_with_the_reason():
    found = rank_methods(np.random.default_rng(5).random((3, 5)))
    assert found.critical is None
    assert (
        found.reason == "with 3 blocks two of 5 methods would have to be 3.5 mean ranks apart, of 4 that are possible"
    )
    assert "half" not in found.reason
    assert rank_methods(np.ones((9, 2))).reason == "ranks are for three methods or more"


def test_ranks_over_many_data_sets_are_scipys_with_the_highest_score_first():
    scores = np.arange(4) + np.random.default_rng(6).standard_normal((12, 4))
    found = rank_methods(scores)
    np.testing.assert_allclose(found.mean, scipy.stats.rankdata(-scores, axis=1).mean(0))
    assert found.mean.argmin() == 3
    assert found.friedman_p == pytest.approx(scipy.stats.friedmanchisquare(*scores.T).pvalue)
    assert found.reason == ""


def test_cliques_are_the_longest_ranges_within_the_critical_difference():
    assert cliques(np.array([4.0, 1.0, 1.5, 2.6, 3.9]), 1.2) == [(1.0, 1.5), (1.5, 2.6), (3.9, 4.0)]
    assert cliques(np.array([1.0, 3.0, 5.0]), 1.2) == []
