"""The section about non-isotropy regularization, from a study that never ran."""

import numpy as np
import pandas as pd
import pytest

from harness.report import report_json, write_report
from harness.report.analyses import _nir_arms, _nir_gains
from harness.report.statistics import compare, t_interval

PLAIN, RELEASED, PAPER = (
    {"rate": 20.0},
    {"form": "exp_nll", "rate": 40.0, "weight": 0.01},
    {"form": "nll", "rate": 20.0},
)
SCALED = {"form": "none", "rate": 40.0, "weight": 0.01}
ARMS = {  # name -> its options, and its R@1 in each of three seeds
    "A0": (PLAIN, (0.70, 0.71, 0.72)),
    "A1": ({"rate": 40.0}, (0.70, 0.711, 0.719)),
    "A2": (SCALED, (0.75, 0.762, 0.768)),
    "A3": ({**SCALED, "decay": 1e-6}, (0.70, 0.711, 0.719)),
    "A4": (RELEASED, (0.74, 0.78, 0.70)),
    "A5": ({**RELEASED, "detached": True}, (0.75, 0.762, 0.74)),
    "A6 (weight=0.1)": ({**PAPER, "weight": 0.1}, (0.73, 0.739, 0.751)),
    "A6 (weight=0.3)": ({**PAPER, "weight": 0.3}, (0.71, 0.74, 0.751)),
    "A7": ({**PAPER, "weight": 0.1, "condition": "none"}, (0.71, 0.72, 0.729)),
}
DEFAULTS = {"decay": 4e-4, "detached": False, "condition": "own_proxy"}
PATHS = {
    "regularizer.form": "form",
    "regularizer.weight": "weight",
    "regularizer.condition": "condition",
    "regularizer.detach_embeddings": "detached",
    "regularizer.detach_proxies": "detached",
    "optimizer.weight_decay": "decay",
}


@pytest.fixture(scope="module")
def database(make):
    grid = [("proxy_anchor", "none", "nir" if "form" in told else "none", told["rate"]) for told, _ in ARMS.values()]
    database = make(grid=grid, study="nir", question="Does it help?")
    runs = database._runs
    options = [DEFAULTS | told for told, _ in ARMS.values() for _ in range(3)]
    for path, name in PATHS.items():
        runs[path] = [told.get(name) for told in options]
    recall = dict(zip(runs["run_id"], (v for _, vs in ARMS.values() for v in vs), strict=True))
    told = database._measurements
    own = (told["metric"] == "recall_at_1") & (told["selection"] == "last")
    told.loc[own, "value"] = told.loc[own, "run_id"].map(recall)
    database._measurements = pd.concat([told, concentrations(runs)])
    database._curves = pd.concat([database._curves, action(runs, database._curves.columns)])
    blocks = {}
    for name, run_id in zip((name for name in ARMS for _ in range(3)), runs["run_id"], strict=True):
        blocks.setdefault(f"{name[:2]}: what is it?", []).append(run_id)
    database._studies["about"] = [{"blocks": [{"question": asked, "runs": ids} for asked, ids in blocks.items()]}]
    return database


def concentrations(runs):
    """Mean 10 and variance 25, 50 with nir, on both splits."""
    rows = [
        {"run_id": run["run_id"], "split": split, "metric": name, "selection": "last", "epoch": 6, "value": value}
        for run in runs.to_dict("records")
        for split in ("train", "test")
        for name, value in (
            ("concentration", 10.0),
            ("concentration_variance", 25.0 if run["regularizer"] == "none" else 50.0),
        )
    ]
    return pd.DataFrame(rows)


def action(runs, columns):
    curves = [
        (run["run_id"], run["method"], "train", metric, epoch, value(run, epoch))
        for run in runs.to_dict("records")
        if run["regularizer"] == "nir" and run["regularizer.form"] != "none"
        for metric, value in (("nir_gradient_ratio", ratio), ("nir_nll_median", lambda run, epoch: -5.0 * epoch))
        for epoch in range(1, 7)
    ]
    return pd.DataFrame(curves, columns=columns)


def ratio(run, epoch):
    if run["regularizer.detach_embeddings"]:
        return 0.0
    return 10.0**-epoch * (1 + run["seed"]) if run["regularizer.form"] == "exp_nll" else 0.1


@pytest.fixture(scope="module")
def section(database):
    return report_json(database, "nir", analyses=["nir"])["analyses"]["nir"]


def test_each_comparison_of_arms_has_a_paired_difference(section):
    rows = {(row["name"], row["base_name"]): row for row in section["tables"]["nir_arms"]}
    assert {(name[:2], base[:2]) for name, base in rows} == {pair[:2] for pair in _nir_arms.COMPARISONS[:-1]}
    for (name, base), row in rows.items():
        expected = t_interval(np.subtract(ARMS[name][1], ARMS[base][1]))
        assert row["difference"] == pytest.approx(expected.mean, abs=1e-12)
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert row["n"] == 3
    assert ("A7", "A6 (weight=0.1)") in rows  # the one of equal weight


