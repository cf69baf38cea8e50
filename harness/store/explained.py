"""Everything that is on record about one run but its numbers: what it is, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, select

from harness.errors import StoreError
from harness.specs import KINDS, RunSpec
from harness.store import schema
from harness.store.engine import open_engine, told_by_database
from harness.store.spool import RunFolder, find_run

_OF_AN_ATTEMPT = ("began", "ended", "cause", "host", "device", "pid", "first_step", "last_step")


@dataclass(frozen=True)
class Explained:
    """A run: its identity (path -> value), how it stands, its provenance, its cost and its attempts, oldest first."""

    run_id: str
    identity: dict[str, Any]
    state: str
    cause: str | None
    message: str | None
    provenance: dict[str, Any]
    cost: dict[str, float]
    attempts: list[dict[str, Any]]


def explained(results_dir: Path | str, url: str | Path, beginning: str) -> Explained:
    """The run whose id begins so, by its folder, or where it has none by the database.

    Raises StoreError where neither has it, or it is not the only one.
    """
    try:
        folder = find_run(results_dir, beginning)
    except StoreError as error:
        found = _in_database(url, beginning)
        if found is None:
            raise error
        return found
    return _in_folder(folder)


def _in_folder(folder: RunFolder) -> Explained:
    spec, result = folder.read_spec(), folder.read_result()
    attempts = [
        {"began": attempt.begin, "ended": attempt.end, **{name: getattr(attempt, name) for name in _OF_AN_ATTEMPT[2:]}}
        for attempt in folder.attempts()
    ]
    return Explained(
        folder.run_id,
        _identity(spec.to_dict()),
        folder.state(),
        result.cause if result else None,
        result.message if result else None,
        dict(result.provenance) if result else {},
        dict(result.cost) if result else {},
        attempts,
    )


def _in_database(url: str | Path, beginning: str) -> Explained | None:
    # No more than the digits of an id may stand there: % and _ would be patterns.
    if not beginning.isalnum():
        return None
    runs, attempts = schema.runs, schema.attempts
    with suppress(StoreError), told_by_database(url), open_engine(url, write=False).connect() as connection:
        rows = connection.execute(select(runs).where(runs.c.run_id.like(f"{beginning}%")).limit(2)).mappings().all()
        if len(rows) == 1:
            query = select(attempts).where(attempts.c.run_id == rows[0]["run_id"]).order_by(attempts.c.began)
            return _of_row(rows[0], [_attempt(row) for row in connection.execute(query).mappings()])
    return None


def _of_row(row: RowMapping, attempts: list[dict[str, Any]]) -> Explained:
    told = {name: row[name] for name in ("run_id", "state", "cause", "message")}
    return Explained(
        **told,
        identity=_identity(row["spec"]),
        provenance=dict(row["provenance"]),
        cost=dict(row["cost"]),
        attempts=attempts,
    )


def _attempt(row: RowMapping) -> dict[str, Any]:
    return {name: row[name] for name in _OF_AN_ATTEMPT}


def _identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a person can set, by its dotted path, and the revisions that only a new version of the code can change."""
    revisions = {f"{kind}.revision": spec[kind].get("revision", 1) for kind in KINDS if spec.get(kind)}
    return {**RunSpec.from_dict(spec).flat(), **revisions, "protocol": spec["protocol"]}
