"""What goes wrong on real machines: afterwards every row is there exactly once, and the error names its cause."""

import logging
import multiprocessing
import os
import random
import shutil
import socket
import sqlite3
import stat
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from store_processes import (
    collect_at_once,
    collect_in_small_batches,
    copy_slowly,
    merge_in_small_batches,
    upgrade_slowly,
)
from store_samples import make_result, make_spec, run_it

from harness.errors import StoreError
from harness.store import engine as engines
from harness.store.bundle import write_bundle
from harness.store.database import collect, record_study
from harness.store.frames import Database
from harness.store.merge import merge
from harness.store.rebuild import rebuild
from harness.store.spool import RunFolder
from harness.store.study_records import keep_study

# One process that has imported everything, of which the others are forked: importing would take longer than the tests.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["store_processes"])
DATA = Path(__file__).parent / "data"
OLD = DATA / "version_2.sql"


def whole(url):
    """Counts of runs, measurements and attempts of a database that SQLite finds nothing wrong with."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        tables = ("runs", "measurements", "attempts")
        return tuple(connection.execute(f"select count(*) from {name}").fetchone()[0] for name in tables)


def finish(results, count, first=0):
    specs = [make_spec(seed=seed) for seed in range(first, first + count)]
    for spec in specs:
        run_it(results, spec, make_result(spec, recall=spec.seed / 1000))
    return specs


@pytest.mark.slow
def test_64_collectors_in_16_processes_leave_every_row_exactly_once_while_runs_finish(tmp_path):
    url, go, told = f"sqlite:///{tmp_path}/harness.db", PROCESSES.Event(), PROCESSES.Queue()
    collectors = [PROCESSES.Process(target=collect_at_once, args=(url, tmp_path, 4, go, told)) for _ in range(16)]
    for collector in collectors:
        collector.start()
    go.set()
    finish(tmp_path, 100)
    (tmp_path / "enough").touch()
    found = [told.get(timeout=120) for _ in range(64)]
    for collector in collectors:
        collector.join()
    assert all(isinstance(number, int) for number in found), found
    late = collect(url, tmp_path)
    assert whole(url) == (100, 300, 100)
    assert sum(found) + late >= 100
    assert collect(url, tmp_path) == 0


def test_a_collector_that_is_killed_at_any_moment_leaves_a_database_that_the_next_one_completes(tmp_path):
    finish(tmp_path, 60)
    url = f"sqlite:///{tmp_path}/harness.db"
    chance = random.Random(0)
    for _ in range(5):
        collector = PROCESSES.Process(target=collect_in_small_batches, args=(url, tmp_path))
        collector.start()
        time.sleep(chance.uniform(0.05, 0.3))
        collector.kill()
        collector.join()
        if Path(tmp_path, "harness.db").exists() and os.path.getsize(tmp_path / "harness.db"):
            record_study(url, "s", None, [])
            runs, measurements, attempts = whole(url)
            assert (measurements, attempts) == (3 * runs, runs)
    collect(url, tmp_path)
    assert whole(url) == (60, 180, 60)


def test_a_merge_that_is_killed_at_any_moment_can_be_begun_again_and_brings_every_row_once(tmp_path):
    finish(tmp_path / "cluster", 60)
    cluster, url = f"sqlite:///{tmp_path}/cluster.db", f"sqlite:///{tmp_path}/harness.db"
    collect(cluster, tmp_path / "cluster")
    record_study(url, "s", None, [])
    chance = random.Random(1)
    for _ in range(5):
        merger = PROCESSES.Process(target=merge_in_small_batches, args=(url, cluster))
        merger.start()
        time.sleep(chance.uniform(0.05, 0.3))
        merger.kill()
        merger.join()
        runs, measurements, attempts = whole(url)
        assert (measurements, attempts) == (3 * runs, runs)
    merge(url, [cluster])
    assert whole(url) == whole(cluster) == (60, 180, 60)


def old_database(path):
    """A database of an earlier version; gives its URL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD.read_text())
    return f"sqlite:///{path}"


def copies_of(path):
    return sorted(found.name for found in path.parent.glob(f"{path.name}.before-*"))


@pytest.mark.parametrize("killed", [upgrade_slowly, copy_slowly], ids=["in a step", "while copying"])
def test_a_migration_that_is_killed_leaves_the_earlier_version_and_can_be_begun_again(tmp_path, killed):
    path = tmp_path / "harness.db"
    url = old_database(path)
    before = whole(url)
    inside = PROCESSES.Event()
    process = PROCESSES.Process(target=killed, args=(url, inside))
    process.start()
    assert inside.wait(30)
    process.kill()
    process.join()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select version from schema_version").fetchall() == [(2,)]
    assert whole(url) == before
    # A copy that bears the name of one is whole.
    for name in copies_of(path):
        if ".tmp-" not in name:
            assert whole(f"sqlite:///{tmp_path}/{name}") == before
    assert len(Database(url).runs()) == before[0]
    assert whole(url) == before
    assert f"harness.db.before-version-2-{2 if killed is upgrade_slowly else 1}" in copies_of(path)


