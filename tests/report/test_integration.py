"""From run folders over the real database to the page: the two sides agree on their frames."""

import numpy as np
import pytest

from harness.report import report_json, write_report
from harness.specs import Choice, Curve, Measurement, RunResult, RunSpec, Spectrum
from harness.store.database import collect, record_study
from harness.store.frames import Database
from harness.store.spool import RunFolder


def spec(beta, seed, rho=False):
    return RunSpec(
        dataset=Choice("cub200", {}),
        backbone=Choice("resnet50", {"embedding_dim": 128}),
        objective=Choice("margin", {"beta": beta, "nu": 0.0}),
        miner=Choice("distance_weighted", {"lower_cutoff": 0.5}),
        sampler=Choice("class_balanced", {"samples_per_class": 2}),
        regularizer=Choice("rho", {"probability": 0.35}) if rho else None,
        seed=seed,
    )


def result(run, recall):
    rng = np.random.default_rng(run.seed)
    numbers = {
        ("test", "recall_at_1"): recall,
        ("test", "nmi"): recall + 0.05,
        ("train", "rho"): 0.3 + 0.1 * rng.random(),
    }
    numbers |= {("train", name): rng.random() for name in ("pi_intra", "pi_inter", "density")}
    values = [0.5, 0.3, 0.2]
    return RunResult(
        run.run_id,
        "done",
        measurements=[
            Measurement(split, metric, rule, 2, value)
            for (split, metric), value in numbers.items()
            for rule in ("last", "best_test")
        ],
        curves=[
            Curve("test", "recall_at_1", [1, 2], [recall - 0.1, recall]),
            Curve("train", "loss", [1, 2], [1.0, None]),
        ],
        spectra=[Spectrum(split, rule, 2, values) for split in ("train", "test") for rule in ("last", "best_test")],
        cost={"train_seconds": 3.0, "step_ms": 12.0},
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    url = f"sqlite:///{results}/harness.db"
    runs = [spec(beta, seed, rho) for beta in (0.6, 1.2) for rho in (False, True) for seed in range(2)]
    about = {"question": "Which beta?", "analyses": [], "selection": "best_test"}
    record_study(url, "betas", None, [*runs, spec(0.9, 0)], about)
    for run in runs[:-1]:
        folder = RunFolder(results, run.run_id)
        folder.write_spec(run)
        folder.publish(result(run, 0.6 + 0.01 * run.seed + (0.02 if run.regularizer else 0)), folder.take())
    failed = RunFolder(results, runs[-1].run_id)
    failed.write_spec(runs[-1])
    failed.publish(RunResult(runs[-1].run_id, "failed", cause="diverged", message="the loss became nan"), failed.take())
    collect(url, results)
    return Database(url)


def test_the_page_of_a_real_database_has_its_methods_holes_and_selection(database, tmp_path):
    text = write_report(database, "betas", out=tmp_path, analyses=["leaderboard", "convergence"]).read_text()
    assert "1 of 2 (1 diverged)" in text
    assert "0 of 1 (1 pending)" in text
    assert "selected on test" in text
    assert "Which beta?" in text
    assert "samples_per_class" in text  # a setting that does not vary still stands behind the cell


def test_the_numbers_of_a_real_database_are_paired_and_put_beside_the_papers(database):
    numbers = report_json(database, "betas", selection="last")["analyses"]
    gains = [row for row in numbers["regularizers"]["tables"]["regularizers"] if row["metric"] == "recall_at_1"]
    assert [(row["gain"], row["n"]) for row in gains] == [(pytest.approx(0.02), 2), (pytest.approx(0.02), 1)]
    rows = {row["published"]: row for row in numbers["saturation"]["tables"]["saturation_methods"]}
    assert set(rows) == {
        "Margin (D, beta=0.6)",
        "Margin (D, beta=1.2)",
        "R-Margin (D, beta=0.6)",
        "R-Margin (D, beta=1.2)",
    }
    assert all(row["cub200_not_comparable"] == "" for row in rows.values())
    assert rows["Margin (D, beta=1.2)"]["cub200"] == pytest.approx(0.6309, abs=1e-4)
    assert rows["Margin (D, beta=1.2)"]["setting"] == "CUB200-2011, resnet50-128"


def test_two_data_files_in_one_study_are_two_settings_named_by_their_files(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    plain = spec(0.6, 0)
    runs = [
        RunSpec(
            dataset=Choice("pack", {"file": file}),
            backbone=plain.backbone,
            objective=plain.objective,
            miner=plain.miner,
            sampler=plain.sampler,
            seed=seed,
        )
        for file in ("cub100_128.zip", "cars196_128.zip")
        for seed in range(2)
    ]
    record_study(
        url, "packs", None, runs, {"question": "Which pack?", "analyses": ["leaderboard"], "selection": "last"}
    )
    for run in runs:
        folder = RunFolder(tmp_path, run.run_id)
        folder.write_spec(run)
        folder.publish(result(run, 0.5 + 0.1 * run.seed), folder.take())
    collect(url, tmp_path)
    told = str(report_json(Database(url), "packs"))
    assert "cub100_128, resnet50-128" in told
    assert "cars196_128, resnet50-128" in told
    assert "pack, resnet50" not in told
