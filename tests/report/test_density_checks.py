"""Whether a correlation rests on a family or on a method, against loops and against the papers' points."""

import numpy as np
import pandas as pd
import pytest

from harness.report.analyses._density_checks import checks, family, leave_one_out, partial_correlation, published_family
from harness.report.analyses.cost import pareto
from harness.report.analyses.density import _papers
from harness.report.names import STATISTICS


def test_the_partial_correlation_is_that_of_residuals_of_a_regression_on_dummies():
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c"], 6)
    x, y = rng.standard_normal(18) + np.repeat([0, 3, 5], 6), rng.standard_normal(18) + np.repeat([1, 9, 2], 6)
    dummies = np.stack([groups == name for name in "abc"], 1).astype(float)
    left = [values - dummies @ np.linalg.lstsq(dummies, values, rcond=None)[0] for values in (x, y)]
    found = partial_correlation(x, y, list(groups))
    assert found.value == pytest.approx(np.corrcoef(*left)[0, 1])
    assert found.low < found.value < found.high


def test_a_correlation_that_families_make_is_gone_within_them():
    rng = np.random.default_rng(1)
    level = np.repeat([0.0, 10.0], 10)
    x, y = (level + rng.standard_normal(20) for _ in range(2))
    assert np.corrcoef(x, y)[0, 1] > 0.9
    found = partial_correlation(x, y, ["a"] * 10 + ["b"] * 10)
    assert abs(found.value) < 0.6
    assert found.low < 0 < found.high


def test_too_few_methods_for_their_families_give_the_reason():
    found = partial_correlation(np.arange(5.0), np.arange(5.0), ["a", "b", "c", "d", "d"])
    assert found.value is None
    assert "too few" in found.reason


def test_leaving_one_out_is_a_loop_and_names_the_method_that_carries_most():
    x, y = np.array([0.0, 1, 2, 3, 4, 30]), np.array([1.0, 0, 2, 1, 2, 40])
    found = leave_one_out(x, y, list("abcdef"))
    values = [np.corrcoef(np.delete(x, i), np.delete(y, i))[0, 1] for i in range(6)]
    assert [found.low, found.high] == pytest.approx([min(values), max(values)])
    assert found.method == "f"


def test_within_families_the_papers_coefficients_of_spectral_decay_stay():
    table = checks(_papers(), STATISTICS).set_index(["source", "property"])
    for source in _papers():
        row = table.loc[(source, "rho")]
        assert row["families"] == 3
        assert row["partial_high"] < 0
        assert row["left_out_high"] < 0
    assert family("margin", "distance_weighted") == published_family("Margin (D, beta=1.2)") == "mined tuples"
    assert family("proxy_nca", "none") == published_family("ProxyNCA") == "proxies"
    assert family("n_pair", "none") == published_family("N-Pair") == "whole batch"


def test_the_front_is_what_no_other_point_beats():
    rng = np.random.default_rng(2)
    cost, quality = rng.integers(0, 6, (2, 40)).astype(float)
    points = pd.DataFrame({"cost": cost, "quality": quality}).to_dict("records")
    expected = [
        not any(
            other["cost"] <= one["cost"] and other["quality"] >= one["quality"] and other != one for other in points
        )
        for one in points
    ]
    assert list(pareto(cost, quality)) == expected
