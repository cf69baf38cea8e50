"""A database to write to, of each kind that is supported; for PostgreSQL a server that lives as long as the tests."""

import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import postgres_server
import pytest
from postgres_server import server_database


@pytest.fixture(scope="session")
def postgresql():
    """A server without databases, as an open connection and its URL; a skip where PostgreSQL is not installed."""
    if postgres_server.programs() is None:
        pytest.skip("PostgreSQL is not installed here; tests/store/install_postgresql does that")
    psycopg = pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed: pip install psycopg")
    folder = Path(tempfile.mkdtemp(prefix="harness-pg-"))
    url = postgres_server.start(folder)
    try:
        with closing(psycopg.connect(url.replace("+psycopg", "") + "/postgres", autocommit=True)) as connection:
            yield connection, url
    finally:
        postgres_server.stop(folder)
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A database that does not exist yet (SQLite) or is empty (PostgreSQL)."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/harness.db"
        return
    with server_database(request.getfixturevalue("postgresql")) as made:
        yield made


@pytest.fixture
def server_url(postgresql):
    """An empty database on the server."""
    with server_database(postgresql) as made:
        yield made
