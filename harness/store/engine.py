"""Opening the results database: the settings under which many processes may use one SQLite file, and clear errors.

SQLite serves one writer at a time. Two settings make that safe: the transaction of a writer begins with BEGIN
IMMEDIATE, so that what it reads cannot change before it writes, and a locked file is waited for. The write-ahead log
needs memory shared between processes, which network file systems lack: there the rollback journal is used, and a lock
file keeps hosts apart (`writer_lock`).
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from harness.errors import EnvironmentLacks, StoreError
from harness.store.files import make_folder, told_as
from harness.store.filesystem import filesystem_of, is_network
from harness.store.migrations import bring_up_to_date, is_up_to_date
from harness.store.writer_lock import LockedConnection, lock_for_writing

WAIT_S = 60
"""How long a locked database is waited for."""

PAGE = 8192
"""Bytes in a page of an SQLite file."""

_LOCK = 0x6861726E657373
"""PostgreSQL's advisory lock that stands for "the one writer"; the bytes spell harness."""

log = logging.getLogger("harness.store")
_warned: set[str] = set()


def open_engine(url: str | Path, write: bool) -> Engine:
    """An engine on a database whose tables are of this version; an older one is brought up to date first.

    A writer's transactions exclude each other from their first statement on. A reader finds the database or fails.
    Connections are not pooled, so an engine may be inherited by a forked process. Raises StoreError.
    """
    parsed = parse(url)
    with told_by_database(url):
        if parsed.get_backend_name() != "sqlite":
            return _open_server(parsed, write)
        return _open_file(Path(parsed.database or ""), write)


def _open_file(path: Path, write: bool) -> Engine:
    if write:
        make_folder(path.parent)
    _check_file(path, write)
    if write:
        engine = _sqlite_writer(path)
        bring_up_to_date(engine, str(path))
        return engine
    reader = _sqlite_reader(path)
    # Looking does not wait for writers; only bringing an older database up to date does.
    if not is_up_to_date(reader, str(path)):
        bring_up_to_date(_sqlite_writer(path), str(path))
    return reader


def _open_server(url: URL, write: bool) -> Engine:
    engine = _server_engine(url, write)
    if not is_up_to_date(engine, shown(url)):
        bring_up_to_date(_server_engine(url, write=True), shown(url))
    return engine


def engine_for_looking(url: str | Path) -> Engine:
    """An engine that reads a database of whatever version as it is; raises StoreError where there is none."""
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        return _server_engine(parsed, write=False)
    path = Path(parsed.database or "")
    _check_file(path, write=False)
    return _sqlite_reader(path)


def parse(url: str | Path) -> URL:
    """An SQLAlchemy URL, or the path of an SQLite file, as a URL; StoreError when it is neither."""
    text = str(url)
    try:
        parsed = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f"{text!r} is neither the URL of a database nor the path of a file: {error}") from error
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(f"{text!r} would be a database in memory; right would be sqlite:///results/harness.db")
    return parsed


def shown(url: URL) -> str:
    """How a database is named in messages: the file, or the URL without its password."""
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


@contextmanager
def told_by_database(url: str | Path) -> Iterator[None]:
    """Turns what the database refuses into a StoreError of one sentence."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(_explained(shown(parse(url)), error.orig)) from error
    except sqlite3.Error as error:
        raise StoreError(_explained(shown(parse(url)), error)) from error


def _explained(name: str, error: BaseException | None) -> str:
    reason = str(error).strip().partition("\n")[0]
    if "disk I/O error" in reason and _has_no_room(name):
        reason = "disk is full"  # what SQLite says where its shared memory cannot grow
    for sign, sentence in _REASONS:
        if sign in reason:
            return sentence.format(name=name, reason=reason)
    return f"the database {name} cannot be used: {reason}"


def _has_no_room(name: str) -> bool:
    try:
        return shutil.disk_usage(Path(name).absolute().parent).free < _ROOM
    except OSError:
        return False


_ROOM = 256 * 2**10
"""Bytes that opening a database may need beside it."""

_REASONS = (
    ("database is locked", f"the database {{name}} has been locked by another program for more than {WAIT_S} s"),
    ("disk is full", "the database {name} cannot grow, the disk is full; free some space, run folders lose nothing"),
    ("not a database", "{name} is not a database; move it away, or choose another with --db"),
    ("malformed", "the database {name} is damaged; move it away and run `harness db rebuild`"),
    ("readonly", "the database {name} cannot be written, its file or folder is read-only; choose another with --db"),
    ("unable to open", "the database {name} cannot be opened: {reason}; choose another with --db"),
)


def _check_file(path: Path, write: bool) -> None:
    with told_as("read the database", path):
        try:
            with open(path, "rb") as file:
                head = file.read(16)
        except FileNotFoundError:
            if write:
                return
            raise StoreError(
                f"there is no database at {path}; `harness run` or `harness db collect` makes it"
            ) from None
    if head and head != b"SQLite format 3\0":
        raise StoreError(f"{path} is not a database; move it away, or choose another with --db")


def _sqlite_writer(path: Path) -> Engine:
    shared = _on_network(path.parent)
    journal = "DELETE" if shared else "WAL"

    def connect() -> sqlite3.Connection:
        lock = lock_for_writing(path) if shared else None
        # Without an isolation level the driver leaves BEGIN to us; its own comes too late, after the first reads.
        connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, factory=LockedConnection)
        connection.lock = lock
        try:
            # Only a new file takes it. Rows of a thousand bytes, which most are, leave less of a page empty.
            connection.execute(f"PRAGMA page_size={PAGE}")
            _set_journal(connection, journal)
            connection.execute("PRAGMA synchronous=NORMAL" if journal == "WAL" else "PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    return _sqlite_engine(path, connect, "BEGIN IMMEDIATE")


def _set_journal(connection: sqlite3.Connection, journal: str) -> None:
    # Changing the journal alone does not wait for others: SQLite refuses it at once while another process does the
    # same, as when two launches make a new database. So the waiting is ours.
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={journal}")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.005, 0.05))


def _sqlite_reader(path: Path) -> Engine:
    address = f"file:{quote(os.path.abspath(path))}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=WAIT_S, isolation_level=None)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" in str(error):
                raise
            # Where we may not write, the write-ahead log can be opened only while somebody else has it open. Nobody
            # has, so nothing changes.
            return sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
        return connection

    return _sqlite_engine(path, connect, "BEGIN")


def _sqlite_engine(path: Path, connect: Any, begin: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), creator=connect, poolclass=NullPool, json_serializer=compact_json
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _server_engine(url: URL, write: bool) -> Engine:
    try:
        engine = create_engine(url, poolclass=NullPool, json_serializer=compact_json)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise EnvironmentLacks(
            f"{shown(url)} needs a driver that is not installed ({error}); for PostgreSQL: "
            "pip install 'harness[postgres]' and a URL that begins with postgresql+psycopg://"
        ) from error
    if write and engine.dialect.name == "postgresql":

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    return engine


def _on_network(folder: Path) -> bool:
    kind = filesystem_of(folder)
    if not is_network(kind):
        return False
    if str(folder) not in _warned:
        _warned.add(str(folder))
        log.warning(
            "the database in %s lies on a network file system (%s): hosts write it one after the other, slowly; better "
            "keep it on a local disk or in PostgreSQL (--db), run folders may stay where they are",
            folder,
            kind,
        )
    return True


def compact_json(value: Any) -> str:
    """JSON as it stands in the database: no spaces, letters of all alphabets as they are, no nan."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
