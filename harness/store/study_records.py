"""What the database has of a study that no run folder says, kept beside the report: `results/<study>/study.json`.

Which runs the study has, what the report needs to know of it, its estimates, its trials and the looks at its sealed
test classes. With these files and the run folders `harness db rebuild` makes the whole database again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Table, select

from harness.errors import StoreError
from harness.specs import RunSpec, canonical_json
from harness.store import schema, tuning_tables
from harness.store.engine import log, open_engine, told_by_database
from harness.store.files import make_folder, read_json, write_atomically
from harness.store.labels import method_labels
from harness.store.rows import Row, run_row
from harness.store.spool import run_path

FORMAT = 1
BESIDE: dict[str, Table] = {
    "estimates": schema.estimates,
    "trials": tuning_tables.trials,
    "looks": tuning_tables.looks,
}
"""Tables about a study that are no part of the record of runs."""

BATCH = 500
"""Ids in one statement: databases limit how many values it may carry."""

Record = dict[str, Any]
"""study, profile, question, about, recorded (None where it was only planned), runs (ids in order), rows of BESIDE."""


def keep_study(
    url: str | Path, results_dir: Path | str, study: str, profile: str | None, file: str | None = None
) -> None:
    """Writes down what the database has of a study, in place of what was written before.

    `file` is the text of the study file; without it the one that was kept stays. Raises StoreError.
    """
    path = record_path(results_dir, study, profile)
    # Nobody else records meanwhile, so that the file is never older than the database.
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        record = record_of(connection, study, profile or "")
        lacking = [id for id in record["runs"] if not (run_path(results_dir, id) / "spec.json").exists()]
        specs = {id: spec.to_dict() for id, spec in zip(lacking, _specs(connection, lacking), strict=True)}
        kept = file if file is not None else (read_json(path) or {}).get("file")
        make_folder(path.parent)
        text = json.dumps({"format": FORMAT, **record, "specs": specs, "file": kept}, ensure_ascii=False, indent=1)
        write_atomically(path, text + "\n", durable=True)


def record_path(results_dir: Path | str, study: str, profile: str | None) -> Path:
    """Where the record of a study is."""
    return Path(results_dir, study, f"study-{quote(profile, safe=' ')}.json" if profile else "study.json")


def launched_studies(results_dir: Path | str) -> set[str]:
    """The names of all studies that were ever launched into a results folder, or planned there."""
    return {path.parent.name for path in Path(results_dir).glob("*/study*.json")}


def read_records(results_dir: Path | str) -> Iterator[Record]:
    """The records of all studies of a results folder; one that is damaged is named in a warning and left out."""
    for path in sorted(Path(results_dir).glob("*/study*.json")):
        try:
            record = read_record(path)
        except StoreError as error:
            log.warning("a study is left out: %s", error)
            continue
        if record is not None:
            yield record


def read_record(path: Path) -> Record | None:
    """A record, also with `specs` (of runs without a folder) and `file`; None where there is none.

    Raises StoreError for a file that is no such record.
    """
    found = read_json(path)
    if found is None:
        return None
    try:
        if found["format"] != FORMAT:
            raise StoreError(f"{path} has format {found['format']!r}; this version of harness reads format {FORMAT}")
        record = {name: found[name] for name in _KINDS}
        wrong = [name for name, kind in _KINDS.items() if not isinstance(record[name], kind)]
        if wrong or not all(isinstance(id, str) for id in record["runs"]):
            raise TypeError(", ".join(wrong or ["runs"]))
        return checked(record, str(path))
    except (KeyError, TypeError) as error:
        raise StoreError(f"{path} is not the record of a study ({type(error).__name__} {error}); delete it") from error


def checked(record: Record, place: str) -> Record:
    """The record as it is.

    Raises StoreError where study or profile could not be the name of a folder: reports are written to folders of their
    names, and a record may come from somebody else.
    """
    for name in (record["study"], record["profile"]):
        if re.search(r"[/\\\0]", name) or name in (".", "..") or len(name) > _LONGEST_NAME:
            raise StoreError(f"{place} has a study that is named {name!r}, which cannot be the name of a folder")
    return record


_LONGEST_NAME = 200
_TEXT = (str, type(None))
_KINDS: dict[str, Any] = {
    "study": str,
    "profile": str,
    "question": _TEXT,
    "about": dict,
    "recorded": _TEXT,
    "runs": list,
    **dict.fromkeys(BESIDE, list),
    "specs": dict,
    "file": _TEXT,
}


def record_of(connection: Connection, study: str, profile: str) -> Record:
    """What the database has of a study; `profile` is empty for the study without one."""
    studies, members = schema.studies, schema.study_runs
    row = connection.execute(_of(studies, study, profile)).mappings().first()
    query = _of(members, study, profile).order_by(members.c.position)
    return {
        "study": study,
        "profile": profile,
        "question": row["question"] if row else None,
        "about": dict(row["about"]) if row else {},
        "recorded": row["recorded"] if row else None,
        "runs": [member["run_id"] for member in connection.execute(query).mappings()],
        **{name: _beside(connection, table, study, profile) for name, table in BESIDE.items()},
    }


def studies_in(connection: Connection) -> list[tuple[str, str]]:
    """Study and profile of all that the database has something of."""
    tables = (schema.studies, *BESIDE.values())
    found = {
        (study, profile)
        for table in tables
        for study, profile in connection.execute(select(table.c.study, table.c.profile).distinct())
    }
    return sorted(found)


def put_record(connection: Connection, record: Mapping[str, Any]) -> None:
    """Makes the database say of a study what the record says.

    Runs that the database does not have are left out and named in a warning.
    """
    key = {"study": record["study"], "profile": record["profile"]}
    there = known_runs(connection, record["runs"])
    ids = [id for id in dict.fromkeys(record["runs"]) if id in there]
    if len(ids) < len(record["runs"]):
        missing = len(record["runs"]) - len(ids)
        log.warning("%d runs of study %s are left out: nothing says what they are", missing, record["study"])
    for table in (schema.study_runs, schema.studies, *BESIDE.values()):
        connection.execute(table.delete().where(table.c.study == key["study"], table.c.profile == key["profile"]))
    if record["recorded"] is not None:
        told = {name: record[name] for name in ("question", "about", "recorded")}
        insert(connection, schema.studies, [{**key, **told}])
        insert(connection, schema.study_runs, _members(connection, key, ids))
    for name, table in BESIDE.items():
        insert(connection, table, [{**key, **row} for row in record[name]])


def restore_studies(connection: Connection, results_dir: Path | str) -> None:
    """Brings the records of a results folder into the database, once the runs are there.

    What the database says of a study stays where it is the later word.
    """
    for found in read_records(results_dir):
        specs = _sound(found)
        lacking = set(specs) - known_runs(connection, list(specs))
        insert(connection, schema.runs, [run_row(specs[id]) for id in sorted(lacking)])
        put_record(connection, combined([record_of(connection, found["study"], found["profile"]), found], union=False))


def combined(records: Sequence[Record], *, union: bool) -> Record:
    """What several records of one study say together, whatever their order.

    The record of the last launch comes first; with `union` the runs that only others have follow, without it only its
    own runs are the study's. Of two estimates of a run the later one stands, of the trials of a method those of the
    longer search. All looks at the test stay, numbered by when they began.
    """
    first, *others = sorted(
        records, key=lambda record: (record["recorded"] or "", canonical_json(record)), reverse=True
    )
    runs = [id for record in (first, *(others if union else ())) for id in record["runs"]]
    return {
        **{name: first[name] for name in ("study", "profile", "question", "about", "recorded")},
        "runs": list(dict.fromkeys(runs)),
        "estimates": _estimates(records),
        "trials": _trials(records),
        "looks": _looks(records),
    }


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Inserts rows, if there are any."""
    if rows:
        connection.execute(table.insert(), list(rows))


