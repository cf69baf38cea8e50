"""Joining results databases, results folders and bundles, such as those of a laptop and of a cluster.

A run is what its spec says, so the runs of two places are joined by their ids. Of two results of one run the better
ended one stands (done before failed), then the one that was there first; so the outcome depends neither on the order of
the places nor on how often they are joined. Two results of one run with different numbers are a conflict, which is told
with both numbers, after the database was copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, select

from harness.errors import StoreError
from harness.specs import canonical_json
from harness.store import schema
from harness.store.engine import open_engine, parse, told_by_database
from harness.store.migrations import back_up
from harness.store.rows import Row
from harness.store.sources import name_of, opened, parts_of
from harness.store.study_records import checked, combined, insert, put_record, record_of, studies_in

BATCH = 200
_STATES = ("pending", "running", "failed", "done")
_WHOSE = ("state", "cause", "message", "traceback", "cost", "provenance", "result_digest")
"""The columns of a run that its result decides; `folder_stamp` is of the folder that this database collects."""


@dataclass(frozen=True)
class Conflict:
    """A run that is done at both places, with different numbers. `kept`: here, or the place that its result is from."""

    run_id: str
    method: str
    other: str
    kept: str
    differences: list[tuple[str, float | None, float | None]]  # "test recall_at_1 last", here, there


@dataclass
class Merged:
    """What merging did. `added` runs were not here, `ended` ones were here without an end, or had failed."""

    added: int = 0
    ended: int = 0
    twice: int = 0  # done at both places, with equal numbers
    conflicts: list[Conflict] = field(default_factory=list)
    copy: Path | None = None  # of the database as it was, where results of it were replaced


def merge(
    url: str | Path, others: Sequence[str | Path], study: str | None = None, profile: str | None = None
) -> Merged:
    """Brings everything that others have into a database: runs, results, attempts, studies, trials, looks.

    With `study`, only what belongs to that study (with that profile). Raises StoreError where a place cannot be read or
    is damaged; batches of runs that came before stay, and the same command again goes on.
    """
    merged, records = Merged(), list[Mapping[str, Any]]()
    for other in (part for place in others for part in parts_of(place)):
        with opened(other) as source, told_by_database(url):
            if _same(source, url):
                continue
            engine = open_engine(url, write=True)
            with told_by_database(source), open_engine(source, write=False).connect() as theirs:
                keys = [key for key in studies_in(theirs) if study is None or key == (study, profile or "")]
                found = [checked(record_of(theirs, *key), name_of(other)) for key in keys]
                ids = _all_runs(theirs) if study is None else _runs_of(found)
                _copy_first(url, engine, theirs, ids, merged)
                for batch in _batches(ids):
                    with engine.begin() as mine:
                        _join(mine, theirs, batch, name_of(other), merged)
            records += found
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        _join_studies(connection, records)
    return merged


def numbers_of(connection: Connection, run_id: str) -> dict[str, float | str]:
    """What was measured in a run: each measurement, and each packed list of numbers with its scale."""
    found: dict[str, float | str] = {}
    for table in schema.OF_A_RESULT:
        keys = [column.name for column in table.primary_key if column.name != "run_id"]
        for row in connection.execute(select(table).where(table.c.run_id == run_id)).mappings():
            name = " ".join(str(row[key]) for key in keys)
            rest = {column: value for column, value in row.items() if column not in (*keys, "run_id", "value")}
            if "value" in row:
                found[f"{name}"] = float(row["value"])
            else:
                found[f"{table.name} {name}"] = canonical_json(rest)
    return found


def _same(source: str, url: str | Path) -> bool:
    first, second = parse(source), parse(url)
    if {first.get_backend_name(), second.get_backend_name()} == {"sqlite"}:
        return Path(first.database or "").resolve() == Path(second.database or "").resolve()
    return first == second


def _all_runs(connection: Connection) -> list[str]:
    return list(connection.execute(select(schema.runs.c.run_id).order_by(schema.runs.c.run_id)).scalars())


def _runs_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The runs of studies, and those that their trials are made of."""
    ids = {
        id for record in records for id in (*record["runs"], *(id for row in record["trials"] for id in row["runs"]))
    }
    return sorted(ids)


