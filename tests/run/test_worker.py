"""What one worker does with what it gets: too late, unwritable, asked to stop."""

import json

import pytest

from harness.specs import Measurement, RunResult
from harness.store.spool import RunFolder
from harness.worker import Stop, Worker, publish, work_on


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