def known_runs(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the runs that the database has."""
    table, found = schema.runs, set[str]()
    for first in range(0, len(ids), BATCH):
        query = select(table.c.run_id).where(table.c.run_id.in_(ids[first : first + BATCH]))
        found.update(connection.execute(query).scalars())
    return found


def _estimates(records: Sequence[Record]) -> list[Row]:
    found: dict[str, Row] = {}
    for row in sorted((row for record in records for row in record["estimates"]), key=_when("planned")):
        found[row["run_id"]] = row
    return [found[run_id] for run_id in sorted(found)]


def _trials(records: Sequence[Record]) -> list[Row]:
    by_method: dict[str, list[list[Row]]] = {}
    for record in records:
        own: dict[str, list[Row]] = {}
        for row in record["trials"]:
            own.setdefault(row["method"], []).append(row)
        for method, rows in own.items():
            by_method.setdefault(method, []).append(sorted(rows, key=lambda row: int(row["trial"])))
    longest = {
        method: max(found, key=lambda rows: (len(rows), canonical_json(rows))) for method, found in by_method.items()
    }
    return [row for method in sorted(longest) for row in longest[method]]


def _looks(records: Sequence[Record]) -> list[Row]:
    found: dict[str, Row] = {}
    for row in (row for record in records for row in record["looks"]):
        key = canonical_json({name: value for name, value in row.items() if name not in ("look", "ended")})
        ends = [look["ended"] for look in (row, found.get(key, row)) if look["ended"]]
        found[key] = {**row, "ended": min(ends, default=None)}
    rows = sorted(found.values(), key=_when("began"))
    return [{**row, "look": number} for number, row in enumerate(rows, 1)]


def _when(name: str) -> Any:
    return lambda row: (row[name], canonical_json({key: row[key] for key in row if key not in ("look", "ended")}))


def _members(connection: Connection, key: Mapping[str, str], ids: Sequence[str]) -> list[Row]:
    specs = _specs(connection, ids)
    labels = method_labels(specs)
    return [
        {**key, "run_id": id, "position": position, "method": labels[spec.run_id]}
        for position, (id, spec) in enumerate(zip(ids, specs, strict=True))
    ]


def _specs(connection: Connection, ids: Sequence[str]) -> list[RunSpec]:
    table, found = schema.runs, {}
    for first in range(0, len(ids), BATCH):
        query = select(table.c.run_id, table.c.spec).where(table.c.run_id.in_(ids[first : first + BATCH]))
        found.update({id: RunSpec.from_dict(spec) for id, spec in connection.execute(query)})
    return [found[id] for id in ids]


def _sound(record: Record) -> dict[str, RunSpec]:
    """The specs of a record that are what their ids say."""
    found = {}
    for id, text in record["specs"].items():
        try:
            spec = RunSpec.from_dict(text)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if spec.run_id == id:
            found[id] = spec
    return found


def _of(table: Table, study: str, profile: str) -> Any:
    return select(table).where(table.c.study == study, table.c.profile == profile)


def _beside(connection: Connection, table: Table, study: str, profile: str) -> list[Row]:
    query = _of(table, study, profile).order_by(*table.primary_key.columns)
    rows = connection.execute(query).mappings()
    return [{name: value for name, value in row.items() if name not in ("study", "profile")} for row in rows]
