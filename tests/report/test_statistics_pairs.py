"""Statistics of paired differences against hand calculation and other people's programs."""

import math

import numpy as np
import pytest
import scipy.stats

from harness.report.statistics import compare, equivalence, fewest_differences, holm, runs_needed, sign_flip


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_exact_sign_flip_p_is_that_of_scipys_permutation_test(n):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    ours = sign_flip(values)
    theirs = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert ours.exact
    assert ours.p == pytest.approx(theirs.pvalue)


def test_the_sign_flip_p_of_three_differences_is_the_one_counted_by_hand():
    # sums of +-1 +-2 +-4 that are as far from zero as 1 - 2 + 4 = 3: +-3, +-5 and +-7 but not +-1, so 6 of 8
    assert sign_flip([1.0, -2.0, 4.0]).p == 0.75
    assert sign_flip([1.0, 2.0, 4.0]).p == 0.25


@pytest.mark.parametrize(("n", "smallest"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (10, 2**-9), (40, 1 / 20_000)])
def test_the_clearest_differences_reach_the_smallest_p_and_none_goes_below(n, smallest):
    found = sign_flip(np.linspace(50, 60, n))
    assert found.p == found.smallest == smallest


def test_differences_that_are_equal_up_to_rounding_count_as_ties():
    assert sign_flip([0.1 + 0.2, 0.3, -0.3]).p == 1.0
    assert sign_flip([0.0, 0.0, 0.0]).p == 1.0


def test_random_sign_patterns_come_close_to_all_patterns_and_are_always_the_same():
    values = np.random.default_rng(3).normal(0.4, 1, 18)
    signs = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(18)) & 1)
    exact = np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-9)
    found = sign_flip(values)
    assert not found.exact
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))
    assert sign_flip(values.copy()) == found


def test_no_difference_has_no_p():
    assert sign_flip([math.nan]).p is None
    assert sign_flip([]).smallest is None


@pytest.mark.parametrize(
    ("p", "n"), [(0.25, 3), (0.05, 6), (0.01, 8), (0.05 / 91, 12), (1e-4, 15), (6e-5, 16), (1e-9, None)]
)
def test_the_fewest_differences_for_a_p_can_reach_it(p, n):
    assert fewest_differences(p) == n
    if n is not None:
        assert sign_flip(np.ones(n)).p <= p
        assert sign_flip(np.ones(n - 1)).p > p


def test_holm_is_the_example_worked_by_hand():
    # 0.01 x 4, 0.02 x 3, max(0.06, 0.025 x 2), max(0.06, 0.9 x 1)
    np.testing.assert_allclose(holm([0.02, 0.9, 0.01, 0.025]), [0.06, 0.9, 0.04, 0.06])


def test_holm_never_exceeds_one_nor_leaves_the_order_and_is_not_less_than_bonferronis_bound():
    p = np.random.default_rng(0).random(50) ** 3
    adjusted = holm(p)
    assert adjusted.max() <= 1
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, 50 * p) + 1e-12).all()


def test_holm_over_a_part_of_a_family_is_no_smaller_than_over_the_whole():
    p = np.random.default_rng(1).random((200, 21)) ** 4
    for row in p:
        part = holm(row[:6], family=21)
        assert (part >= holm(row)[:6] - 1e-12).all()


def test_a_question_without_an_answer_is_not_counted_by_holm():
    adjusted = holm([0.01, math.nan, 0.04])
    np.testing.assert_allclose(adjusted, [0.02, math.nan, 0.04])


def test_holm_refuses_a_family_smaller_than_its_answers():
    with pytest.raises(ValueError, match="a family of 1 questions cannot have 2"):
        holm([0.1, 0.2], family=1)


def test_the_posterior_is_that_of_baycomp():
    # baycomp 1.0.3: two_on_single(zeros, values, rope=0.25, runs=5), once for 5 runs of 2 folds
    values = np.array([0.31, -0.12, 0.85, 0.44, 0.27, 0.51, -0.08, 0.39, 0.62, 0.2])
    found = equivalence(values, 0.25, correlation=0.5)
    assert (found.left, found.inside, found.right) == pytest.approx(BAYCOMP, abs=1e-9)


