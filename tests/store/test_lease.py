"""Leases, with real files and real processes."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store.lease import Lease, host_identity, is_stale, read_owner

SPAWN = multiprocessing.get_context("spawn")


def take_when_told(path, ready, go, outcome, limit_s):
    ready.release()
    go.wait()
    lease = Lease.take(Path(path), limit_s=limit_s)
    outcome.put(lease.token if lease else None)
    # Nobody leaves before all have tried, else its own end would make its lease stale.
    time.sleep(60)


def contest(path, processes, limit_s=60.0):
    """Lets that many processes take one lease at the same moment; the tokens of those who got it."""
    ready, go, outcome = SPAWN.Semaphore(0), SPAWN.Event(), SPAWN.Queue()
    fighters = [
        SPAWN.Process(target=take_when_told, args=(str(path), ready, go, outcome, limit_s), daemon=True)
        for _ in range(processes)
    ]
    for fighter in fighters:
        fighter.start()
    for _ in fighters:
        ready.acquire()
    go.set()
    tokens = [outcome.get(timeout=20) for _ in fighters]
    for fighter in fighters:
        fighter.kill()
        fighter.join()
    return [token for token in tokens if token]


def make_stale(path, seconds=1000.0, **changes):
    """A lease that some other host left behind."""
    owner = {"token": "0" * 32, "host": "elsewhere", "host_identity": "elsewhere/1", "pid": 1, "process_start": 1}
    path.write_text(json.dumps({**owner, "begun": "2026-01-01T00:00:00.000+00:00", "about": {}, **changes}))
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_of_eight_processes_exactly_one_gets_a_free_lease(tmp_path):
    winners = contest(tmp_path / "lease.json", 8)
    assert len(winners) == 1
    assert read_owner(tmp_path / "lease.json").token == winners[0]


def test_of_eight_thieves_exactly_one_gets_a_stale_lease(tmp_path):
    make_stale(tmp_path / "lease.json")
    winners = contest(tmp_path / "lease.json", 8)
    assert len(winners) == 1
    assert read_owner(tmp_path / "lease.json").token == winners[0]


def test_a_fresh_lease_of_another_host_is_left_alone(tmp_path):
    path = tmp_path / "lease.json"
    make_stale(path, seconds=30)
    assert Lease.take(path) is None
    assert read_owner(path).host == "elsewhere"


def test_a_lease_is_given_back_and_can_be_taken_again(tmp_path):
    path = tmp_path / "slot.json"
    first = Lease.take(path)
    assert Lease.take(path) is None
    first.release()
    assert not path.exists()
    second = Lease.take(path)
    assert second.token != first.token
    assert second.held()
    assert not first.held()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_the_heartbeat_keeps_a_lease_fresh(tmp_path):
    path = tmp_path / "lease.json"
    lease = Lease.take(path, limit_s=1, beat_s=0.1)
    for _ in range(6):
        time.sleep(0.25)
        assert not is_stale(path, read_owner(path), limit_s=1)
    lease.release()


def test_the_lease_of_a_killed_process_of_this_machine_is_stale_at_once(tmp_path):
    path = tmp_path / "lease.json"
    code = (
        f"from harness.store.lease import *; Lease.take(Path({str(path)!r})); print('held', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout.readline() == b"held\n"
    assert Lease.take(path) is None
    owner.send_signal(signal.SIGKILL)
    # Not waited for: its entry in /proc is there still, as that of a dead process.
    deadline = time.monotonic() + 20
    while not (lease := Lease.take(path)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert lease.taken_from.pid == owner.pid
    owner.wait()
    owner.stdout.close()
    lease.release()


def test_a_process_number_that_was_given_away_again_does_not_pass_for_the_owner(tmp_path):
    path = tmp_path / "lease.json"
    make_stale(path, seconds=0, host_identity=host_identity(), pid=os.getpid(), process_start=1)
    lease = Lease.take(path)
    assert lease is not None
    lease.release()


def test_a_process_number_of_another_host_says_nothing(tmp_path):
    path = tmp_path / "lease.json"
    make_stale(path, seconds=0, host_identity="elsewhere/1", pid=2**22 - 1, process_start=1)
    assert Lease.take(path) is None


def test_the_file_systems_clock_decides_and_not_the_hosts(tmp_path, monkeypatch):
    path = tmp_path / "lease.json"
    make_stale(path, seconds=5)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10_000)
    assert Lease.take(path) is None


def test_an_owner_that_was_taken_over_finds_out_and_harms_nothing(tmp_path):
    path = tmp_path / "lease.json"
    zombie = Lease.take(path, limit_s=60, beat_s=0.05)
    thief = {**json.loads(path.read_text()), "token": "f" * 32}
    aside = tmp_path / "aside"
    aside.write_text(json.dumps(thief))
    os.utime(aside, (time.time() - 50, time.time() - 50))
    os.replace(aside, path)
    touched = path.stat().st_mtime
    deadline = time.monotonic() + 10
    while not zombie.lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not zombie.held()
    zombie.release()
    assert path.stat().st_mtime == touched
    assert read_owner(path).token == "f" * 32


def test_a_winner_that_died_before_it_acted_is_succeeded_by_the_next_generation(tmp_path):
    path = tmp_path / "lease.json"
    make_stale(path)
    marker = tmp_path / f"takeover-{'0' * 32}-0"
    marker.touch()
    assert Lease.take(path) is None
    os.utime(marker, (time.time() - 100, time.time() - 100))
    lease = Lease.take(path)
    assert lease.taken_from.token == "0" * 32
    lease.release()
    assert list(tmp_path.iterdir()) == []


def test_a_thief_steps_back_when_the_owner_comes_back_meanwhile(tmp_path):
    path = tmp_path / "lease.json"
    make_stale(path)
    buried = []

    class Slow(Lease):
        def _win(self, owner, limit_s):
            os.utime(path)
            return super()._win(owner, limit_s)

    assert Slow.take(path, bury=buried.append) is None
    assert buried == []
    assert read_owner(path).host == "elsewhere"


def test_a_lease_that_was_never_written_whole_is_taken_over_once_it_is_old(tmp_path):
    path = tmp_path / "lease.json"
    path.write_text('{"tok')
    assert Lease.take(path) is None
    os.utime(path, (time.time() - 100, time.time() - 100))
    lease = Lease.take(path, {"device": "cpu"})
    assert lease.taken_from.begun == ""
    assert read_owner(path).about == {"device": "cpu"}
    lease.release()


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot make the folder .*: Not a directory; choose a folder .*--results"):
        Lease.take(tmp_path / "file" / "workers" / "slot.json")
    with pytest.raises(StoreError, match=r"cannot write the lease /proc/lease\.json"):
        Lease.take(Path("/proc/lease.json"))


@pytest.mark.parametrize("text", ["{}", "[]", '"x"', '{"token": 3}', '{"token": "t", "about": [1]}', '{"nonsense": 1}'])
def test_a_lease_that_is_none_is_held_by_nobody_for_longer_than_the_limit(tmp_path, text):
    path = tmp_path / "lease.json"
    path.write_text(text)
    assert Lease.take(path) is None
    os.utime(path, (time.time() - 100, time.time() - 100))
    lease = Lease.take(path)
    assert lease.held()
    lease.release()
