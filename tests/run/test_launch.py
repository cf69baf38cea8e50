"""A whole study on this machine: real run folders, real workers through submitit, a real SQLite file."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.launch import Machine, launch
from harness.store.frames import Database
from harness.store.lease import read_owner
from harness.store.spool import RunFolder, run_folders
from harness.study import Study
from harness.training.execute import Context, execute

STUDY = """\
schema: 1
name: mini
question: Does everything hold together?
run:
  dataset: {name: glyphs, instances: 6, classes: 8}
  backbone: {name: convnet, embedding_dim: 8}
  sampler: class_balanced
  training: {epochs: EPOCHS, batch_size: 16, augmentation: shift}
  optimizer: {name: adam, lr: 1e-3}
seeds: 2
grid:
  - objective: triplet
    miner: MINERS
"""


@pytest.fixture
def write_study(tmp_path):
    """Writes the miniature study with these miners; gives its path."""

    def write(miners="[random, semihard]", epochs=2, more=""):
        path = tmp_path / "mini.yaml"
        path.write_text(STUDY.replace("MINERS", miners).replace("EPOCHS", str(epochs)) + more)
        return path

    return write


@pytest.fixture
def places(tmp_path, bank_cache):
    """Results in a folder of the test's own; the drawn letters are shared by all tests."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "cache").symlink_to(bank_cache)
    return {"results": results, "db": f"sqlite:///{results / 'harness.db'}", "data": tmp_path / "data"}


def numbers(result):
    return dataclasses.replace(result, cost={}, provenance={})


def attempts(results: Path) -> list[str]:
    return [attempt.cause for folder in run_folders(results) for attempt in folder.attempts()]


def test_a_study_is_trained_once_and_grows_by_what_is_added(write_study, places):
    study = Study.load(write_study())
    seen = []
    first = launch(study, **places, machine=Machine(slots=2), watch=seen.append)
    assert (first.total, first.found, first.done, first.failed) == (4, 0, 4, {})
    assert max(len(now.running) for now in seen) <= 2
    assert seen[-1].done == 4

    again = launch(study, **places, machine=Machine(slots=2))
    assert (again.found, again.done) == (4, 4)
    assert attempts(places["results"]) == ["done"] * 4  # nothing was started again

    grown = launch(Study.load(write_study("[random, semihard, softhard]")), **places, machine=Machine(slots=2))
    assert (grown.total, grown.found, grown.done) == (6, 4, 6)
    assert attempts(places["results"]) == ["done"] * 6

    frame = Database(places["db"]).measurements("mini", selection="last")
    recall = frame[(frame["split"] == "test") & (frame["metric"] == "recall_at_1")]
    assert len(recall) == 6
    assert set(recall["miner"]) == {"random", "semihard", "softhard"}


def test_workers_in_any_number_give_the_numbers_of_an_undisturbed_run(write_study, places, bank_cache, tmp_path):
    study = Study.load(write_study("[random]"))
    launch(study, **places, machine=Machine(slots=2))
    for spec in study.runs():
        alone = execute(spec, Context(tmp_path, bank_cache))
        assert numbers(RunFolder(places["results"], spec.run_id).read_result()) == numbers(alone)


def test_two_launches_at_once_share_the_work_and_train_nothing_twice(write_study, places):
    study = Study.load(write_study())
    outcomes = []

    def one_more():
        outcomes.append(launch(study, **places, machine=Machine(slots=2)))

    threads = [threading.Thread(target=one_more) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.done for outcome in outcomes] == [4, 4]
    assert attempts(places["results"]) == ["done"] * 4


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


