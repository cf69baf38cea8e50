"""Estimates of what runs will take, kept beside the runs; and what finished runs took, from which to estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from harness.store import schema
from harness.store.engine import open_engine, parse, shown, told_by_database
from harness.store.files import utc_now

BATCH = 500
"""Ids in one statement: databases limit how many values it may carry."""


@dataclass(frozen=True)
class Estimate:
    """What one run was foreseen to take; `cost` is made of the items that the cost of a finished run has."""

    run_id: str
    seconds: float
    cost: Mapping[str, float]
    source: str  # measured or database
    device: str


@dataclass(frozen=True)
class Finished:
    """A run that is done: its spec, what it cost and what is known of the machine, as plain JSON types."""

    run_id: str
    spec: dict[str, Any]
    cost: dict[str, float]
    provenance: dict[str, Any]


def record_estimates(url: str | Path, study: str, profile: str | None, estimates: Sequence[Estimate]) -> None:
    """Keep the estimates of a study's runs, in place of earlier ones of the same runs."""
    key, table = {"study": study, "profile": profile or ""}, schema.estimates
    rows = [{**key, **vars(estimate), "cost": dict(estimate.cost), "planned": utc_now()} for estimate in estimates]
    if not rows:
        return
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        of_study = (table.c.study == study) & (table.c.profile == key["profile"])
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            connection.execute(table.delete().where(of_study, table.c.run_id.in_([row["run_id"] for row in batch])))
            connection.execute(table.insert(), batch)


def finished_runs(url: str | Path) -> list[Finished]:
    """All runs that are done, of whatever study; none where there is no database yet."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(shown(parsed)).exists():
        return []
    columns = schema.runs.c
    query = select(columns.run_id, columns.spec, columns.cost, columns.provenance).where(columns.state == "done")
    with told_by_database(url), open_engine(url, write=False).connect() as connection:
        return [Finished(*row) for row in connection.execute(query.order_by(columns.run_id))]
