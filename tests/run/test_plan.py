"""`harness plan`: what is missing of a study, measured here or known from finished runs, and written down for later."""

import json
from pathlib import Path

import pytest

from harness.provenance import provenance
from harness.specs import RunResult
from harness.store.database import record_study
from harness.store.frames import Database
from harness.store.spool import RunFolder, run_folders
from harness.study import Study
from harness.worker import Stop, Worker, work_on

STUDY = """\
schema: 1
name: mini
question: How long?
run:
  dataset: {name: glyphs, instances: 6, classes: 8}
  backbone: {name: convnet, embedding_dim: 8}
  sampler: class_balanced
  training: {epochs: 10, batch_size: 16, augmentation: shift}
  optimizer: {name: adam, lr: 1e-3}
seeds: SEEDS
grid:
  - objective: triplet
    miner: [random, semihard]
"""
SITE = "gpus: {gpus}\ncpus: 1\nminutes: {minutes}\nsignal_s: 60\nparallel: 2\n"
DB = "sqlite:///results/harness.db"


@pytest.fixture
def study(tmp_path, bank_cache):
    """Writes the miniature study; its runs as specs. The drawn letters are shared by all tests."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cache").symlink_to(bank_cache)

    def write(seeds=1, more=""):
        path = tmp_path / "mini.yaml"
        path.write_text(STUDY.replace("SEEDS", str(seeds)) + more)
        return Study.load(path).runs()

    return write


@pytest.fixture
def quick_start(monkeypatch):
    """Workers begin at once, which saves the seconds of looking how long they need."""
    monkeypatch.setattr("harness.cli.plan.start_seconds", lambda cuda: 0.0)


@pytest.fixture
def plan(harness):
    """`harness plan mini.yaml --json OPTIONS`: the exit code and what it says."""

    def run(*options):
        code, out, err = harness("plan", "mini.yaml", "--json", *options)
        assert "Traceback" not in err
        return code, json.loads(out)

    return run


def finish(spec, seconds, device="cpu", threads=1):
    """Publish a run that took so long, as if it had run on that device."""
    folder = RunFolder("results", spec.run_id)
    folder.write_spec(spec)
    loop = {"train_seconds": 0.6 * seconds, "embedding_seconds": 0.2 * seconds, "metrics_seconds": 0.2 * seconds}
    cost = {"setup_seconds": 2.0, "steps": 30.0, "total_seconds": seconds, **loop}
    made = {"device": device, "cpu": provenance()["cpu"], "threads": threads}
    folder.publish(RunResult(spec.run_id, "done", cost=cost, provenance=made), folder.take())


def test_a_plan_is_measured_kept_and_compared_with_what_the_runs_took(harness, plan, study, tmp_path):
    specs = study()
    code, first = plan("--workers", "2", "--steps", "5")
    assert code == 0
    assert list(run_folders("results")) == []  # nothing was begun
    assert first["runs"] == {"total": 2, "done": 0, "failed": 0, "missing": 2, "unknown": 0}
    assert [(cell["runs"], cell["steps_per_epoch"], cell["source"]) for cell in first["cells"]] == [
        (1, 3, "measured")
    ] * 2
    assert all(cell["run_seconds"] > 10 * 3 * cell["seconds_per_step"] > 0 for cell in first["cells"])
    totals = first["totals"]
    longest = max(cell["run_seconds"] for cell in first["cells"])
    assert totals["wall_clock_seconds"] == pytest.approx(totals["worker_start_seconds"] + longest)

    worker = Worker(Path("results"), tmp_path, [spec.run_id for spec in specs], None)
    for spec in specs:
        folder = RunFolder("results", spec.run_id)
        folder.write_spec(spec)
        assert work_on(folder, worker, Stop())
    size = sum(path.stat().st_size for path in Path("results/runs").rglob("*") if path.is_file())
    assert totals["disk_bytes"]["run_folders"] == pytest.approx(size, rel=0.25)

    study(seeds=2)
    code, second = plan("--no-measure")
    assert (code, second["runs"]["missing"]) == (0, 2)
    truth = Database(DB).runs().set_index("run_id")
    for cell, spec in zip(second["cells"], specs, strict=True):
        assert cell["source"] == "database"
        row = truth.loc[spec.run_id]
        assert cell["run_seconds"] == pytest.approx(row["setup_seconds"] + row["total_seconds"], rel=0.05)

    loaded = Study.load("mini.yaml")
    record_study(DB, loaded.name, None, loaded.runs())  # as a launch does
    estimates = Database(DB).estimates("mini")
    assert list(estimates["source"]) == ["measured", "database"] * 2
    [compared] = json.loads(harness("report", "mini", "--json")[1])["analyses"]["estimate"]["tables"].values()
    assert [row["n"] for row in compared] == [1, 1]
    assert [row["planned"] for row in compared] == [cell["run_seconds"] for cell in first["cells"]]


def test_finished_runs_give_the_totals_to_the_second(plan, harness, study):
    specs = study(seeds=4)
    finish(specs[0], 100.0)
    finish(specs[4], 40.0)
    code, told = plan("--no-measure", "--workers", "2")
    assert code == 0
    assert [(cell["runs"], cell["run_seconds"]) for cell in told["cells"]] == [
        (3, pytest.approx(102)),
        (3, pytest.approx(42)),
    ]
    assert told["cells"][0]["epoch_seconds"] == pytest.approx(10)
    assert told["cells"][0]["seconds_per_step"] == pytest.approx(2)
    # In the order of the study, one worker gets 102 and 102, the other 102 and then 42 three times.
    assert told["totals"]["wall_clock_seconds"] == pytest.approx(102 + 3 * 42)
    assert told["totals"]["worker_hours"] == pytest.approx(3 * (102 + 42) / 3600)
    assert told["totals"]["gpu_hours"] == 0
    text = harness("plan", "mini.yaml", "--no-measure", "--workers", "2")[1]
    assert "6 missing of 8 (2 done, 0 failed)" in text
    assert "03:48 with 2 workers" in text


def test_times_of_another_device_are_not_taken(plan, study):
    specs = study(seeds=2)
    finish(specs[0], 100.0, device="NVIDIA H200")
    finish(specs[2], 40.0, threads=8)
    code, told = plan("--no-measure")
    assert code == 3
    assert told["runs"]["unknown"] == told["runs"]["missing"] == 2
    assert all(cell["run_seconds"] is None and "--no-measure" in cell["reason"] for cell in told["cells"])
    assert told["totals"]["wall_clock_seconds"] is None


def test_a_site_with_gpus_is_planned_from_runs_on_gpus_and_its_jobs_are_counted(
    plan, harness, study, tmp_path, quick_start
):
    specs = study(seeds=2)
    finish(specs[0], 300.0, device="NVIDIA H200")
    finish(specs[2], 40.0)
    (tmp_path / "site.yaml").write_text(SITE.format(gpus=1, minutes=4))
    code, told = plan("--site", "site.yaml")
    assert code == 0
    [known, unknown] = told["cells"]
    assert (known["device"], known["run_seconds"]) == ("NVIDIA H200", pytest.approx(302))
    assert "GPU" in unknown["reason"]
    assert told["workers"] == 2
    assert told["job_seconds"] == 180
    assert told["totals"]["requeues"] == 1
    assert told["totals"]["gpu_hours"] == told["totals"]["worker_hours"] >= 302 / 3600
    text = harness("plan", "mini.yaml", "--site", "site.yaml")[1]
    assert "1 of 03:00 of work, 1 requeues" in text


def test_a_data_set_that_is_not_there_leaves_the_others_their_estimate(plan, study, quick_start):
    specs = study(
        more="""\
  - dataset: cub200
    objective: triplet
    miner: random
