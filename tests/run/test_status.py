"""`harness status` and `harness retry`: what is told of runs, by whatever way their folders came to be as they are."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from harness.cli import status as status_module
from harness.specs import RunResult
from harness.store.database import collect, record_study
from harness.store.estimates import Estimate, record_estimates
from harness.store.forecast import forecast
from harness.store.lease import Lease
from harness.store.slots import slot_path
from harness.store.spool import RunFolder
from harness.store.standing import standing

RESULTS = Path("results")
DB = "sqlite:///results/harness.db"


@pytest.fixture
def study(harness, mini_spec):
    """A study of two methods with three seeds each, in the folder of the test; gives the folders of its runs."""
    RESULTS.mkdir()
    specs = [mini_spec(objective, seed=seed) for objective in ("triplet", "contrastive") for seed in range(3)]
    record_study(DB, "mini", None, specs)
    folders = [RunFolder(RESULTS, spec.run_id) for spec in specs]
    for folder, spec in zip(folders, specs, strict=True):
        folder.write_spec(spec)
    return folders


def finish(folder, seconds=0.0, cause=None, message=None, device="cpu"):
    """One attempt that took so long and ended so."""
    lease = taken(folder, seconds, device)
    folder.publish(RunResult(folder.run_id, "failed" if cause else "done", cause, message), lease)


def taken(folder, seconds=0.0, device="cpu", **provenance):
    lease = folder.take(device=device, provenance=provenance)
    begun = datetime.fromtimestamp(time.time() - seconds, tz=datetime.fromisoformat(lease.owner.begun).tzinfo)
    lease.owner = replace(lease.owner, begun=begun.isoformat(timespec="milliseconds"))
    folder.lease_path.write_text(lease._text())
    return lease


def files():
    """All files and when they were written, but for those by which readers of SQLite know of each other."""
    found = {path for path in RESULTS.rglob("*") if path.is_file() and not path.name.startswith("harness.db-")}
    return {path: path.stat().st_mtime_ns for path in found}


def told(harness, *arguments):
    code, out, err = harness("status", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_what_folders_say_is_told_before_anybody_has_collected_it_and_nothing_is_written(harness, study):
    finish(study[0], 60)
    finish(study[1], 60, "diverged", "the loss became nan")
    taken(study[2]).release()
    before = files()
    now = told(harness, "mini")
    assert [now[state] for state in ("done", "failed", "running", "pending", "total")] == [1, 1, 0, 4, 6]
    [failure] = now["failures"]
    assert (failure["run_id"], failure["cause"], failure["message"]) == (
        study[1].run_id, "diverged", "the loss became nan",
    )  # fmt: skip
    assert failure["log"] == str(study[1].log_path)
    assert files() == before
    collect(DB, RESULTS)
    assert told(harness, "mini") == now


def test_hours_and_causes_are_those_of_all_attempts(harness, study):
    finish(study[0], 3600, device="cuda")
    study[1].abandon(taken(study[1], 1800, "cuda:1"), "preempted")
    finish(study[1], 900, device="cpu")
    study[2].abandon(taken(study[2], 450), "time_out")
    finish(study[3], 450, "out_of_memory", "too large")
    collect(DB, RESULTS, [study[0].run_id, study[3].run_id])  # some by the database, some by their folders
    now = told(harness, "mini")
    attempts = [attempt for folder in study for attempt in folder.attempts()]
    seconds = {
        device: sum(
            (datetime.fromisoformat(a.end) - datetime.fromisoformat(a.begin)).total_seconds()
            for a in attempts
            if a.device.startswith(device)
        )
        for device in ("cuda", "cpu")
    }
    assert now["attempts"] == Counter(attempt.cause for attempt in attempts)
    assert now["attempts"] == {"done": 2, "preempted": 1, "time_out": 1, "out_of_memory": 1}
    assert now["gpu_hours"] == pytest.approx(seconds["cuda"] / 3600) == pytest.approx(1.5, abs=0.01)
    assert now["worker_hours"] == pytest.approx(sum(seconds.values()) / 3600)
    text = harness("status", "mini")[1]
    assert "used: 2.00 worker-hours, 1.50 of them on GPUs" in text
    assert "2 done, " in text
    assert "1 preempted" in text


def test_a_worker_is_told_with_its_place_and_how_far_it_is(harness, study):
    slot = Lease.take(slot_path(RESULTS, 3))
    here, there = taken(study[0], 75), taken(study[1], slurm_job="17_4", restarts=0)
    study[0].write_progress({"epoch": 2, "epochs": 15, "loss": 0.25, "recall_at_1": 0.5, "seconds": 40})
    try:
        now = told(harness, "mini")
        text = harness("status", "mini")[1]
    finally:
        for lease in (slot, here, there):
            lease.release()
    first, second = now["workers"]
    assert (first["run_id"], first["slot"], first["pid"]) == (study[0].run_id, 3, os.getpid())
    assert (first["epoch"], first["epochs"], first["loss"], first["recall_at_1"]) == (2, 15, 0.25, 0.5)
    assert 75 <= first["seconds"] < 85
    assert second["slurm_job"] == "17_4"
    row = next(line for line in text.splitlines() if "2/15" in line)
    assert all(word in row for word in ("triplet", "0.2500", "50.0", "01:1", "slot 3"))
    assert "job 17_4" in text
    assert told(harness, "mini")["running"] == 0  # given back


def test_what_is_left_is_found_by_finished_runs_of_the_same_kind(study):
    finish(study[0], 100)
    finish(study[1], 200)
    collect(DB, RESULTS)
    ahead = forecast(standing(DB, RESULTS, "mini"))
    assert (ahead.eta_s, ahead.workers) == (None, 0)  # nobody works
    assert ahead.work_s == pytest.approx(4 * 150, rel=0.01)
    assert ahead.by == {"finished runs of their kind": 1, "finished runs of other kinds": 3}
    leases = taken(study[2], 50), taken(study[3])
    study[3].write_progress({"epoch": 2, "epochs": 10, "seconds": 60})
    ahead = forecast(standing(DB, RESULTS, "mini"))
    assert ahead.by == {"finished runs of their kind": 1, "their own epochs": 1, "epochs of their kind under way": 2}
    left = 100 + 30 * 8 + 2 * 300
    assert ahead.work_s == pytest.approx(left, rel=0.01)
    assert ahead.eta_s == pytest.approx(left / 2, rel=0.01)
    for lease in leases:
        lease.release()


def test_what_is_left_is_never_less_than_the_longest_run(study):
    leases = [taken(folder) for folder in study]
    for folder in study:
        folder.write_progress({"epoch": 9, "epochs": 10, "seconds": 90})
    study[0].write_progress({"epoch": 1, "epochs": 10, "seconds": 90, "doing": "training", "done": 5, "total": 10})
    ahead = forecast(standing(DB, RESULTS, "mini"))
    assert ahead.eta_s == pytest.approx(90 * 8.5)  # the half of the second epoch counts
    for lease in leases:
        lease.release()


def test_an_interrupted_run_has_only_the_rest_of_it_left_and_a_plan_helps_where_nothing_is_finished(study):
    record_estimates(DB, "mini", None, [Estimate(folder.run_id, 1000, {}, "measured", "cpu") for folder in study[:2]])
    study[0].abandon(taken(study[0]))
    study[0].write_progress({"epoch": 5, "epochs": 10, "seconds": 5})
    now = standing(DB, RESULTS, "mini")
    assert forecast(now).work_s == 2000  # without its checkpoint it begins anew
    study[0].checkpoint_path.touch()
    ahead = forecast(standing(DB, RESULTS, "mini"))
    assert (ahead.work_s, ahead.by, ahead.unknown) == (1500, {"`harness plan`": 2}, 4)
    assert ahead.eta_s is None


def test_runs_of_other_kinds_tell_something_where_nothing_better_is_known(harness, study):
    lease = taken(study[0])
    assert "nothing is known yet of how long 6 runs will take" in harness("status", "mini")[1]
    study[0].write_progress({"epoch": 1, "epochs": 2, "seconds": 60})
    text = harness("status", "mini")[1]
    assert "about 11:00 left with 1 worker" in text
    assert "3 by epochs of other kinds under way, 2 by epochs of their kind under way, 1 by their own epochs" in text
    lease.release()


def test_runs_that_are_done_need_no_folder_any_more(harness, study):
    for folder in study:
        finish(folder, 10)
    collect(DB, RESULTS)
    (RESULTS / "runs").rename("elsewhere")
    now = told(harness, "mini")
    assert (now["done"], now["attempts"], now["eta_s"]) == (6, {"done": 6}, 0.0)


def test_a_study_is_found_by_its_file_and_a_misspelt_one_is_told(harness, study, tmp_path):
    (tmp_path / "other.yaml").write_text("schema: 1\nname: mini\nrun: {}\n")
    assert told(harness, "other.yaml")["study"] == "mini"
    code, _, err = harness("status", "minni")
    assert code == 2
    assert "did you mean 'mini'?" in err
    assert harness("status", "nothing.yaml")[0] == 2


def test_all_studies_are_told_one_by_one_and_a_run_of_two_studies_counts_once(harness, study, mini_spec):
    finish(study[0], 5)
    collect(DB, RESULTS)
    record_study(DB, "more", "paper", [mini_spec(), mini_spec(seed=9)])
    finish(study[1], 5)  # not collected
    now = told(harness)
    assert (now["total"], now["done"], now["attempts"]) == (7, 2, {"done": 2})
    rows = {(row["study"], row["profile"]): (row["done"], row["pending"]) for row in now["studies"]}
    assert rows == {("mini", None): (2, 4), ("more", "paper"): (1, 1)}
    assert "more --profile paper" in harness("status")[1]


def test_waiting_jobs_are_told_with_the_reason_of_squeue(harness, study, program):
    (RESULTS / "workers" / "slurm").mkdir(parents=True)
    program("squeue", "echo '7_1|RUNNING|None'; echo '7_2|PENDING|Priority'; echo '7_3|PENDING|BadConstraints'")
    text = harness("status", "mini")[1]
    assert "cluster: 1 workers run" in text
    assert "waiting for Priority: 1 (7_2)" in text
    assert "waiting for BadConstraints: no node has what is asked for: 1 (7_3)" in text
    assert [job["id"] for job in told(harness, "mini")["jobs"]] == ["7_1", "7_2", "7_3"]
    program("squeue", "echo 'no controller' >&2; exit 1")
    code, text, _ = harness("status", "mini")
    assert code == 0
    assert "no controller" in text


def finish_later(folders, seconds):
    def work():
        for folder in folders:
            time.sleep(seconds)
            finish(folder)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_without_a_terminal_watching_adds_a_line_for_everything_new_and_ends_with_the_last_run(
    harness, study, monkeypatch
):
    monkeypatch.setattr(status_module, "LOOK_S", 0.02)
    for folder in study[:4]:
        finish(folder)
    finisher = finish_later(study[4:], 0.3)
    code, out, _ = harness("status", "mini", "--watch")
    finisher.join()
    assert code == 0
    lines = [line.split("  ", 1)[1] for line in out.splitlines()]
    assert lines[0].startswith("mini: 4 done  0 failed")
    assert lines[-1] == "mini: 6 done  0 failed  0 running  0 pending"
    assert len(lines) == len(set(lines)) <= 5  # one of a run that was just under way may have been seen


def watch_in_terminal(columns="200"):
    """`harness status mini --watch` in a pseudo-terminal; the process and what reads all it has written."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": columns, "LINES": "40"}
    command = [sys.executable, "-m", "harness", "status", "mini", "--watch"]
    process = subprocess.Popen(command, stdout=theirs, stdin=theirs, stderr=theirs, env=environment)
    os.close(theirs)

    def read_until(mark):
        text = ""
        while mark not in text:
            try:
                text += os.read(ours, 65536).decode()
            except OSError:  # the other end is closed
                break
        return text

    return process, read_until


