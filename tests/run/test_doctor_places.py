"""What `harness doctor` says of results folders, databases and data folders that are not as they should be."""

import json
import os
import re
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from harness.doctor import storage
from harness.store import inspection, schema, trial
from harness.store.database import record_study


def mounted(folder, options):
    """A real small file system on a folder, or a skip where this user may not mount."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount: {done.stderr.strip()}")
    return folder


@pytest.fixture
def disk(tmp_path, request):
    folder = mounted(tmp_path / "disk", request.param)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("disk", ["ro,size=1m"], indirect=True)
def test_a_results_folder_that_is_read_only_is_a_problem(doctor, disk):
    code, found = doctor("results clock database", "--results", disk)
    assert code == 3
    assert found["results"]["state"] == "problem"
    assert "Read-only file system" in found["results"]["found"]
    assert "--results" in found["results"]["remedy"]
    assert found["clock"]["state"] == "problem"


@pytest.mark.parametrize("disk", ["size=64k"], indirect=True)
def test_a_full_disk_is_a_problem_and_the_trial_leaves_nothing_on_it(doctor, disk):
    with pytest.raises(OSError, match="No space"):
        (disk / "filler").write_bytes(bytes(1 << 20))
    code, found = doctor("results disk file_system", "--results", disk)
    assert code == 3
    assert "No space left on device" in found["results"]["found"]
    assert "free some space" in found["results"]["remedy"]
    assert found["disk"]["state"] == "problem"
    assert found["disk"]["found"].startswith("0.0 MiB free")
    assert found["file_system"]["state"] == "warning"
    assert "memory" in found["file_system"]["found"]
    assert [entry.name for entry in disk.iterdir()] == ["filler"]


def test_a_results_folder_that_cannot_be_made_is_a_problem(doctor, tmp_path):
    (tmp_path / "file").touch()
    code, found = doctor("results", "--results", tmp_path / "file" / "results")
    assert (code, found["results"]["state"]) == (3, "problem")
    assert "Not a directory" in found["results"]["found"]


def test_a_folder_whose_renames_locks_or_links_do_not_hold_is_found_out(look, tmp_path, monkeypatch):
    rename, opened = os.replace, os.open

    def in_two_steps(source, target):
        Path(target).unlink(missing_ok=True)
        time.sleep(0.01)
        rename(source, target)

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", in_two_steps)
        state, text = look("results", results=tmp_path)
    assert state == "problem"
    assert re.search("renaming .* is not atomic", text)
    with monkeypatch.context() as broken:
        broken.setattr(os, "open", lambda path, flags, *rest, **more: opened(path, flags & ~os.O_EXCL, *rest, **more))
        state, text = look("results", results=tmp_path)
    assert state == "problem"
    assert "4 were told that they did" in text

    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as broken:
        broken.setattr(os, "link", no_links)
        state, text = look("results", results=tmp_path)
    assert state == "warning"
    assert "hard links" in text
    assert look("results", results=tmp_path)[0] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_clocks_that_differ_are_told(look, tmp_path, monkeypatch):
    now = time.time
    assert look("clock", results=tmp_path)[0] == "ok"
    monkeypatch.setattr(trial.time, "time", lambda: now() + 90)
    state, text = look("clock", results=tmp_path)
    assert state == "warning"
    assert "s behind this machine" in text
    assert 80 < float(text.partition(" s behind")[0].rpartition(" ")[2]) < 100
    monkeypatch.setattr(trial.time, "time", lambda: now() - 90)
    assert "s ahead of this machine" in look("clock", results=tmp_path)[1]


def test_a_database_on_a_network_file_system_is_a_warning_and_results_alone_are_not(look, tmp_path, monkeypatch):
    def on_network(path):
        return "nfs4" if "shared" in str(path) else "ext4"

    for module in (storage, inspection):
        monkeypatch.setattr(module, "filesystem_of", on_network)
    shared = tmp_path / "shared"
    shared.mkdir()
    database = f"sqlite:///{shared}/harness.db"
    state, text = look("file_system", results=shared, db=database)
    assert state == "warning"
    assert re.search("nfs4.*--db", text)
    assert look("file_system", results=shared, db=f"sqlite:///{tmp_path}/harness.db")[0] == "ok"
    assert look("file_system", results=tmp_path, db=database)[1].startswith("ext4, local")


@pytest.fixture
def database(tmp_path, mini_spec):
    file = tmp_path / "harness.db"
    record_study(f"sqlite:///{file}", "mini", None, [mini_spec()])
    return file


def test_a_database_is_described_and_neither_made_nor_changed(doctor, database, tmp_path):
    before = database.read_bytes()
    code, found = doctor("database", "--db", database)
    assert code == 0
    assert f"journal wal, tables of version {schema.VERSION}, 1 runs" in found["database"]["found"]
    assert database.read_bytes() == before
    code, found = doctor("database", "--db", tmp_path / "none" / "harness.db")
    assert code == 0
    assert "not there yet" in found["database"]["found"]
    assert not (tmp_path / "none").exists()


def test_a_newer_database_is_a_problem(doctor, database):
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE schema_version SET version = {schema.VERSION + 1}")
    code, found = doctor("database", "--db", database)
    assert (code, found["database"]["state"]) == (3, "problem")
    assert "newer harness" in found["database"]["found"]
    assert "install the newer harness" in found["database"]["remedy"]


def test_what_is_no_database_of_ours_is_a_problem(doctor, tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE songs (title)")
    (tmp_path / "text.db").write_text("no database at all, " * 10)
    for name, expected in (("other.db", "another program"), ("text.db", "is not a database")):
        code, found = doctor("database", "--db", tmp_path / name)
        assert code == 3
        assert expected in found["database"]["found"]
        assert found["database"]["remedy"]
    code, found = doctor("database", "--db", "nonsense+driver://host/lab")
    assert code == 3
    code, found = doctor("database", "--db", "postgresql+psycopg://me:secret@127.0.0.1:1/lab")
    assert code == 3
    assert "secret" not in json.dumps(found)


def test_a_missing_data_folder_is_a_problem_only_where_somebody_named_it(doctor, tmp_path, monkeypatch):
    code, found = doctor("data")
    assert (code, found["data"]["state"]) == (0, "warning")
    code, found = doctor("data", "--data", tmp_path / "nowhere")
    assert (code, found["data"]["state"]) == (3, "problem")
    assert str(tmp_path / "nowhere") in found["data"]["found"]
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "elsewhere"))
    assert doctor("data")[0] == 3


def test_data_sets_that_are_there_are_named_and_damaged_ones_too(doctor, tmp_path):
    import numpy as np

    np.savez(tmp_path / "letters.npz", images=np.zeros((4, 2, 2), np.uint8), labels=np.arange(4))
    np.savez(tmp_path / "weights.npz", layer=np.zeros(3))
    (tmp_path / "broken.zip").write_text("no archive")
    code, found = doctor("data", "--data", tmp_path)
    assert code == 0
    assert "holds the pack letters.npz; glyphs and toy_lines need no data" in found["data"]["found"]
    (tmp_path / "cub200" / "images" / "001.Albatross").mkdir(parents=True)
    (tmp_path / "cub200" / "images" / "001.Albatross" / "one.jpg").touch()
    code, found = doctor("data", "--data", tmp_path)
    assert (code, found["data"]["state"]) == (0, "warning")
    assert "holds 1 training and 0 test images" in found["data"]["found"]
