"""The section about non-isotropy regularization, from a study that never ran."""

import numpy as np
import pandas as pd
import pytest

from harness.report import report_json, write_report
from harness.report.analyses import _nir_arms
from harness.report.statistics import t_interval

ARMS = {  # arm -> (regularizer, its form, proxy rate, weight), and its R@1 in each of three seeds
    "A0": (("none", None, 20.0, None), (0.70, 0.71, 0.72)),
    "A1": (("none", None, 40.0, None), (0.70, 0.711, 0.719)),
    "A2": (("nir", "none", 40.0, 0.01), (0.75, 0.762, 0.768)),
    "A3": (("nir", "none_rescaled", 40.0, 0.01), (0.70, 0.711, 0.719)),
    "A4": (("nir", "exp_nll", 40.0, 0.01), (0.74, 0.78, 0.70)),
    "A5": (("nir", "exp_nll_detached", 40.0, 0.01), (0.75, 0.762, 0.74)),
    "A6": (("nir", "nll", 20.0, 0.1), (0.73, 0.739, 0.751)),
    "A7": (("nir", "nll_none", 20.0, 0.1), (0.71, 0.72, 0.729)),
}


@pytest.fixture(scope="module")
def database(make):
    grid = [("proxy_anchor", "none", regularizer, rate) for (regularizer, _, rate, _), _ in ARMS.values()]
    database = make(grid=grid, study="nir", question="Does it help?")
    runs = database._runs
    options = [what for what, _ in ARMS.values() for _ in range(3)]
    runs["regularizer.form"] = [form for _, form, _, _ in options]
    runs["regularizer.weight"] = [weight for *_, weight in options]
    recall = dict(zip(runs["run_id"], (v for _, vs in ARMS.values() for v in vs), strict=True))
    told = database._measurements
    own = (told["metric"] == "recall_at_1") & (told["selection"] == "last")
    told.loc[own, "value"] = told.loc[own, "run_id"].map(recall)
    curves = [
        (run["run_id"], run["method"], "train", metric, epoch, value(run, epoch))
        for run in runs.to_dict("records")
        if run["regularizer"] == "nir" and not str(run["regularizer.form"]).startswith("none")
        for metric, value in (("nir_gradient_ratio", ratio), ("nir_nll_median", lambda run, epoch: -5.0 * epoch))
        for epoch in range(1, 7)
    ]
    database._curves = pd.concat([database._curves, pd.DataFrame(curves, columns=database._curves.columns)])
    ids = runs["run_id"].tolist()
    blocks = [
        {"question": f"{arm}: what is it?", "runs": ids[3 * place : 3 * place + 3]} for place, arm in enumerate(ARMS)
    ]
    database._studies["about"] = [{"blocks": blocks}]
    return database


def ratio(run, epoch):
    if run["regularizer.form"] == "exp_nll_detached":
        return 0.0
    return 10.0**-epoch * (1 + run["seed"]) if run["regularizer.form"] == "exp_nll" else 0.1


@pytest.fixture(scope="module")
def section(database):
    return report_json(database, "nir", analyses=["nir"])["analyses"]["nir"]


def test_each_comparison_of_arms_has_a_paired_difference_and_a_verdict(section):
    rows = {(row["arm"], row["against"]): row for row in section["tables"]["nir_arms"]}
    assert set(rows) == {(arm, against) for arm, against, _ in _nir_arms.COMPARISONS if arm != "A8"}
    for (arm, against), row in rows.items():
        difference = np.subtract(ARMS[arm][1], ARMS[against][1])
        expected = t_interval(difference)
        assert row["difference"] == pytest.approx(difference.mean(), abs=1e-12)
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert row["n"] == 3
    verdicts = {key: row["verdict"] for key, row in rows.items()}
    assert verdicts["A1", "A0"].startswith("practically equal: 0.00 ± 0.2")
    assert verdicts["A2", "A1"].startswith("better by 5.00 ± 0.2")
    assert verdicts["A3", "A1"] == "equal, as it must be"
    assert verdicts["A4", "A0"].startswith("not enough runs: 3.00 ± ")
    assert "seeds would tell one point" in verdicts["A4", "A0"]
    assert verdicts["A5", "A2"].startswith("not equal, though it must (\N{MINUS SIGN}0.93 ± ")
    assert verdicts["A7", "A6"].startswith("worse by 2.0")


def test_every_comparison_has_a_line_of_text(section):
    for arm, against, differ in _nir_arms.COMPARISONS:
        told = [line for line in section["text"] if line.startswith(f"{arm} against {against} ({differ}): ")]
        assert len(told) == (arm != "A8")


def test_gains_are_paired_with_the_plain_run_of_equal_settings_and_stand_beside_the_published_ones(section):
    rows = {(row["name"], row["metric"]): row for row in section["tables"]["nir_gains"]}
    released, paper = rows["A4", "recall_at_1"], rows["A6", "recall_at_1"]
    assert (released["base_name"], paper["base_name"]) == ("A1", "A0")
    assert released["gain"] == pytest.approx(np.mean(ARMS["A4"][1]) - np.mean(ARMS["A1"][1]))
    assert [paper[f"published_{name}"] for name in ("cub200", "cars196", "sop")] == pytest.approx([0.016, 0.028, 0.009])
    assert ("A2", "recall_at_1") not in rows  # without a flow it is no NIR
    structure = {(row["name"], row["metric"], row["split"]): row for row in section["tables"]["nir_structure"]}
    assert structure["A6", "rho", "train"]["published_cub200"] == pytest.approx(-0.06)
    assert structure["A6", "density", "train"]["published_cars196"] == pytest.approx(0.09)
    assert structure["A6", "uniformity", "test"]["published_cub200"] is None


def test_whether_nir_acts_is_told_from_the_ratio_of_gradients(section):
    rows = [row for row in section["tables"]["nir_ratios"] if row["name"] == "A4"]
    assert [row["ratio"] for row in rows] == pytest.approx([2 * 10.0**-epoch for epoch in range(1, 7)])
    assert [row["highest"] / row["lowest"] for row in rows] == pytest.approx([3.0] * 6)
    assert [row["nll"] for row in rows] == pytest.approx([-5.0 * epoch for epoch in range(1, 7)])
    silent = next(line for line in section["text"] if "no longer acts" in line)
    assert "A4 (2e-06)" in silent
    assert "A5 (0e+00)" in silent
    assert "A6" not in silent


def test_figures_are_drawn_and_tables_written(database, tmp_path):
    write_report(database, "nir", out=tmp_path, analyses=["nir"])
    for name in ("nir_ratio", "nir_convergence"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000
    shown = (tmp_path / "tables" / "nir_ratios.md").read_text()
    assert "| A4 | 3 | 2.0e-01 | 2.0e-03 | 2.0e-06 | 3 of 6 |" in shown  # 2e-3 is the last one that acts


def test_without_nir_the_section_says_so(make):
    section = report_json(make(), "fair_comparison", analyses=["nir"])["analyses"]["nir"]
    assert section["tables"] == {}
    assert "No run with the regularizer nir" in section["text"][0]


@pytest.mark.parametrize(
    ("values", "identity", "expected"),
    [
        ([0.0, 0.0], True, "equal, as it must be"),
        ([0.001, -0.001, 0.0], True, "equal up to rounding"),
        ([0.05, 0.06], True, "not equal"),
        ([0.05], False, "not enough runs: 5.00 points from a single seed"),
        ([], False, "no seed has both"),
    ],
)
def test_verdicts_say_no_more_than_the_runs_do(values, identity, expected):
    assert _nir_arms.verdict(t_interval(values), identity).startswith(expected)