@contextmanager
def small_disk(folder, size):
    """A real file system of so many bytes, or a skip where mounting is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this user may not mount: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def filled(disk):
    """No room but for a page, for a while: on a disk that is full, not even a look at a database is possible."""
    filler = disk / "filler"
    filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - 4096))
    yield
    filler.unlink()


def test_on_a_full_disk_nothing_is_half_done_and_each_command_says_that_it_is_full(tmp_path):
    results, full = tmp_path / "results", "the disk is full|No space left on device"
    big = tmp_path / "big.db"
    specs = finish(results, 3)
    record_study(big, "s", None, specs)
    collect(big, results)
    keep_study(big, results, "s", None)
    with small_disk(tmp_path / "disk", "1m") as disk:
        url = old_database(disk / "harness.db")
        before = whole(url)
        with filled(disk), pytest.raises(StoreError, match=full):
            Database(url)
        assert whole(url) == before
        assert copies_of(disk / "harness.db") == []
        Database(url)
        for command in (
            lambda: collect(url, results),
            lambda: merge(url, [big]),
            lambda: rebuild(url, results),
            lambda: write_bundle(big, results, "s", None, disk / "s.tar.gz"),
            lambda: keep_study(big, disk, "s", None),
        ):
            with filled(disk), pytest.raises(StoreError, match=full):
                command()
            assert whole(url) == before
        assert not list(disk.glob("*.tar.gz*"))
        assert not list(disk.glob("*/study.json*"))
        assert collect(url, results) == 3


def test_read_only_media_can_be_merged_from_and_compared_and_are_not_written(tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        specs = finish(disk, 3)
        url = f"sqlite:///{disk}/harness.db"
        record_study(url, "s", None, specs)
        collect(url, disk)
        keep_study(url, disk, "s", None)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for number, other in enumerate((url, disk)):
            mine = f"sqlite:///{tmp_path}/{number}.db"
            assert merge(mine, [other]).added == 3
            assert whole(mine) == (3, 9, 3)
        write_bundle(url, disk, "s", None, tmp_path / "s.tar.gz")
        for command in (lambda: rebuild(url, disk), lambda: merge(url, [f"sqlite:///{tmp_path}/0.db"])):
            with pytest.raises(StoreError, match=r"read-only|cannot be opened"):
                command()


@pytest.mark.parametrize("command", ["collect", "rebuild", "merge", "keep", "upgrade"])
def test_a_database_that_another_program_keeps_locked_is_told_by_every_command_that_writes(
    tmp_path, monkeypatch, command
):
    specs = finish(tmp_path, 2)
    url, other = f"sqlite:///{tmp_path}/harness.db", f"sqlite:///{tmp_path}/other.db"
    record_study(url, "s", None, specs[:1])
    collect(other, tmp_path)
    if command == "upgrade":
        Path(tmp_path, "harness.db").unlink()
        old_database(tmp_path / "harness.db")
    commands = {
        "collect": lambda: collect(url, tmp_path),
        "rebuild": lambda: rebuild(url, tmp_path),
        "merge": lambda: merge(url, [other]),
        "keep": lambda: keep_study(url, tmp_path, "s", None),
        "upgrade": lambda: Database(url),
    }
    monkeypatch.setattr(engines, "WAIT_S", 0.1)
    locker = sqlite3.connect(tmp_path / "harness.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    before = whole(url)
    with pytest.raises(StoreError, match=r"harness\.db has been locked by another program for more than"):
        commands[command]()
    assert whole(url) == before
    locker.rollback()
    locker.close()
    commands[command]()
    collect(url, tmp_path)
    assert whole(url)[0] >= 2


def a_folder(path):
    path.mkdir()


def a_loop(path):
    path.symlink_to(path)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        place = os.getcwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(place)


def a_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError:
        pytest.skip("this user may not make devices")


@pytest.mark.parametrize("make", [a_folder, a_loop, a_socket, a_device, os.mkfifo])
@pytest.mark.parametrize("name", ["result.json", "spec.json"])
def test_what_is_no_file_is_named_and_left_out_while_the_others_are_collected(tmp_path, caplog, name, make):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = finish(tmp_path, 3)
    path = RunFolder(tmp_path, specs[0].run_id).path / name
    path.unlink()
    make(path)
    begin = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert collect(url, tmp_path) == 2
    assert time.monotonic() - begin < 20
    assert str(path.parent) in caplog.text
    assert specs[0].run_id in caplog.text
    assert whole(url) == (2, 6, 2)


@pytest.mark.parametrize("name", ["result.json", "x" * 16, "0123456789ABCDEF", "..", "'; drop table runs; --", "é" * 8])
def test_folders_with_other_names_are_passed_over(tmp_path, name):
    url = f"sqlite:///{tmp_path}/harness.db"
    (spec,) = finish(tmp_path, 1)
    place = RunFolder(tmp_path, spec.run_id).path.parent / name
    place.mkdir(exist_ok=True)
    Path(tmp_path, "runs", "letter").write_text("Dear grandmother")
    assert collect(url, tmp_path) == 1
    assert whole(url) == (1, 3, 1)
