"""What one worker does with what it gets: too late, unwritable, asked to stop."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from harness.errors import StoreError
from harness.specs import Measurement, RunResult
from harness.store.spool import RunFolder
from harness.worker import Stop, Worker, may_become_free, publish, work_on


@pytest.fixture(autouse=True)
def handlers():
    """A worker listens to signals in place of who did before; the tests get theirs back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def folder(tmp_path, mini_spec):
    folder = RunFolder(tmp_path, mini_spec().run_id)
    folder.write_spec(mini_spec())
    return folder


def test_numbers_that_cannot_be_written_down_are_a_failed_run(folder):
    lease = folder.take()
    bad = RunResult(folder.run_id, "done", measurements=[Measurement("test", "mine", "last", 1, float("nan"))])
    assert publish(bad, folder, lease)
    assert folder.read_result().state == "failed"
    assert "its numbers" in folder.read_result().message


def test_a_result_that_comes_too_late_is_dropped_and_the_worker_goes_on(folder, capsys):
    lease = folder.take()
    owner = json.loads(folder.lease_path.read_text())
    folder.lease_path.write_text(json.dumps({**owner, "token": "another"}))
    assert not publish(RunResult(folder.run_id, "done"), folder, lease)
    assert "taken over" in capsys.readouterr().out
    assert folder.read_result() is None


def test_a_worker_that_is_asked_to_stop_takes_nothing(folder, tmp_path):
    stop = Stop()
    stop.set()
    assert not work_on(folder, Worker(tmp_path, tmp_path, [folder.run_id], slot=0), stop)
    assert folder.state() == "pending"
    assert not folder.attempts()


def test_only_one_worker_holds_a_slot(tmp_path):
    from harness.store.lease import Lease
    from harness.store.slots import slot_path, taken_slots

    held = Lease.take(slot_path(tmp_path, 0))
    assert taken_slots(tmp_path, 2) == {0}
    assert Worker(tmp_path, tmp_path, ["no such run"], slot=0)() == 0  # it would fail on the run if it tried
    held.release()
    assert taken_slots(tmp_path, 2) == set()


@pytest.fixture
def held_elsewhere(folder):
    """Makes the lease of the run one of another machine, in a job of SLURM, that was touched so long ago."""

    def hold(seconds_ago):
        folder.take(beat_s=1000, provenance={"slurm_job": "17_3", "restarts": 0})
        owner = json.loads(folder.lease_path.read_text())
        folder.lease_path.write_text(json.dumps({**owner, "host_identity": "another"}))
        os.utime(folder.lease_path, (time.time() - seconds_ago,) * 2)

    return hold


@pytest.mark.parametrize(("seconds_ago", "waits"), [(2, False), (30, True)])
def test_a_worker_waits_for_a_run_whose_owner_is_silent_and_for_no_other(folder, held_elsewhere, seconds_ago, waits):
    held_elsewhere(seconds_ago)
    assert folder.state() == "running"
    assert may_become_free(folder) is waits


@pytest.mark.parametrize(("restarts", "waits"), [("0", False), ("1", True)])
def test_a_requeued_worker_waits_for_the_run_of_its_start_before(folder, held_elsewhere, monkeypatch, restarts, waits):
    held_elsewhere(2)
    job = {
        "SLURM_JOB_ID": "20",
        "SLURM_ARRAY_JOB_ID": "17",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_RESTART_COUNT": restarts,
    }
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    assert may_become_free(folder) is waits


@pytest.mark.parametrize("seconds_ago", [61, None])
def test_a_run_that_came_free_since_it_was_asked_for_is_waited_for(folder, held_elsewhere, seconds_ago):
    if seconds_ago is not None:
        held_elsewhere(seconds_ago)
    assert folder.state() == "pending"
    assert may_become_free(folder)


def test_a_run_of_a_machine_that_died_is_trained_by_who_waited_for_it(folder, tmp_path, held_elsewhere, bank_cache):
    (tmp_path / "cache").symlink_to(bank_cache)
    held_elsewhere(58)  # stale after 60
    assert Worker(tmp_path, tmp_path, [folder.run_id], slot=0)() == 1
    assert [attempt.cause for attempt in folder.attempts()] == ["lost", "done"]


def test_a_spec_that_cannot_be_read_ends_the_worker_and_counts_as_no_loss(folder, tmp_path):
    (folder.path / "spec.json").write_text("{}")
    with pytest.raises(StoreError, match="is not the spec of a run"):
        Worker(tmp_path, tmp_path, [folder.run_id], slot=0)()
    assert folder.state() == "pending"
    assert folder.lost_attempts() == 0


FORKING = """
import os, signal, time
from harness.worker import Stop
stop = Stop()
stop.on_signals()
child = os.fork()
if child == 0:
    time.sleep(60)
os.kill(child, signal.SIGUSR2)
time.sleep(0.3)
alive = os.waitpid(child, os.WNOHANG) == (0, 0)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
before = stop.warned
os.kill(os.getpid(), signal.SIGUSR2)
print(alive, before, stop.warned, stop.is_set())
"""


def test_the_warning_of_a_job_is_heard_by_its_worker_and_spares_its_children():
    """SLURM signals every process of the job."""
    in_job = os.environ | {"SLURM_JOB_ID": "17"}
    done = subprocess.run([sys.executable, "-c", FORKING], env=in_job, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "False", "True", "True"], done.stderr
