"""The record of looks at sealed test classes: written before anything is measured, and never removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

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
) -> int:
    """Put a look on record and give its number, from 1.

    `choices` is the digest of what was chosen before, `classes` the digest of the test classes of each data set, `by`
    who looks, from where. A look at the same choices that was interrupted is the same look, and keeps its number.
    """
    key, table = {"study": study, "profile": profile or ""}, tuning_tables.looks
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        query = select(table.c.look, table.c.choices, table.c.ended).where(
            table.c.study == study, table.c.profile == key["profile"]
        )
        before = list(connection.execute(query.order_by(table.c.look)))
        if before and before[-1].ended is None and before[-1].choices == choices:
            return int(before[-1].look)
        number = 1 + max((int(row.look) for row in before), default=0)
        row = {"look": number, "choices": choices, "runs": runs, "classes": dict(classes), "by": dict(by)}
        connection.execute(table.insert(), [{**key, **row, "began": utc_now(), "ended": None}])
        return number


def end_look(url: str | Path, study: str, profile: str | None, number: int) -> None:
    """Say that a look was carried to its end."""
    table = tuning_tables.looks
    which = (table.c.study == study) & (table.c.profile == (profile or "")) & (table.c.look == number)
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        connection.execute(table.update().where(which).values(ended=utc_now()))
