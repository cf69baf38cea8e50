"""The only code that writes the database: run folders become rows, and studies say which runs are theirs.

Everything here may be repeated, interrupted or done by two processes at once: each batch is one transaction, and what
a run's rows say depends on its folder alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from sqlalchemy import Connection, Table, select

from harness.errors import StoreError
from harness.specs import RunSpec
from harness.store import schema
from harness.store.engine import log, open_engine, parse, shown, told_by_database
from harness.store.files import utc_now
from harness.store.labels import method_labels
from harness.store.migrations import back_up
from harness.store.rows import Found, Known, Row, is_unchanged, look, run_row
from harness.store.spool import RunFolder, ids_in

__all__ = ["collect", "export", "rebuild", "record_study"]

BATCH = 200


def collect(url: str | Path, results_dir: Path | str, run_ids: Iterable[str] | None = None) -> int:
    """Brings what is new in run folders (all, or those named) into the database; gives the number of new results.

    A folder that is damaged is named in a warning and left out. Where nothing is new, nothing is opened for writing.
    """
    asked = None if run_ids is None else list(run_ids)
    collected = 0
    while asked is None or asked:
        asked_again: list[str] = []
        ids = ids_in(results_dir) if asked is None else asked
        for batch in _batches(_news(results_dir, ids, _known(url, asked))):
            with told_by_database(url), open_engine(url, write=True).begin() as connection:
                new, outdated = _apply(connection, batch)
            collected += new
            asked_again += outdated
        asked = asked_again
    return collected


def record_study(
    url: str | Path,
    study: str,
    profile: str | None,
    specs: Sequence[RunSpec],
    about: Mapping[str, Any] | None = None,
    *,
    partial: bool = False,
) -> None:
    """Says which runs a study (with this profile) has now, in order, and what a report needs to know of it.

    Replaces what was recorded before; runs that are no longer part of it stay in the database. When the specs are only
    a part of the study (`partial`), the runs that were recorded before stay in it.
    """
    key = {"study": study, "profile": profile or ""}
    described = {"question": (about or {}).get("question"), "about": dict(about or {}), "recorded": utc_now()}
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        before = _recorded(connection, **key) if partial else []
        unique = list({spec.run_id: spec for spec in (*before, *specs)}.values())
        labels = method_labels(unique)
        members = [
            {**key, "run_id": spec.run_id, "position": position, "method": labels[spec.run_id]}
            for position, spec in enumerate(unique)
        ]
        known = set(connection.execute(select(schema.runs.c.run_id)).scalars())
        _insert(connection, schema.runs, [run_row(spec) for spec in unique if spec.run_id not in known])
        studies, study_runs = schema.studies, schema.study_runs
        for table in (study_runs, studies):
            connection.execute(table.delete().where(table.c.study == study, table.c.profile == key["profile"]))
        _insert(connection, studies, [{**key, **described}])
        _insert(connection, study_runs, members)


def _recorded(connection: Connection, study: str, profile: str) -> list[RunSpec]:
    """The runs that a study has in the database, in order."""
    runs, members = schema.runs, schema.study_runs
    query = (
        select(runs.c.spec)
        .join(members, members.c.run_id == runs.c.run_id)
        .where(members.c.study == study, members.c.profile == profile)
        .order_by(members.c.position)
    )
    return [RunSpec.from_dict(spec) for spec in connection.execute(query).scalars()]


def rebuild(url: str | Path, results_dir: Path | str) -> int:
    """Makes all rows again from the run folders, keeping which runs the studies have; gives the number of results.

    An SQLite file is copied first. Raises StoreError when there is no run folder: that would empty the database.
    """
    ids = list(ids_in(results_dir))
    if not ids:
        raise StoreError(f"there are no run folders in {Path(results_dir) / 'runs'}; a rebuild would lose every result")
    with told_by_database(url):
        engine = open_engine(url, write=True)
        with engine.connect() as connection:
            empty = connection.execute(select(schema.runs.c.run_id).limit(1)).first() is None
        if not empty:
            back_up(engine, "rebuild")
        with engine.begin() as connection:
            _forget(connection)
            return sum(_apply(connection, batch)[0] for batch in _batches(_news(results_dir, ids, {})))


def export(
    url: str | Path,
    table: str,
    form: str,
    stream: TextIO | BinaryIO,
    study: str | None = None,
    profile: str | None = None,
) -> None:
    """Writes a table, or what of it belongs to one study, as csv, json or parquet; columns as of `frames.Database`."""
    # pandas takes half a second to import, and nothing else here needs it.
    from harness.store.export import write_table

    write_table(url, table, form, stream, study, profile)


def _known(url: str | Path, asked: Sequence[str] | None) -> dict[str, Known]:
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(shown(parsed)).exists():
        return {}
    columns = schema.runs.c
    query = select(columns.run_id, columns.state, columns.result_digest, columns.folder_stamp)
    if asked is not None and len(asked) <= BATCH:
        query = query.where(columns.run_id.in_(asked))
    with told_by_database(url), open_engine(url, write=False).connect() as connection:
        return {run_id: Known(*rest) for run_id, *rest in connection.execute(query)}


def _news(results_dir: Path | str, run_ids: Iterable[str], known: Mapping[str, Known]) -> Iterator[Found]:
    for run_id in run_ids:
        before = known.get(run_id)
        if is_unchanged(f"{results_dir}/runs/{run_id[:2]}/{run_id}", before):
            continue
        try:
            found = look(RunFolder(results_dir, run_id), before)
        except StoreError as error:
            log.warning("run %s is left out: %s", run_id, error)
            continue
        if found:
            yield found


def _batches(found: Iterable[Found]) -> Iterator[list[Found]]:
    stream = iter(found)
    while batch := list(itertools.islice(stream, BATCH)):
        yield batch


def _apply(connection: Connection, batch: Sequence[Found]) -> tuple[int, list[str]]:
    """Makes the rows of these runs say what was found.

    Gives the number of results that are new to the database, and the runs that were left alone because somebody else
    has written them since we looked: theirs may be the later look.
    """
    runs, ids = schema.runs, [found.run_id for found in batch]
    query = select(runs.c.run_id, runs.c.result_digest, runs.c.folder_stamp).where(runs.c.run_id.in_(ids))
    there = {row.run_id: row for row in connection.execute(query)}
    outdated = [
        id for id, found in zip(ids, batch, strict=True) if id in there and there[id].folder_stamp != found.before
    ]
    batch = [found for found in batch if found.run_id not in outdated]
    _insert(connection, runs, [found.run for found in batch if found.run_id not in there])
    for found in batch:
        if found.run_id in there:
            connection.execute(runs.update().where(runs.c.run_id == found.run_id).values(found.run))
    attempts = [row for found in batch for row in found.attempts]
    _replace(connection, [schema.attempts], [found.run_id for found in batch if found.run_id in there],
             {"attempts": attempts})  # fmt: skip
    fresh = [found for found in batch if found.result is not None]
    by_table: dict[str, list[Row]] = {}
    for found in fresh:
        for name, rows in (found.result or {}).items():
            by_table.setdefault(name, []).extend(rows)
    _add_lists(connection, by_table)
    _replace(connection, schema.OF_A_RESULT, [found.run_id for found in fresh if found.run_id in there], by_table)
    return sum(bool(found.result) for found in fresh), outdated


def _replace(
    connection: Connection, tables: Sequence[Table], run_ids: Sequence[str], rows: Mapping[str, Sequence[Row]]
) -> None:
    """Rows in place of those that these runs have there."""
    for table in tables:
        if run_ids:
            connection.execute(table.delete().where(table.c.run_id.in_(run_ids)))
        _insert(connection, table, rows.get(table.name, ()))


def _add_lists(connection: Connection, rows: Mapping[str, Sequence[Row]]) -> None:
    """Writes the lists that results share and that are not there yet."""
    for table in schema.LISTS:
        (key,) = table.primary_key
        met = {row[key.name]: row for row in rows.get(table.name, ())}
        names = list(met)
        for first in range(0, len(names), BATCH):
            some = names[first : first + BATCH]
            there = set(connection.execute(select(key).where(key.in_(some))).scalars())
            _insert(connection, table, [met[name] for name in some if name not in there])


def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(table.insert(), list(rows))


def _forget(connection: Connection) -> None:
    """Leaves of every run only that it is part of its studies."""
    runs, members = schema.runs, select(schema.study_runs.c.run_id)
    for table in (*schema.OF_A_RESULT, *schema.LISTS, schema.attempts):
        connection.execute(table.delete())
    connection.execute(runs.delete().where(runs.c.run_id.not_in(members)))
    unknown: Row = {"state": "pending", "cause": None, "message": None, "traceback": None, "cost": {}, "provenance": {}}
    connection.execute(runs.update().values(**unknown, result_digest=None, folder_stamp=None))