def test_a_worker_killed_in_the_middle_of_an_epoch_costs_nothing_but_time(write_study, places, bank_cache, tmp_path):
    study = Study.load(write_study("[semihard]", epochs=60, more="").as_posix(), overrides={"seeds": "1"})
    (spec,) = study.runs()
    folder = RunFolder(places["results"], spec.run_id)
    killed = []

    def kill_in_the_middle():
        wait_for(lambda: (folder.read_progress() or {}).get("epoch", 0) >= 3)
        killed.append(read_owner(folder.lease_path).pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    outcome = launch(study, **places, machine=Machine(slots=1))
    killer.join()
    assert outcome.done == 1
    assert sorted(attempt.cause for attempt in folder.attempts()) == ["done", "lost"]
    assert numbers(folder.read_result()) == numbers(execute(spec, Context(tmp_path, bank_cache)))


def test_a_run_that_fails_is_told_and_the_others_go_on(write_study, places, monkeypatch, tmp_path):
    (tmp_path / "failing_lab.py").write_text(
        "class Failing:\n"
        "    def __call__(self, embeddings, labels, generator):\n"
        "        raise ValueError('no triplets today')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    study = Study.load(write_study('[random, "failing_lab:Failing"]'))
    outcome = launch(study, **places, machine=Machine(slots=2))
    assert outcome.done == 2
    assert list(outcome.failed.values()) == ["exception", "exception"]
    failed = RunFolder(places["results"], next(iter(outcome.failed))).read_result()
    assert failed.message == "no triplets today"
    assert "ValueError" in failed.traceback
    runs = Database(places["db"]).runs("mini")
    assert list(runs["state"].sort_values()) == ["done", "done", "failed", "failed"]
    again = launch(study, **places, machine=Machine(slots=2))
    assert again.found == 4  # failed runs wait for `harness retry`


def test_ctrl_c_keeps_what_is_finished_and_exits_130(write_study, places):
    path = write_study("[random]", epochs=400)
    command = [sys.executable, "-m", "harness", "run", str(path), "--results", str(places["results"]), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    folders = [RunFolder(places["results"], spec.run_id) for spec in Study.load(path).runs()]
    wait_for(lambda: any((folder.read_progress() or {}).get("epoch", 0) >= 2 for folder in folders))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; what is finished is kept" in said
    assert "Traceback" not in said
    assert attempts(places["results"]) == ["interrupted"]
    assert any(folder.checkpoint_path.exists() for folder in folders)
    wait_for(lambda: all(folder.state() == "pending" for folder in folders))


def test_cancel_ends_a_launch_from_elsewhere_where_there_is_no_cluster_behind_squeue(write_study, places, tmp_path):
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\nexit 1\n")
    squeue.chmod(0o755)
    path = write_study("[random]", epochs=400)
    environment = {**os.environ, "PATH": f"{squeue.parent}:{os.environ['PATH']}"}
    harness = [sys.executable, "-m", "harness", "--results", str(places["results"])]
    process = subprocess.Popen([*harness, "run", str(path), "--workers", "1"], stderr=subprocess.PIPE, text=True)
    folders = [RunFolder(places["results"], spec.run_id) for spec in Study.load(path).runs()]
    wait_for(lambda: any((folder.read_progress() or {}).get("epoch", 0) >= 1 for folder in folders))
    cancel = subprocess.run([*harness, "cancel", str(path)], env=environment, stderr=subprocess.PIPE, text=True)
    assert cancel.returncode == 0, cancel.stderr
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert any(folder.checkpoint_path.exists() for folder in folders)


def test_the_command_line_runs_reports_and_exports(write_study, places):
    def harness(*arguments):
        command = [sys.executable, "-m", "harness", *arguments, "--results", str(places["results"])]
        return subprocess.run(command, capture_output=True, text=True)

    path = str(write_study("[random]", epochs=1))
    planned = harness("run", path, "--dry-run", "--json")
    assert [run["state"] for run in json.loads(planned.stdout)["runs"]] == ["pending"] * 2
    ran = harness("run", path, "--set", "training.epochs=1", "--workers", "2")
    assert ran.returncode == 0, ran.stderr
    assert "2 of 2 runs done" in ran.stderr
    exported = harness("db", "export", "--table", "measurements", "--format", "csv")
    header, *rows = exported.stdout.splitlines()
    assert header.startswith("run_id,split,metric,selection,epoch,value,")
    assert len(rows) > 50
    reported = harness("report", "mini")
    assert reported.returncode == 0, reported.stderr
    assert (places["results"] / "mini" / "index.html").exists()


def test_running_a_part_of_a_study_leaves_the_rest_in_it(write_study, places):
    path = write_study("[random, semihard]", epochs=1)
    machine = Machine(slots=2)
    launch(Study.load(path, only={"miner": "random", "seed": "0"}), **places, machine=machine)
    assert len(Database(places["db"]).runs("mini")) == 1
    launch(Study.load(path, only={"miner": "semihard", "seed": "0"}), **places, machine=machine)
    runs = Database(places["db"]).runs("mini")
    assert list(runs["state"]) == ["done", "done"]
    assert list(runs["method"]) == ["triplet + random", "triplet + semihard"]
