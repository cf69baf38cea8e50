"""Opening databases: settings, versions, and what happens with files that are none."""

import logging
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool
from store_processes import count_up, create, die_holding
from store_samples import make_result, make_spec, run_it

from harness.errors import EnvironmentLacks, StoreError
from harness.store import engine as engines
from harness.store import migrations, schema, writer_lock
from harness.store.database import collect, record_study
from harness.store.engine import open_engine
from harness.store.filesystem import filesystem_of, is_network
from harness.store.frames import Database
from harness.store.lease import Lease

SPAWN = multiprocessing.get_context("spawn")


def pragma(engine, name):
    with engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_a_writer_uses_the_settings_under_which_processes_share_a_file(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/harness.db", write=True)
    assert isinstance(engine.pool, NullPool)
    assert pragma(engine, "journal_mode") == "wal"
    assert pragma(engine, "foreign_keys") == 1
    assert pragma(engine, "synchronous") == 1
    assert pragma(engine, "busy_timeout") == 60_000
    assert pragma(engine, "user_version") == schema.VERSION


def test_a_writers_transaction_excludes_other_writers_from_its_first_read_on(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    engine = open_engine(url, write=True)
    with engine.begin() as connection:
        connection.execute(select(schema.runs)).all()
        other = sqlite3.connect(tmp_path / "harness.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
        # Readers are let in.
        with open_engine(url, write=False).connect() as reader:
            assert reader.execute(select(schema.runs)).all() == []


def test_no_update_is_lost_between_processes(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    spec = make_spec()
    run_it(tmp_path, spec, make_result(spec))
    collect(url, tmp_path)
    engine = open_engine(url, write=True)
    with engine.begin() as connection:
        connection.execute(text("update attempts set pid = 0"))
    counters = [SPAWN.Process(target=count_up, args=(url, 25)) for _ in range(3)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
    with engine.connect() as connection:
        assert connection.execute(text("select pid from attempts")).scalar_one() == 75


def test_many_may_create_one_database_at_the_same_time(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    go = SPAWN.Event()
    creators = [SPAWN.Process(target=create, args=(url, go)) for _ in range(4)]
    for creator in creators:
        creator.start()
    go.set()
    for creator in creators:
        creator.join()
    assert [creator.exitcode for creator in creators] == [0] * 4
    assert Database(url).runs().empty


def test_a_reader_cannot_write(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    open_engine(url, write=True)
    reader = open_engine(url, write=False)
    with pytest.raises(StoreError, match="read-only"), engines.told_by_database(url), reader.begin() as connection:
        connection.execute(schema.schema_version.delete())


def test_rows_of_a_run_that_is_not_there_are_refused(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/harness.db", write=True)
    row = {"run_id": "0" * 16, "split": "test", "metric": "nmi", "selection": "last", "epoch": 1, "value": 0.5}
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), engine.begin() as connection:
        connection.execute(schema.measurements.insert(), [row])


@pytest.mark.parametrize("content", [b"schema: 1\nname: a study\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 4096])
@pytest.mark.parametrize("write", [True, False])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content, write):
    path = tmp_path / "harness.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"harness\.db is not a database; move it away, or choose another with --db"):
        open_engine(f"sqlite:///{path}", write)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_database_is_refused(tmp_path):
    path = tmp_path / "harness.db"
    path.write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    with pytest.raises(StoreError, match=r"harness\.db (is not a database|is damaged)"):
        open_engine(path, write=True)


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table bookmarks (url text)")
    connection.close()
    before = path.read_bytes()
    for write in (True, False):
        with pytest.raises(StoreError, match=r"another program .*bookmarks"):
            open_engine(path, write)
    # Turning on the write-ahead log changes two bytes of the head, and no more than that.
    assert path.read_bytes()[100:] == before[100:]


def test_a_newer_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "harness.db"
    record_study(path, "s", None, [make_spec()])
    with sqlite3.connect(path) as connection:
        connection.execute("update schema_version set version = 99")
        connection.execute("pragma user_version = 99")
    connection.close()
    for write in (True, False):
        with pytest.raises(StoreError, match=r"newer harness \(tables of version 99, this one knows \d+\); install"):
            open_engine(path, write)
    with pytest.raises(StoreError, match="newer harness"):
        Database(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("select version, (select count(*) from runs) from schema_version").fetchall() == [
            (99, 1)
        ]
    connection.close()


def add_a_column(connection):
    connection.execute(text("alter table studies add column owner text"))


def fail(connection):
    connection.execute(text("alter table studies add column other text"))
    connection.execute(text("nonsense"))


NOW = schema.VERSION


@pytest.fixture
def two_versions_on(monkeypatch):
    monkeypatch.setattr(schema, "VERSION", NOW + 2)
    name_the_owner = lambda connection: connection.execute(text("update studies set owner = 'lab'"))  # noqa: E731
    monkeypatch.setattr(migrations, "MIGRATIONS", {NOW + 1: add_a_column, NOW + 2: name_the_owner})


@pytest.mark.parametrize("write", [True, False])
def test_an_older_database_is_brought_up_to_date_step_by_step_after_a_copy(tmp_path, request, write):
    path = tmp_path / "harness.db"
    record_study(path, "s", None, [make_spec()])
    request.getfixturevalue("two_versions_on")
    engine = open_engine(path, write)
    with engine.connect() as connection:
        assert connection.execute(text("select study, owner from studies")).all() == [("s", "lab")]
        assert connection.execute(text("select version from schema_version")).all() == [(NOW + 2,)]
        assert connection.execute(text("select * from leaderboard")).all() == []
    copy = tmp_path / f"harness.db.before-version-{NOW}-1"
    with sqlite3.connect(copy) as old:
        assert old.execute("select version, (select count(*) from runs) from schema_version").fetchall() == [(NOW, 1)]
    old.close()


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "harness.db"
    record_study(path, "s", None, [make_spec()])
    monkeypatch.setattr(schema, "VERSION", NOW + 2)
    monkeypatch.setattr(migrations, "MIGRATIONS", {NOW + 1: add_a_column, NOW + 2: fail})
    with pytest.raises(StoreError, match='cannot be used: near "nonsense"'):
        open_engine(path, write=True)
    monkeypatch.undo()
    with open_engine(path, write=True).connect() as connection:
        assert connection.execute(text("select version from schema_version")).all() == [(NOW,)]
        columns = [column["name"] for column in inspect(connection).get_columns("studies")]
        assert columns == ["study", "profile", "question", "about", "recorded"]


def test_a_database_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreError, match=r"there is no database at .*harness\.db; `harness run`"):
        Database(tmp_path / "harness.db")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot make the folder .*Not a directory"):
        record_study(tmp_path / "file" / "harness.db", "s", None, [make_spec()])
    with pytest.raises(StoreError, match=r"/proc/harness\.db cannot be opened"):
        record_study("sqlite:////proc/harness.db", "s", None, [make_spec()])
    with pytest.raises(StoreError, match="Is a directory"):
        record_study(tmp_path, "s", None, [make_spec()])


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MiB, or a skip where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this user may not mount: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_the_database_stays_whole(tmp_path, small_disk):
    url = f"sqlite:///{small_disk}/harness.db"
    small = make_spec()
    run_it(tmp_path, small, make_result(small))
    collect(url, tmp_path)
    big = make_spec(seed=1)
    run_it(tmp_path, big, make_result(big, provenance={"padding": "x" * 2_000_000}))
    with pytest.raises(StoreError, match=r"disk is full|disk I/O"):
        collect(url, tmp_path)
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        run_it(small_disk, big, make_result(big, provenance={"padding": "x" * 2_000_000}))
    assert not list(small_disk.glob("runs/*/*/result*"))
    shutil.rmtree(small_disk / "runs")
    assert list(Database(url).runs()["run_id"]) == [small.run_id]
    assert pragma(open_engine(url, write=False), "integrity_check") == "ok"


def test_read_only_media_can_be_read_and_a_writer_is_told(tmp_path, small_disk):
    url = f"sqlite:///{small_disk}/harness.db"
    spec = make_spec()
    run_it(tmp_path, spec, make_result(spec))
    collect(url, tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert len(Database(url).measurements()) == 3
    assert collect(url, tmp_path) == 0
    with pytest.raises(StoreError, match=r"read-only|cannot be opened"):
        record_study(url, "s", None, [spec])


def test_a_database_that_stays_locked_is_told(tmp_path, monkeypatch):
    path = tmp_path / "harness.db"
    open_engine(path, write=True)
    monkeypatch.setattr(engines, "WAIT_S", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="has been locked by another program"):
        record_study(path, "s", None, [make_spec()])
    other.rollback()
    other.close()
    record_study(path, "s", None, [make_spec()])


def test_a_database_that_is_locked_for_a_moment_is_waited_for(tmp_path):
    path = tmp_path / "harness.db"
    open_engine(path, write=True)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, other.rollback)
    release.start()
    record_study(path, "s", None, [make_spec()])
    release.join()
    other.close()
    assert list(Database(path).studies()["study"]) == ["s"]


def test_on_a_network_file_system_the_rollback_journal_is_used_and_that_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(engines, "filesystem_of", lambda path: "nfs4")
    with caplog.at_level(logging.WARNING):
        engine = open_engine(tmp_path / "harness.db", write=True)
        record_study(tmp_path / "harness.db", "s", None, [make_spec()])
    assert pragma(engine, "journal_mode") == "delete"
    assert pragma(engine, "synchronous") == 2
    assert [record.message for record in caplog.records if "network file system (nfs4)" in record.message] == [
        caplog.records[0].message
    ]


@pytest.fixture
def on_network(monkeypatch):
    monkeypatch.setattr(engines, "filesystem_of", lambda path: "nfs4")


def test_on_a_network_file_system_another_host_is_waited_for(tmp_path, on_network):
    path = tmp_path / "harness.db"
    record_study(path, "before", None, [])
    assert list(tmp_path.glob("*.lock")) == []
    other = Lease.take(tmp_path / "harness.db.lock")
    launch = threading.Thread(target=record_study, args=(path, "after", None, []))
    launch.start()
    launch.join(0.5)
    assert list(Database(path).studies()["study"]) == ["before"]
    assert launch.is_alive()
    other.release()
    launch.join(30)
    assert list(Database(path).studies()["study"]) == ["before", "after"]
    assert list(tmp_path.glob("*.lock")) == []


def test_a_host_that_writes_for_too_long_is_named(tmp_path, on_network, monkeypatch):
    monkeypatch.setattr(writer_lock, "WAIT_S", 0.1)
    other = Lease.take(tmp_path / "harness.db.lock")
    with pytest.raises(StoreError, match=rf"written by process {os.getpid()} on .* delete .*harness\.db\.lock"):
        record_study(tmp_path / "harness.db", "s", None, [])
    other.release()
    record_study(tmp_path / "harness.db", "s", None, [])


def test_the_lock_of_a_process_that_died_is_taken_over(tmp_path, on_network):
    died = SPAWN.Process(target=die_holding, args=(tmp_path / "harness.db.lock",))
    died.start()
    died.join()
    assert (tmp_path / "harness.db.lock").exists()
    record_study(tmp_path / "harness.db", "s", None, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["harness.db"]


def test_a_refused_statement_leaves_no_lock_behind(tmp_path, on_network):
    engine = open_engine(tmp_path / "harness.db", write=True)
    with pytest.raises(StoreError), engines.told_by_database(tmp_path), engine.begin() as connection:
        connection.execute(text("nonsense"))
    assert list(tmp_path.glob("*.lock")) == []


def test_the_file_system_of_a_path_is_that_of_its_innermost_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /home nfs4 rw 0 0\n/dev/sdb /home/me/my\\040disk xfs rw 0 0\n"
        "me@host:/ /mnt fuse.sshfs rw 0 0\n"
    )
    kinds = {place: filesystem_of(Path(place), str(mounts)) for place in
             ("/tmp", "/home/me/results", "/home/me/my disk/results", "/homestead", "/mnt/x")}  # fmt: skip
    assert list(kinds.values()) == ["ext4", "nfs4", "xfs", "ext4", "fuse.sshfs"]
    assert [is_network(kind) for kind in kinds.values()] == [False, True, False, False, True]
    assert filesystem_of(tmp_path, "/nowhere") == "unknown"
    assert filesystem_of(Path("/proc/self")) == "proc"


def test_urls_that_lead_nowhere_are_told():
    with pytest.raises(StoreError, match="neither the URL of a database nor the path of a file"):
        open_engine("sqlite:/x://", write=True)
    with pytest.raises(StoreError, match="in memory"):
        open_engine("sqlite://", write=True)
    with pytest.raises(EnvironmentLacks, match="pip install 'harness"):
        open_engine("nosuchdatabase://host/x", write=True)


def test_a_path_with_odd_characters_works(tmp_path):
    path = tmp_path / "results of 50% #1?" / "harness.db"
    record_study(path, "s", None, [make_spec()])
    assert path.exists()
    assert list(Database(path).studies()["study"]) == ["s"]
