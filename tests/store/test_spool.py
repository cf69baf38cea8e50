"""Run folders, with real files and real processes."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from store_samples import make_failed, make_result, make_spec

from harness.errors import StoreError
from harness.specs import Measurement, RunResult
from harness.store.spool import RunFolder, find_run, run_folders

SPAWN = multiprocessing.get_context("spawn")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def new_run(results_dir, **changes):
    spec = make_spec(**changes)
    folder = RunFolder(results_dir, spec.run_id)
    folder.write_spec(spec)
    return spec, folder


def die_holding(folder):
    """A worker that takes the run and is killed."""
    code = (
        "import sys, os, signal; from harness.store.spool import RunFolder\n"
        f"folder = RunFolder({str(folder.path.parents[2])!r}, {folder.run_id!r})\n"
        "lease = folder.take(device='cuda:0', provenance={'a': 1})\n"
        "print(lease.token, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    worker = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT)
    assert worker.returncode == -signal.SIGKILL
    return worker.stdout.decode().strip()


def test_a_run_goes_from_pending_over_running_to_done(tmp_path):
    spec, folder = new_run(tmp_path)
    assert folder.path == tmp_path / "runs" / spec.run_id[:2] / spec.run_id
    assert folder.state() == "pending"
    lease = folder.take()
    assert folder.state() == "running"
    assert folder.owner().pid == os.getpid()
    folder.publish(make_result(spec), lease)
    assert folder.state() == "done"
    assert folder.read_result() == make_result(spec)
    assert folder.read_spec() == spec
    assert folder.owner() is None
    assert folder.take() is None


def test_writing_the_spec_twice_changes_nothing_and_another_spec_is_refused(tmp_path):
    spec, folder = new_run(tmp_path)
    before = (folder.path / "spec.json").stat().st_mtime_ns
    folder.write_spec(spec)
    assert (folder.path / "spec.json").stat().st_mtime_ns == before
    with pytest.raises(StoreError, match="cannot be kept"):
        folder.write_spec(make_spec(seed=1))
    (folder.path / "spec.json").write_text(json.dumps({**spec.to_dict(), "seed": 9}))
    with pytest.raises(StoreError, match="another spec under the same id"):
        folder.write_spec(spec)
    with pytest.raises(StoreError, match="was it edited"):
        folder.read_spec()
    assert json.loads((folder.path / "spec.json").read_text())["seed"] == 9


@pytest.mark.parametrize("name", ["../../etc", "0123", "0123456789ABCDEF", "0123456789abcdef\n"])
def test_a_name_that_is_not_an_id_gets_no_folder(tmp_path, name):
    with pytest.raises(StoreError, match="not the id of a run"):
        RunFolder(tmp_path, name)


def test_a_failed_run_can_be_retried_and_its_failure_is_kept(tmp_path):
    spec, folder = new_run(tmp_path)
    assert not folder.retry()
    folder.publish(make_failed(spec), folder.take())
    assert folder.state() == "failed"
    assert folder.take() is None
    assert folder.retry()
    assert folder.state() == "pending"
    assert folder.read_result() is None
    kept = json.loads((folder.path / "attempts" / "retried-1.json").read_text())
    assert RunResult.from_dict(kept["result"]).cause == "diverged"
    folder.publish(make_result(spec), folder.take())
    assert [attempt.cause for attempt in folder.attempts()] == ["diverged", "done"]
    assert not folder.retry()
    assert folder.state() == "done"


def test_an_attempt_record_tells_who_when_and_on_what(tmp_path):
    _, folder = new_run(tmp_path)
    lease = folder.take(device="cuda:1", provenance={"commit": "abc"})
    folder.abandon(lease)
    assert folder.state() == "pending"
    (attempt,) = folder.attempts()
    assert attempt.cause == "interrupted"
    assert (attempt.pid, attempt.device, attempt.provenance) == (os.getpid(), "cuda:1", {"commit": "abc"})
    assert attempt.begin == lease.owner.begun <= attempt.end
    assert attempt.name.endswith(lease.token[:8])
    assert folder.lost_attempts() == 0


def test_the_result_of_a_zombie_is_refused_and_the_new_owners_is_kept(tmp_path):
    spec, folder = new_run(tmp_path)
    zombie = folder.take(beat_s=1000)
    time.sleep(0.02)
    owner = folder.take(limit_s=0.01)
    assert owner is not None
    with pytest.raises(StoreError, match="refused"):
        folder.publish(make_result(spec, recall=0.1), zombie)
    assert folder.read_result() is None
    folder.publish(make_result(spec, recall=0.2), owner)
    with pytest.raises(StoreError, match="refused"):
        folder.publish(make_result(spec, recall=0.1), zombie)
    assert folder.read_result() == make_result(spec, recall=0.2)
    assert sorted(attempt.cause for attempt in folder.attempts()) == ["done", "lost"]


def test_of_two_that_hold_the_token_only_one_result_comes_to_exist(tmp_path, monkeypatch):
    """A zombie that passed its last check before it was stopped, and goes on after the new owner has published."""
    spec, folder = new_run(tmp_path)
    zombie = folder.take(beat_s=1000)
    time.sleep(0.02)
    folder.publish(make_result(spec, recall=0.2), folder.take(limit_s=0.01))
    monkeypatch.setattr(zombie, "held", lambda: True)
    with pytest.raises(StoreError, match="refused"):
        folder.publish(make_result(spec, recall=0.1), zombie)
    assert folder.read_result() == make_result(spec, recall=0.2)
    assert sorted(attempt.cause for attempt in folder.attempts()) == ["done", "lost"]


def test_a_run_that_is_lost_five_times_in_a_row_fails_and_names_its_log(tmp_path):
    spec, folder = new_run(tmp_path)
    for lost in range(5):
        die_holding(folder)
        assert folder.state() == "pending"
        assert folder.lost_attempts() == lost
    assert folder.take() is None
    assert folder.state() == "failed"
    result = folder.read_result()
    assert result.cause == "crash"
    assert "5 times" in result.message
    assert str(folder.log_path) in result.message
    assert [attempt.cause for attempt in folder.attempts()] == ["lost"] * 5
    assert all(attempt.device == "cuda:0" for attempt in folder.attempts())
    # A retried run starts with a clean count.
    folder.retry()
    assert folder.lost_attempts() == 0
    lease = folder.take()
    folder.publish(make_result(spec), lease)
    assert folder.state() == "done"


def lose(folder, first_step=None, last_step=None, *, dead=None, taker=None):
    """A worker that told so much of itself falls silent, and is taken for dead by another, which gives up."""
    lease = folder.take(beat_s=1000, provenance=dead)
    if last_step is not None:
        folder.write_progress({"first_step": first_step, "steps": last_step}, lease)
    time.sleep(0.02)
    folder.take(limit_s=0.01, provenance=taker).release()


def test_losses_count_only_while_the_run_gets_no_further(tmp_path):
    _, folder = new_run(tmp_path)
    lose(folder, 0, 10)
    lose(folder, 5, 8)
    lose(folder)  # died before it could tell anything
    assert folder.lost_attempts() == 3
    lose(folder, 5, 11)
    assert folder.lost_attempts() == 1
    steps = [(attempt.first_step, attempt.last_step) for attempt in folder.attempts()]
    assert steps == [(0, 10), (5, 8), (None, None), (5, 11)]


def test_a_loss_by_the_requeue_of_a_job_is_told_apart_and_does_not_count(tmp_path):
    _, folder = new_run(tmp_path)
    job = {"slurm_job": "17_3", "restarts": 0}
    lose(folder, dead=job, taker={"slurm_job": "17_3", "restarts": 1})
    lose(folder, dead=job, taker={"slurm_job": "17_4", "restarts": 1})  # another task of the array
    lose(folder, dead=job, taker=job)  # the same number in another life of the cluster, perhaps
    lose(folder, dead=None, taker=job)
    assert [attempt.cause for attempt in folder.attempts()] == ["requeued", "lost", "lost", "lost"]
    assert folder.lost_attempts() == 3


def test_the_death_of_a_worker_is_recorded_once_with_its_last_beat(tmp_path):
    _, folder = new_run(tmp_path)
    token = die_holding(folder)
    beat = folder.owner().beat
    lease = folder.take()
    (attempt,) = folder.attempts()
    assert attempt.name.endswith(token[:8])
    assert attempt.end.startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(beat)))
    lease.release()


def publish_slowly(results_dir, run_id, started):
    import harness.store.files as files

    real = os.fsync

    def stuck(descriptor):
        started.set()
        time.sleep(60)
        real(descriptor)

    files.os.fsync = stuck
    folder = RunFolder(results_dir, run_id)
    folder.publish(make_result(folder.read_spec()), folder.take())


def test_a_worker_that_is_killed_while_it_writes_leaves_no_half_result(tmp_path):
    spec, folder = new_run(tmp_path)
    started = SPAWN.Event()
    worker = SPAWN.Process(target=publish_slowly, args=(str(tmp_path), spec.run_id, started))
    worker.start()
    assert started.wait(30)
    worker.kill()
    worker.join()
    assert folder.state() == "pending"
    assert folder.read_result() is None
    folder.publish(make_result(spec), folder.take())
    assert folder.read_result() == make_result(spec)
    assert [attempt.cause for attempt in folder.attempts()] == ["lost", "done"]
    assert {path.name for path in folder.path.iterdir()} == {"spec.json", "result.json", "attempts"}


def test_a_full_disk_loses_the_result_but_leaves_nothing_half(tmp_path, monkeypatch):
    spec, folder = new_run(tmp_path)
    lease = folder.take()
    import harness.store.files as files

    real = files._write

    def full(path, text, durable):
        if path.name.startswith("result"):
            path.write_text(text[:20])
            raise OSError(28, "No space left on device")
        real(path, text, durable)

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        folder.publish(make_result(spec), lease)
    assert not list(folder.path.glob("result*"))
    monkeypatch.undo()
    assert lease.held()
    folder.publish(make_result(spec), lease)
    assert folder.state() == "done"


def test_a_result_with_nan_is_not_published(tmp_path):
    spec, folder = new_run(tmp_path)
    lease = folder.take()
    broken = make_result(spec, measurements=[Measurement("test", "nmi", "last", 1, float("nan"))])
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.publish(broken, lease)
    assert lease.held()
    assert folder.attempts() == []
    lease.release()


@pytest.mark.parametrize("text", ['{"format": 1, "run_id": "', "[]", '{"format": 2}', '"done"', ""])
def test_a_damaged_result_is_named(tmp_path, text):
    _, folder = new_run(tmp_path)
    folder.result_path.write_text(text)
    with pytest.raises(StoreError, match=r"result\.json"):
        folder.read_result()


def test_a_result_of_another_run_is_refused_both_ways(tmp_path):
    _, folder = new_run(tmp_path)
    other = make_result(make_spec(seed=1))
    with pytest.raises(StoreError, match="does not belong"):
        folder.publish(other, folder.take())
    folder.result_path.write_text(json.dumps(other.to_dict()))
    with pytest.raises(StoreError, match="not the result of run"):
        folder.read_result()


def test_progress_is_whole_whenever_it_is_read(tmp_path):
    _, folder = new_run(tmp_path)
    assert folder.read_progress() is None
    stop = threading.Event()

    def write():
        step = 0
        while not stop.is_set():
            step += 1
            folder.write_progress({"epoch": step, "padding": "x" * 20_000})

    folder.write_progress({"padding": "x" * 20_000})
    writer = threading.Thread(target=write)
    writer.start()
    seen = [folder.read_progress() for _ in range(200)]
    stop.set()
    writer.join()
    assert {len(progress["padding"]) for progress in seen} == {20_000}


def test_run_folders_lists_runs_only(tmp_path):
    specs = [make_spec(seed=seed) for seed in range(3)]
    for spec in specs:
        RunFolder(tmp_path, spec.run_id).write_spec(spec)
    (tmp_path / "runs" / "zz").mkdir()
    (tmp_path / "runs" / "zz" / "0123456789abcdef").mkdir()
    (tmp_path / "runs" / "notes.txt").touch()
    assert [folder.run_id for folder in run_folders(tmp_path)] == sorted(spec.run_id for spec in specs)


def work(results_dir, outcome):
    """A worker: walks the list until nothing is left to take."""
    published = 0
    for _ in range(3):
        for folder in run_folders(results_dir):
            lease = folder.take()
            if lease:
                folder.publish(make_result(folder.read_spec()), lease)
                published += 1
    outcome.put(published)


def test_many_workers_finish_every_run_exactly_once(tmp_path):
    for seed in range(40):
        new_run(tmp_path, seed=seed)
    outcome = SPAWN.Queue()
    workers = [SPAWN.Process(target=work, args=(str(tmp_path), outcome)) for _ in range(4)]
    for worker in workers:
        worker.start()
    published = [outcome.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(published) == 40
    for folder in run_folders(tmp_path):
        assert folder.state() == "done"
        assert [attempt.cause for attempt in folder.attempts()] == ["done"]


def test_a_results_folder_that_is_a_file_is_told_in_one_sentence(tmp_path):
    (tmp_path / "results").touch()
    spec = make_spec()
    with pytest.raises(StoreError, match=r"cannot make the folder .*Not a directory; choose a folder"):
        RunFolder(tmp_path / "results", spec.run_id).write_spec(spec)


def test_the_file_of_a_result_is_its_dictionary(tmp_path):
    spec, folder = new_run(tmp_path)
    folder.publish(make_result(spec), folder.take())
    assert json.loads(folder.result_path.read_text()) == make_result(spec).to_dict()


def test_a_value_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    spec, folder = new_run(tmp_path)
    lease = folder.take()
    with pytest.raises(TypeError, match="which is no JSON value"):
        folder.publish(make_result(spec, cost={"train_seconds": object()}), lease)
    assert not folder.result_path.exists()
    lease.release()


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path):
    specs = [new_run(tmp_path, seed=seed)[0] for seed in range(20)]
    assert find_run(tmp_path, specs[0].run_id[:12]).run_id == specs[0].run_id
    with pytest.raises(StoreError, match=r"no run in .* begins with 'x'"):
        find_run(tmp_path, "x")
    with pytest.raises(StoreError, match=r"20 runs have an id that begins with '' .*more digits"):
        find_run(tmp_path, "")


def test_a_damaged_record_of_an_attempt_is_named(tmp_path):
    spec, folder = new_run(tmp_path)
    folder.publish(make_result(spec), folder.take())
    (record,) = folder.attempts_path.iterdir()
    for text in ("{}", "[1]", '{"begin": 1, "end": 2, "cause": 3, "host": 4}', ""):
        record.write_text(text)
        with pytest.raises(StoreError, match=record.name):
            folder.attempts()