BAYCOMP = (0.04555314405869529, 0.3451880289130683, 0.6092588270282364)


def test_the_posterior_without_correlation_is_students_t_about_the_mean():
    values = np.random.default_rng(5).normal(0.1, 0.4, 7)
    posterior = scipy.stats.t(6, values.mean(), values.std(ddof=1) / math.sqrt(7))
    found = equivalence(values, 0.3)
    assert (found.left, found.right) == pytest.approx((posterior.cdf(-0.3), posterior.sf(0.3)))
    assert found.left + found.inside + found.right == pytest.approx(1)


def test_the_p_value_outside_the_region_is_that_of_the_t_test_against_its_end():
    values = np.random.default_rng(6).normal(1.0, 0.5, 8)
    assert equivalence(values, 0.25).outside_p == pytest.approx(scipy.stats.ttest_1samp(values, 0.25).pvalue)
    assert equivalence(-values, 0.25).outside_p == pytest.approx(scipy.stats.ttest_1samp(values, 0.25).pvalue)


def test_equal_numbers_are_equal_and_an_unmeasured_spread_has_no_posterior():
    assert equivalence([0.0, 0.0], 0.1).inside == 1
    assert equivalence([0.4, 0.1 + 0.3], 0.1).reason
    assert equivalence([0.4, 0.4], 0.1).right is None
    assert equivalence([0.4], 0.1).reason == "one run tells nothing about the spread of runs"


@pytest.mark.parametrize(("region", "correlation"), [(0.0, 0.0), (-1.0, 0.0), (math.nan, 0.0), (0.1, 1.0), (0.1, -0.1)])
def test_a_region_or_correlation_that_means_nothing_is_refused(region, correlation):
    with pytest.raises(ValueError, match="needs region > 0"):
        equivalence([0.1, 0.2], region, correlation)


def test_clear_differences_are_better_or_worse_and_small_ones_equal_and_few_runs_decide_nothing():
    better, equal, few = [2.0, 2.1, 1.9, 2.05], [0.01, -0.02, 0.02, 0.0, 0.01], [1.0]
    found = compare([np.array(v) for v in (better, equal, few, np.negative(better))], region=0.25)
    assert [one.verdict for one in found] == ["better", "practically equal", "not enough runs", "worse"]
    assert found[2].needed is None
    assert math.isnan(found[2].outside_holm)


def test_a_verdict_takes_more_when_more_was_asked():
    values = np.array([1.0, 1.6, 1.2, 1.9, 1.4])
    alone, [among] = compare([values], region=0.25), compare([values], region=0.25, family=300)
    assert alone[0].verdict == "better"
    assert among.verdict == "not enough runs"
    assert among.needed > 5
    assert among.posterior == alone[0].posterior


@pytest.mark.parametrize(("true", "family"), [(1.0, 1), (0.6, 1), (1.0, 10), (0.0, 1), (0.1, 1), (-1.5, 45)])
def test_the_runs_that_are_said_to_be_needed_decide_in_four_of_five_cases(true, family):
    n = runs_needed(true, 0.5, 0.25, 0.05, family)
    decided = {runs: _decided(true, runs, family) for runs in (n, max(2, n // 2))}
    assert 0.74 <= decided[n] <= 0.99
    assert n <= 3 or decided[max(2, n // 2)] < 0.74


def _decided(true, n, family):
    """Share of studies with n runs in which the t test says better, or the posterior equal."""
    values = np.random.default_rng(7).normal(true, 0.5, (4000, n))
    error = values.std(1, ddof=1) / math.sqrt(n)
    below = scipy.stats.t.cdf((-0.25 - values.mean(1)) / error, n - 1)
    above = scipy.stats.t.sf((0.25 - values.mean(1)) / error, n - 1)
    if abs(true) > 0.25:
        return np.mean(2 * family * (1 - np.maximum(below, above)) <= 0.05)
    return np.mean(1 - below - above >= 0.95)


def test_no_number_of_runs_is_named_where_there_is_none():
    assert runs_needed(0.25, 0.5, 0.25, 0.05) is None
    assert runs_needed(0.26, 0.5, 0.25, 0.05) is None
    assert runs_needed(1.0, math.nan, 0.25, 0.05) is None
