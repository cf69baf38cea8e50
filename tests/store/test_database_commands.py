"""`harness db upgrade` and `harness db export` as a person types them."""

import io
import sqlite3
import subprocess
import sys
from contextlib import closing

import pandas as pd
from test_migrations import load

from harness.store import schema


def harness(*arguments):
    """The bytes on stdout, and what was said."""
    done = subprocess.run([sys.executable, "-m", "harness", *map(str, arguments)], capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode()


def test_an_older_database_is_upgraded_once_and_its_copy_is_named(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    load(url, 1)
    code, out, said = harness("db", "upgrade", "--db", url)
    assert (code, out) == (0, b"")
    assert f"brought from version 1 to {schema.VERSION}" in said
    assert "harness.db.before-version-1-" in said
    assert f"are of version {schema.VERSION}" in harness("db", "upgrade", "--db", url)[2]
    assert len(list(tmp_path.glob("harness.db.before-*"))) == 1


def test_a_newer_database_is_refused_and_none_is_made(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    code, _, said = harness("db", "upgrade", "--db", url)
    assert code == 3
    assert "there is no database" in said
    assert list(tmp_path.iterdir()) == []
    load(url, 2)
    with closing(sqlite3.connect(tmp_path / "harness.db")) as connection, connection:
        connection.execute("update schema_version set version = 99")
    code, _, said = harness("db", "upgrade", "--db", url)
    assert code == 3
    assert "written by a newer harness (tables of version 99" in said


def test_parquet_goes_to_stdout_as_bytes(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    load(url, 2)
    code, out, said = harness("db", "export", "--table", "curves", "--format", "parquet", "--db", url)
    assert (code, said) == (0, "")
    assert len(pd.read_parquet(io.BytesIO(out))) == 20
