"""The whole database again, from the run folders and the records of studies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from harness.store import database, schema
from harness.store.engine import open_engine, parse, shown, told_by_database
from harness.store.study_records import restore_studies


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild found: results, and how many the database had before whose run folders are gone."""

    results: int
    lost: int = 0


def rebuild(url: str | Path, results_dir: Path | str) -> Rebuilt:
    """Makes all rows again; what the database says of its studies stays, unless a record is the later word.

    An SQLite file is copied first. Raises StoreError as `database.rebuild` does.
    """
    before = _ended(url)
    results = database.rebuild(url, results_dir)
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        restore_studies(connection, results_dir)
    return Rebuilt(results, max(0, before - _ended(url)))


def _ended(url: str | Path) -> int:
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(shown(parsed)).exists():
        return 0
    query = select(func.count()).select_from(schema.runs).where(schema.runs.c.result_digest.is_not(None))
    with told_by_database(url), open_engine(url, write=False).connect() as connection:
        return int(connection.execute(query).scalar_one())