def _batches(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[first : first + BATCH] for first in range(0, len(ids), BATCH))


def _copy_first(url: str | Path, engine: Engine, theirs: Connection, ids: Sequence[str], merged: Merged) -> None:
    """Copies the database, once, before a result of it may be replaced."""
    if merged.copy is not None:
        return
    with open_engine(url, write=False).connect() as mine:
        replaces = any(_replaces(mine, theirs, batch) for batch in _batches(ids))
    if replaces:
        merged.copy = back_up(engine, "merge")


def _replaces(mine: Connection, theirs: Connection, ids: Sequence[str]) -> bool:
    """Whether a result that is here would give way to another."""
    here, there = _standing(mine, ids), _standing(theirs, ids)
    return any(
        here[id].digest is not None and found.order < here[id].order for id, found in there.items() if id in here
    )


def _join(mine: Connection, theirs: Connection, ids: Sequence[str], other: str, merged: Merged) -> None:
    """Joins some runs, in the transaction of `mine`."""
    here, there = _standing(mine, ids), _standing(theirs, ids)
    new = [id for id in there if id not in here]
    taken = []  # runs whose result comes from there
    for id in there:
        if id in new or here[id] == there[id]:
            continue
        first, second = here[id], there[id]
        stays = first.order <= second.order
        if first.digest != second.digest:
            _tell(mine, theirs, id, stays, other, merged, first.state == second.state == "done", second.state)
        if not stays:
            taken.append(id)
    _take_runs(mine, theirs, new, taken, other)
    _take_attempts(mine, theirs, ids)
    merged.added += len(new)


def _tell(
    mine: Connection, theirs: Connection, id: str, stays: bool, other: str, merged: Merged, both: bool, state: str
) -> None:
    """Remembers what becomes of a run that has ended at one place, or differently at two."""
    if not both:
        merged.ended += not stays and state in ("done", "failed")
        return
    differences = _differences(numbers_of(mine, id), numbers_of(theirs, id))
    if not differences:
        merged.twice += 1
        return
    spec = mine.execute(select(schema.runs.c.spec).where(schema.runs.c.run_id == id)).scalar_one()
    merged.conflicts.append(Conflict(id, _said(spec), other, "here" if stays else other, differences))


def _differences(
    here: Mapping[str, float | str], there: Mapping[str, float | str]
) -> list[tuple[str, float | None, float | None]]:
    """What differs; packed lists, of which a person reads nothing, only where no measurement does."""
    names = [name for name in sorted(set(here) | set(there)) if here.get(name) != there.get(name)]
    told = [(name, here.get(name), there.get(name)) for name in names]
    plain = [(name, a, b) for name, a, b in told if not isinstance(a, str) and not isinstance(b, str)]
    return plain or [(name, None, None) for name in names]


def _said(spec: Mapping[str, Any]) -> str:
    """`triplet + semihard on glyphs, seed 0`."""
    parts = [spec[kind]["name"] for kind in ("regularizer", "objective", "miner") if spec.get(kind)]
    return f"{' + '.join(parts)} on {spec['dataset']['name']}, seed {spec['seed']}"


@dataclass(frozen=True)
class _Standing:
    """How a run stands at one place, as far as it decides what becomes of it."""

    state: str
    digest: str | None
    ended: str  # when its result was there first; after all times where nobody knows
    attempts: frozenset[tuple[str, str]]

    @property
    def order(self) -> tuple[int, str, str]:
        """What stands comes first."""
        return -_STATES.index(self.state), self.ended, self.digest or ""


