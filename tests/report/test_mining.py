"""The analysis of mining, on runs whose numbers are known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from harness.report.analyses import mining
from harness.report.analyses._mining_runs import arm_of, converged, label_of, runs_of
from harness.report.analyses._mining_speed import speed_up
from harness.report.evidence import Evidence
from harness.report.names import DASH, MINUS
from harness.report.style import styled

ARMS = {  # arm -> what the miner is, epochs to converge, final R@1 without and with the global loss
    "random": ({"miner": "random_global"}, 8, 0.50, 0.54),
    "fixed": ({"miner": "smart", "miner.kappa_mode": "fixed", "miner.kappa": 1.5}, 8, 0.55, 0.56),
    "adaptive": ({"miner": "smart", "miner.kappa_mode": "ls", "miner.target": 0.6}, 4, 0.56, 0.58),
}
EPOCHS, STEPS, SECONDS = 12, 120, 24.0


def curve_of(epoch, final):
    return [final if e >= epoch else final - 0.1 for e in range(1, EPOCHS + 1)]


@pytest.fixture
def evidence():
    runs, configurations, curves, measurements = [], {}, [], []
    for number, (arm, (parts, epoch, *finals)) in enumerate(ARMS.items()):
        for regularizer, final in zip(("none", "global_loss"), finals, strict=True):
            for seed in range(3):
                run_id, method = f"{arm}-{regularizer}-{seed}", f"{arm} {regularizer}"
                keys = {
                    "run_id": run_id,
                    "setting": "glyphs",
                    "method": method,
                    "regularizer": regularizer,
                    "seed": seed,
                }
                axes = {"miner.kappa_mode": None, "miner.kappa": None, "miner.target": None, **parts}
                cost = {"steps": STEPS, "train_seconds": SECONDS}
                if arm != "random":
                    cost |= {"plan_embed_seconds": 2.0, "plan_search_seconds": 1.0, "plan_select_seconds": 0.1}
                runs.append(
                    {
                        **keys,
                        **axes,
                        **cost,
                        "objective": "triplet_ratio",
                        "state": "done",
                        "cause": None,
                        "cell": f"c{number}",
                    }
                )
                configurations[run_id] = {**parts, "training.epochs": EPOCHS}
                shift = 0.001 * seed
                told = {("test", "recall_at_1"): curve_of(epoch, final + shift)}
                if arm != "random":
                    told |= {("train", name): [0.5] * 10 for name in ("stale_fraction", *mining.CONTROL)}
                    told[("train", "index_recall_at_10")] = [0.99] * 10
                for (split, metric), values in told.items():
                    begin = EPOCHS + 1 - len(values)
                    rows = enumerate(values, start=begin)
                    curves += [
                        {**keys, "objective": "triplet_ratio", "split": split, "metric": metric, "epoch": e, "value": v}
                        for e, v in rows
                    ]
                row = {"split": "test", "metric": "recall_at_1", "selection": "last", "epoch": EPOCHS}
                measurements.append({**keys, **row, "value": final + shift})
    frames = [pd.DataFrame(rows) for rows in (runs, measurements, curves)]
    empty = pd.DataFrame()

    def read_curves(split, metrics):
        return frames[2][(frames[2]["split"] == split) & frames[2]["metric"].isin(metrics)]

    return Evidence("s", "?", None, "last", frames[0], configurations, frames[1], read_curves, empty, empty)


def test_a_run_has_converged_at_the_first_epoch_that_is_as_good_as_its_end():
    curve = pd.DataFrame({"epoch": [3, 6, 9, 12, 15, 18], "value": [0.3, 0.52, 0.524, 0.524, 0.530, 0.526]})
    found = converged(curve, {"steps": 180, "train_seconds": 36.0}, {"training.epochs": 18})
    assert found["final"] == pytest.approx(np.mean([0.524, 0.530, 0.526]))
    assert found["converged_epoch"] == 9  # 0.52 is 0.67 points below
    assert found["converged_steps"] == pytest.approx(90)
    assert found["converged_seconds"] == pytest.approx(18)
    assert found["best"] == 0.530


def test_a_run_that_rises_until_its_end_has_not_converged():
    curve = pd.DataFrame({"epoch": range(1, 7), "value": [0.1, 0.2, 0.3, 0.40, 0.41, 0.42]})
    found = converged(curve, {"steps": 60, "train_seconds": 6.0}, {"training.epochs": 6})
    assert found["final"] == pytest.approx(0.41)
    assert np.isnan([found["converged_epoch"], found["converged_steps"], found["converged_seconds"]]).all()


def test_arms_and_labels_tell_what_mined():
    smart = {"miner.kappa_mode": "ls", "miner.target": 0.6, "miner.share": 0.5, "dataset.label_noise": 0.2}
    run = {"miner": "smart", "regularizer": "global_loss", "objective": "margin", "method": "margin + semihard [x=2]"}
    assert arm_of("smart", smart) == "adaptive"
    assert arm_of("smart", {"miner.kappa_mode": "decay"}) == "fixed"
    assert label_of(run, smart) == "smart ls 0.6 share=0.5 + global_loss, 20% wrong labels"
    assert label_of({**run, "miner": "semihard"}, {}) == "semihard [x=2]"


def test_objectives_are_named_where_there_are_several(evidence):
    assert set(runs_of(evidence)["label"]) > {"random_global", "smart ls 0.6"}
    other = evidence.runs["objective"].where(evidence.runs["seed"] > 0, "triplet")
    changed = dataclasses.replace(evidence, runs=evidence.runs.assign(objective=other))
    assert set(runs_of(changed)["label"]) > {"triplet: random_global", "triplet_ratio: smart ls 0.6"}


def test_the_ablation_stands_beside_the_published_rows(evidence):
    table = next(table for table in mining.analyze(evidence).tables if table.name == "mining_ablation")
    shown = table.shown.set_index("Mining")
    assert list(shown.index) == ["random", "fixed", "adaptive"]
    assert shown.loc["fixed", "R@1"].startswith("55.1 ±")
    assert shown.loc["fixed", "with global loss"].startswith("56.1 ±")
    assert shown.loc["fixed", "gain"] == "1.0 ± 0.0"
    assert shown.loc["fixed", "published, CUB200-2011"] == "45.9 → 49.4"
    assert shown.loc["adaptive", "published, CARS196"] == f"{DASH} → 64.7"


def test_convergence_and_its_factor_are_told(evidence):
    section = mining.analyze(evidence)
    table = next(table for table in section.tables if table.name == "mining_convergence").numbers.set_index("method")
    assert table.loc["fixed none", "converged_epoch"] == 8
    assert table.loc["adaptive none", "converged_steps"] == pytest.approx(40)
    assert table.loc["adaptive none", "reached_steps"] == pytest.approx(40)  # 0.46 is not 95% of 0.501
    assert table.loc["fixed none", "converged"] == 3
    assert section.text[0] == (
        f"glyphs, without regularizer: adaptive mining converges in fewer epochs than fixed: difference {MINUS}4.0, "
        f"95% interval {MINUS}4.0 to {MINUS}4.0, paired by seed, n=3; a factor of 2.00 (2.00 to 2.00), where above 1 "
        "is sooner."
    )
    assert section.text[1].startswith("glyphs, with global_loss: adaptive mining converges in fewer epochs")
    assert f"smart ls 0.6: {MINUS}2.0 ± 0.0 points (n=3)" in section.text[3]


@pytest.mark.parametrize(
    ("fixed", "adaptive", "verdict"),
    [
        ([8, 8, 8], [9, 10, 10], "in more epochs than fixed: difference 1.7"),
        ([8, 8, 8], [5, 8, 11], "in no different number of epochs than fixed: difference 0.0"),
        (
            [8, 8, np.nan],
            [7, 6, 6],
            "n=2; a factor of 1.23 (0.46 to 3.29), where above 1 is sooner. 1 of 6 runs had not",
        ),
        ([np.nan] * 3, [7, 6, 6], "no seed has both an adaptive and a fixed run that had converged. 3 of 6 runs"),
        ([8, np.nan, np.nan], [7, 6, 6], f"one seed has both, {MINUS}1.0 epochs apart; that says nothing yet"),
    ],
)
def test_the_verdict_on_the_controller_follows_its_interval(fixed, adaptive, verdict):
    rows = [
        {"setting": "s", "regularizer": "none", "arm": arm, "seed": seed, "converged_epoch": epoch}
        for arm, epochs in (("fixed", fixed), ("adaptive", adaptive))
        for seed, epoch in enumerate(epochs)
    ]
    sentence, claim = speed_up(pd.DataFrame(rows))
    assert verdict in sentence
    assert "4 epochs with the controller and 20 without" in claim


def test_bounds_are_told_with_what_they_did(evidence):
    table = next(table for table in mining.analyze(evidence).tables if table.name == "mining_control")
    shown = table.shown.set_index("Method")
    assert list(shown.index) == ["smart fixed 1.5", "smart ls 0.6"]
    assert shown.loc["smart ls 0.6", "R@1"] == "56.1 ± 0.2"
    assert shown.loc["smart ls 0.6", "kappa"] == "0.50"
    assert shown.loc["smart ls 0.6", "off target"] == "0.00"
    assert shown.loc["smart fixed 1.5", "target"] == DASH  # which steers nothing there


def test_what_wrong_labels_cost_is_paired_by_seed(evidence):
    noisy = [f"adaptive-global_loss-{seed}" for seed in range(3)]
    runs = evidence.runs.assign(
        regularizer=evidence.runs["regularizer"].where(~evidence.runs["run_id"].isin(noisy), "none"),
        method=evidence.runs["method"].where(~evidence.runs["run_id"].isin(noisy), "adaptive noisy"),
    )
    configurations = dict(evidence.configurations)
    configurations |= {run_id: configurations[run_id] | {"dataset.label_noise": 0.2} for run_id in noisy}
    changed = dataclasses.replace(evidence, runs=runs, configurations=configurations)
    table = next(table for table in mining.analyze(changed).tables if table.name == "mining_noise")
    assert table.shown.to_dict("records") == [
        {"Method": "smart ls 0.6", "n": "3", "R@1": "56.1 ± 0.2", "20% wrong": "2.0 ± 0.0"}
    ]


def test_the_cost_of_planning_is_told_by_stage_and_mined_epoch(evidence):
    costs = next(table for table in mining.analyze(evidence).tables if table.name == "mining_cost")
    row = costs.numbers.set_index("method").loc["adaptive none"]
    assert row["plan_embed_seconds_an_epoch"] == pytest.approx(0.2)
    epoch = (24 - 3.1) / 12 + 0.31  # of the 12 epochs 10 were mined
    assert row["epoch_seconds"] == pytest.approx(epoch)
    assert row["share"] == pytest.approx(0.11 / epoch)
    assert row["share_with_embedding"] == pytest.approx(0.31 / epoch)
    assert row["share_selection"] == pytest.approx(0.01 / epoch)


def test_the_figures_can_be_drawn(evidence):
    drawings = mining.analyze(evidence).drawings
    assert [drawing.name for drawing in drawings] == ["mining_race_1", "mining_control_1"]
    for drawing in drawings:
        with styled():
            assert drawing.draw().axes


def test_a_study_without_such_miners_says_so(evidence):
    other = dataclasses.replace(evidence, runs=evidence.runs.assign(miner="semihard"))
    assert mining.analyze(other).text == ["No finished run has a miner that plans from the whole training set."]