def test_in_a_terminal_watching_redraws_until_the_last_run_has_ended(study):
    for folder in study[:5]:
        finish(folder)
    process, read_until = watch_in_terminal()
    assert "5 done  0 failed  0 running  1 pending" in read_until("logs:")
    finish(study[5])
    rest = read_until("6 done  0 failed  0 running  0 pending")
    assert "\x1b[2K" in rest  # lines were erased, not added
    read_until("no such text")
    assert process.wait(timeout=30) == 0


def test_ctrl_c_ends_the_watching_and_no_run(study):
    lease = taken(study[0])
    process, read_until = watch_in_terminal()
    read_until("logs:")
    process.send_signal(signal.SIGINT)
    assert "the runs go on" in read_until("no such text")
    assert process.wait(timeout=30) == 130
    assert lease.held()
    lease.release()


def test_retry_says_what_it_did_by_cause_and_leaves_the_others(harness, study):
    for folder, cause in zip(study, ("out_of_memory", "out_of_memory", "crash", "diverged"), strict=False):
        finish(folder, 1, cause, "why")
    code, _, err = harness("retry", "mini", "--cause", "out_of_memry")
    assert code == 2
    assert "did you mean 'out_of_memory'?" in err
    _, _, err = harness("retry", "mini", "--cause", "out_of_memory")
    assert "2 runs (2 out_of_memory) will be tried again" in err
    assert "2 runs (1 crash, 1 diverged) stay failed" in err
    assert [folder.state() for folder in study[:4]] == ["pending", "pending", "failed", "failed"]
    assert "2 runs (1 crash, 1 diverged) will be tried again" in harness("retry", "mini")[2]
    now = told(harness, "mini")
    assert (now["failed"], now["pending"]) == (0, 6)
    assert now["attempts"] == {"out_of_memory": 2, "crash": 1, "diverged": 1}  # what they cost is not forgotten