def _standing(connection: Connection, ids: Sequence[str]) -> dict[str, _Standing]:
    runs, table = schema.runs.c, schema.attempts.c
    attempts: dict[str, list[tuple[str, str, str]]] = {}
    query = select(table.run_id, table.attempt, table.ended, table.cause).where(table.run_id.in_(ids))
    for id, attempt, ended, cause in connection.execute(query):
        attempts.setdefault(id, []).append((attempt, ended, cause))
    found = {}
    asked = select(runs.run_id, runs.state, runs.cause, runs.result_digest).where(runs.run_id.in_(ids))
    for id, state, cause, digest in connection.execute(asked.order_by(runs.run_id)):
        own = attempts.get(id, [])
        ended = min((end for _, end, why in own if why == (cause or "done")), default="~")
        found[id] = _Standing(state, digest, ended, frozenset((name, end) for name, end, _ in own))
    return found


def _take_runs(mine: Connection, theirs: Connection, new: Sequence[str], taken: Sequence[str], other: str) -> None:
    """Copies new runs, and the results of those whose end is taken from there."""
    rows = _rows(theirs, schema.runs, [*new, *taken])
    for row in rows:
        if _id_of(row["spec"]) != row["run_id"]:
            raise StoreError(f"{other} is damaged: the spec of run {row['run_id']} is that of another run")
    insert(mine, schema.runs, [{**row, "folder_stamp": None} for row in rows if row["run_id"] in set(new)])
    update, columns = schema.runs.update(), schema.runs.c
    for row in rows:
        if row["run_id"] in set(taken):
            mine.execute(update.where(columns.run_id == row["run_id"]).values({name: row[name] for name in _WHOSE}))
    _take_lists(mine, theirs, [*new, *taken])
    for table in schema.OF_A_RESULT:
        if taken:
            mine.execute(table.delete().where(table.c.run_id.in_(taken)))
        insert(mine, table, _rows(theirs, table, [*new, *taken]))


def _id_of(spec: Any) -> str:
    # Not by RunSpec, which writes in today's defaults: an older spec would become another.
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:16]


def _take_lists(mine: Connection, theirs: Connection, ids: Sequence[str]) -> None:
    """Copies the lists that results refer to and that are not here yet."""
    for shared, table in ((schema.epoch_lists, schema.curves), (schema.class_lists, schema.class_scores)):
        (key,) = shared.primary_key
        used = list(theirs.execute(select(table.c[key.name]).distinct().where(table.c.run_id.in_(ids))).scalars())
        here = set(mine.execute(select(key).where(key.in_(used))).scalars())
        lacking = [name for name in used if name not in here]
        insert(mine, shared, [dict(row) for row in theirs.execute(select(shared).where(key.in_(lacking))).mappings()])


def _take_attempts(mine: Connection, theirs: Connection, ids: Sequence[str]) -> None:
    """Copies the attempts that are not here; of two words on one attempt the later one stands."""
    table = schema.attempts
    here = {(row["run_id"], row["attempt"]): row for row in _rows(mine, table, ids)}
    for row in _rows(theirs, table, ids):
        own = here.get((row["run_id"], row["attempt"]))
        if own is None:
            insert(mine, table, [row])
        elif (own["ended"], canonical_json(own)) < (row["ended"], canonical_json(row)):
            of_attempt = (table.c.run_id == row["run_id"]) & (table.c.attempt == row["attempt"])
            mine.execute(table.update().where(of_attempt).values(row))


def _rows(connection: Connection, table: Table, ids: Sequence[str]) -> list[Row]:
    if not ids:
        return []
    query = select(table).where(table.c.run_id.in_(ids)).order_by(*table.primary_key.columns)
    return [dict(row) for row in connection.execute(query).mappings()]


def _join_studies(connection: Connection, records: Sequence[Mapping[str, Any]]) -> None:
    """Joins what all places say of each study; where that is what the database says already, nothing is written."""
    by_key: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        by_key.setdefault((record["study"], record["profile"]), []).append(dict(record))
    for key, theirs in by_key.items():
        mine = record_of(connection, *key)
        told = combined([mine, *theirs], union=True)
        if canonical_json(told) != canonical_json(mine):
            put_record(connection, told)
