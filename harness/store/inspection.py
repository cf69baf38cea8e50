"""Looking at a results database without changing it: what it is, of which version, and whether it can be written."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, func, select, text

from harness.store import schema
from harness.store.engine import engine_for_looking, parse, shown, told_by_database
from harness.store.filesystem import filesystem_of
from harness.store.migrations import version_of


@dataclass(frozen=True)
class DatabaseState:
    """How a database was found. Where there is none, only `kind`, `name` and `filesystem` are known."""

    kind: str  # sqlite, postgresql, ...
    name: str  # the file, or the URL without its password
    exists: bool
    filesystem: str = ""  # of an SQLite file
    server: str = ""  # the version of SQLite or of the server
    journal: str = ""  # of an SQLite file: wal, delete, ...
    version: int = 0  # of the tables; 0 where there are none yet
    writable: bool = False
    runs: int = 0


def inspect_database(url: str | Path) -> DatabaseState:
    """The state of a database, which is neither made nor brought up to date.

    Raises StoreError when it cannot be read, is another program's or a newer harness's; EnvironmentLacks without its
    driver.
    """
    parsed = parse(url)
    kind, name = parsed.get_backend_name(), shown(parsed)
    file = Path(name)
    if kind == "sqlite" and not file.exists():
        return DatabaseState(kind, name, False, filesystem_of(file.parent))
    with told_by_database(url), engine_for_looking(url).connect() as connection:
        version = version_of(connection, name)
        state = DatabaseState(
            kind,
            name,
            True,
            server=".".join(map(str, connection.dialect.server_version_info or ())),
            version=version,
            writable=_may_create(connection),
            runs=int(connection.execute(select(func.count()).select_from(schema.runs)).scalar_one()) if version else 0,
        )
        return _with_file(state, file, connection) if kind == "sqlite" else state


def _with_file(state: DatabaseState, file: Path, connection: Connection) -> DatabaseState:
    return replace(
        state,
        filesystem=filesystem_of(file),
        journal=str(connection.exec_driver_sql("PRAGMA journal_mode").scalar()),
        # SQLite makes its journal beside the file.
        writable=os.access(file, os.W_OK) and os.access(file.absolute().parent, os.W_OK),
    )


def _may_create(connection: Connection) -> bool:
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar())