def test_verdicts_are_those_of_the_corrected_tests_and_identities_are_judged_as_such(section):
    verdicts = {(row["name"], row["base_name"]): row["verdict"] for row in section["tables"]["nir_arms"]}
    asked = [pair for pair in verdicts if (pair[0][:2], pair[1][:2]) not in _nir_arms.IDENTITIES]
    judged = compare([np.subtract(ARMS[name][1], ARMS[base][1]) for name, base in asked], 0.01)
    assert [one.verdict for one in judged] == [
        next(
            word
            for word in ("practically equal", "not enough runs", "better", "worse")
            if verdicts[pair].startswith(word)
        )
        for pair in asked
    ]
    assert verdicts["A1", "A0"] == "practically equal"
    assert verdicts["A2", "A1"] == "better by more than one point"
    assert verdicts["A4", "A0"].startswith("not enough runs; about ")
    assert verdicts["A3", "A1"] == "equal, as it must be"
    assert verdicts["A5", "A2"] == "not equal, though it must"


def test_every_arm_has_its_verdict_in_words(section):
    assert "A0 (Proxy-Anchor as the plain published runs had it): test R@1 71.0 ± 2.5, n=3." in section["text"]
    for arm, against, differ in _nir_arms.COMPARISONS:
        told = [line for line in section["text"] if line.startswith(f"{arm} against {against} ({differ}): ")]
        assert len(told) == (arm != "A8")
    line = next(line for line in section["text"] if line.startswith("A6 against A0"))
    assert "A6 (weight=0.1): " in line
    assert "A6 (weight=0.3): " in line


def test_gains_are_paired_with_the_plain_run_of_equal_settings_and_stand_beside_the_published_ones(section):
    recall = [row for row in section["tables"]["nir_gains"] if row["metric"] == "recall_at_1"]
    rows = {(row["name"], row["base_name"]): row for row in recall}
    assert {pair[0] for pair in rows} == {"A4", "A6 (weight=0.1)", "A6 (weight=0.3)", "A7"}  # a flow that is felt
    released, weighed, paper = rows["A4", "A1"], rows["A4", "A2"], rows["A6 (weight=0.1)", "A0"]
    assert weighed["gain"] == pytest.approx(np.mean(ARMS["A4"][1]) - np.mean(ARMS["A2"][1]))
    assert released["gain"] == pytest.approx(np.mean(ARMS["A4"][1]) - np.mean(ARMS["A1"][1]))
    assert [paper[f"published_{name}"] for name in ("cub200", "cars196", "sop")] == pytest.approx([0.016, 0.028, 0.009])
    structure = {(row["name"], row["metric"], row["split"]): row for row in section["tables"]["nir_structure"]}
    assert structure["A6 (weight=0.1)", "rho", "train"]["published_cub200"] == pytest.approx(-0.06)
    assert structure["A6 (weight=0.1)", "density", "train"]["published_cars196"] == pytest.approx(0.09)
    assert structure["A6 (weight=0.1)", "uniformity", "test"]["published_cub200"] is None
    spread = structure["A6 (weight=0.1)", "concentration_spread", "test"]
    assert (spread["plain"], spread["with_nir"]) == pytest.approx((0.25, 0.5))
    assert spread["published_cub200"] == pytest.approx(0.07)


def test_the_structure_of_the_embedding_is_shown_without_and_with_nir_beside_the_published_one(
    database, section, tmp_path
):
    write_report(database, "nir", out=tmp_path, analyses=["nir"])
    lines = (tmp_path / "tables" / "nir_structure.md").read_text().splitlines()
    paper = next(line for line in lines if line.startswith("| A6 (weight=0.1) | test | "))
    assert "| 0.250 → 0.500 ± 0.000 |" in paper
    published = next(line for line in lines if line.startswith("| published, CUB200-2011 |"))
    assert "| 0.190 → 0.130 | 0.680 → 0.790 | 0.078 → 0.072 | 0.370 → 0.440 |" in published
    numbers = pd.DataFrame(section["tables"]["nir_structure"]).query("metric == 'concentration_spread'")
    told = next(line for line in section["text"] if "differences in the structure" in line)
    assert "A6 (weight=0.1): concentration var/mean² +0.250 ± 0.000" in told
    near = numbers.assign(gain=0.02, low=0.01, high=0.03)  # surely above 0, and less than half of the published 0.06
    assert "is none of these" in _nir_gains.structure_text(near)[0]


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
    ("values", "expected"),
    [
        ([0.0, 0.0], "equal, as it must be"),
        ([0.001, -0.001, 0.0], "equal up to rounding"),
        ([0.05, 0.06], "not equal"),
        ([], "no seed has both"),
    ],
)
def test_identities_hold_bit_for_bit_or_up_to_rounding_or_not(values, expected):
    assert _nir_arms.verdict_on_identity(t_interval(values)).startswith(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.05], "not enough runs"),
        ([], "no seed has both"),
        ([0.02, 0.026, 0.014], "not enough runs, though its interval says better; about "),
        ([-0.02, -0.026, -0.014], "not enough runs, though its interval says worse; about "),
        ([0.02, -0.03, 0.02], "not enough runs; about "),
    ],
)
def test_verdicts_say_no_more_than_the_runs_do(values, expected):
    assert _nir_arms.verdict(compare([values], 0.01)[0]).startswith(expected)
