"""The record of looks at sealed test classes: written before anything is measured, and never removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from harness.errors import StoreError
from harness.store import tuning_tables
from harness.store.engine import open_engine, told_by_database
from harness.store.files import utc_now


def begin_look(
    url: str | Path,
    study: str,
    profile: str | None,
    *,
    choices: str,
    runs: int,
    classes: Mapping[str, str],
    by: Mapping[str, Any],
    before: int = 0,
) -> int:
    """Put a look on record and give its number, from 1.

    `choices` is the digest of what was chosen before, `classes` the digest of the test classes of each data set, `by`
    who looks, from where. A look at the same choices that was interrupted is the same look, and keeps its number.
    Raises StoreError where the database has fewer looks than are known to have been (`before`): a new one may not
    hide them.
    """
    key, table = {"study": study, "profile": profile or ""}, tuning_tables.looks
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        query = select(table.c.look, table.c.choices, table.c.ended).where(
            table.c.study == study, table.c.profile == key["profile"]
        )
        known = list(connection.execute(query.order_by(table.c.look)))
        if len(known) < before:
            raise StoreError(
                f"{before} looks at the test classes of {study!r} are on record, but this database knows {len(known)}; "
                "`harness db rebuild` brings them back"
            )
        if known and known[-1].ended is None and known[-1].choices == choices:
            return int(known[-1].look)
        number = 1 + max((int(row.look) for row in known), default=0)
        row = {"look": number, "choices": choices, "runs": runs, "classes": dict(classes), "by": dict(by)}
        connection.execute(table.insert(), [{**key, **row, "began": utc_now(), "ended": None}])
        return number


def end_look(url: str | Path, study: str, profile: str | None, number: int) -> None:
    """Say that a look was carried to its end."""
    table = tuning_tables.looks
    which = (table.c.study == study) & (table.c.profile == (profile or "")) & (table.c.look == number)
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        connection.execute(table.update().where(which).values(ended=utc_now()))
