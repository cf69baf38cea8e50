"""Bringing an older database to this version's tables: ordered steps, one transaction, a copy of the old file first."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.schema import SetColumnComment, SetTableComment

from harness.errors import StoreError
from harness.store import schema
from harness.store.tuning_tables import add_tuning
from harness.store.version_3 import pack_lists
from harness.store.views import make_views

Migration = Callable[[Connection], None]


def _add_estimates(connection: Connection) -> None:
    connection.execute(
        text(
            "create table estimates (study varchar(200) not null, profile varchar(200) not null, "
            "run_id varchar(16) not null, seconds float not null, cost json not null, source varchar(20) not null, "
            "device varchar(200) not null, planned varchar(40) not null, primary key (study, profile, run_id))"
        )
    )


def _pack_and_tune(connection: Connection) -> None:
    pack_lists(connection)
    add_tuning(connection)


MIGRATIONS: dict[int, Migration] = {2: _add_estimates, 3: _pack_and_tune}
"""Version -> the step that makes it from the version before. A step uses SQL alone, never today's `schema`, which will
have moved on; the views are made again after the last step."""


def is_up_to_date(engine: Engine, name: str) -> bool:
    """Whether the tables are those of this version; raises StoreError as `bring_up_to_date` does."""
    with engine.connect() as connection:
        return version_of(connection, name) == schema.VERSION


def bring_up_to_date(engine: Engine, name: str) -> None:
    """Makes the tables of an empty database, or brings older ones to this version.

    Raises StoreError for a newer database and for one of another program; neither is touched.
    """
    with engine.connect() as connection:
        found = version_of(connection, name)
    if found == schema.VERSION:
        return
    if found:
        back_up(engine, f"version-{found}")
    with engine.begin() as connection:
        # Somebody else may have done it while we waited for the lock.
        found = version_of(connection, name)
        if found == schema.VERSION:
            return
        if found == 0:
            schema.metadata.create_all(connection)
        for step in range(found + 1, schema.VERSION + 1) if found else ():
            MIGRATIONS[step](connection)
        _explain(connection)
        make_views(connection)
        _set_version(connection)


def version_of(connection: Connection, name: str) -> int:
    """The version of the tables; 0 for an empty database.

    Raises StoreError when this code cannot read them.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return 0
    if schema.schema_version.name not in tables:
        raise StoreError(f"{name} is a database of another program (its tables: {', '.join(sorted(tables)[:5])})")
    found = int(connection.execute(select(schema.schema_version.c.version)).scalar() or 0)
    if found > schema.VERSION:
        raise StoreError(
            f"{name} was written by a newer harness (tables of version {found}, this one knows {schema.VERSION}); "
            "install the newer harness, or choose another database with --db"
        )
    return found


def back_up(engine: Engine, why: str) -> Path | None:
    """Copies an SQLite file to `<file>.before-<why>-<n>`; other databases have backups of their own."""
    file = engine.url.database
    if engine.dialect.name != "sqlite" or not file:
        return None
    number = 1
    while (copy := Path(f"{file}.before-{why}-{number}")).exists():
        number += 1
    # Under its name only once it is whole: who looks for a copy after an accident must not find half of one.
    aside = copy.with_name(f"{copy.name}.tmp-{secrets.token_hex(4)}")
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(aside)) as target:
            source.backup(target)
        os.replace(aside, copy)
    finally:
        aside.unlink(missing_ok=True)
    return copy


def _explain(connection: Connection) -> None:
    """Says in the catalog of a server what its tables and columns mean; SQLite keeps the text that made a table."""
    if connection.dialect.supports_comments:
        for table in schema.metadata.sorted_tables:
            connection.execute(SetTableComment(table))
            for column in table.columns:
                connection.execute(SetColumnComment(column))


def _set_version(connection: Connection) -> None:
    connection.execute(schema.schema_version.delete())
    connection.execute(schema.schema_version.insert().values(version=schema.VERSION))
    if connection.dialect.name == "sqlite":
        connection.execute(text(f"PRAGMA user_version = {schema.VERSION}"))