"""
    )
    finish(specs[0], 100.0)
    finish(specs[1], 100.0)
    assert plan("--only", "dataset=glyphs")[0] == 0
    code, told = plan()
    assert code == 3  # all that is missing is unknown
    assert "--data" in told["cells"][0]["reason"]
    study(
        seeds=2,
        more="""\
  - dataset: cub200
    objective: triplet
    miner: random
""",
    )
    code, told = plan()
    assert code == 0
    assert (told["runs"]["missing"], told["runs"]["unknown"]) == (4, 2)


def test_a_run_that_was_begun_counts_by_what_is_left_of_it(plan, study):
    specs = study(seeds=2)
    finish(specs[0], 100.0)
    finish(specs[2], 100.0)
    finish(specs[3], 100.0)
    folder = RunFolder("results", specs[1].run_id)
    folder.write_spec(specs[1])
    folder.write_progress({"epoch": 6, "epochs": 10})
    assert plan("--no-measure")[1]["totals"]["wall_clock_seconds"] == pytest.approx(102)
    folder.checkpoint_path.touch()
    assert plan("--no-measure")[1]["totals"]["wall_clock_seconds"] == pytest.approx(2 + 40)


def test_nothing_is_planned_of_a_finished_study(harness, study):
    for spec in study():
        finish(spec, 10.0)
    code, out, _ = harness("plan", "mini.yaml")
    assert code == 0
    assert "nothing to do, all 2 runs are there" in out
