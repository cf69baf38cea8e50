"""The step from version 2 of the tables to version 3: curves and scores of classes packed, more of attempts told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import JSON, Connection, RowMapping, TableClause, column, table, text

from harness.store.files import seconds_between
from harness.store.lists import digest_of_list, epochs_key
from harness.store.packing import pack

Row = dict[str, Any]
Make = Callable[[RowMapping], tuple[Row, Row]]
"""An old row -> the new one, and the list that it refers to, with its key first (empty where there is none)."""

_RUNS = 100
"""Runs that are copied at once."""

_NEW = (
    "alter table attempts add column seconds {double}",
    "alter table attempts add column first_step bigint",
    "alter table attempts add column last_step bigint",
    "create index attempts_as_ended on attempts (run_id, cause, device, seconds)",
    "drop index runs_by_state",
    "create index runs_by_state on runs (state, run_id, dataset, backbone, sampler)",
    "drop index study_runs_by_run",
    "create index study_runs_by_run on study_runs (run_id, study, profile)",
    "create index runs_as_collected on runs (run_id, state, result_digest, folder_stamp)",
    "alter table curves rename to old_curves",
    "alter table spectra rename to old_spectra",
    "alter table class_scores rename to old_class_scores",
    """create table epoch_lists (
        epochs varchar(200) not null /* in short: 1-150, or 5-150:5 for every fifth */,
        numbers json not null /* each of them */,
        primary key (epochs))""",
    """create table curves (
        run_id varchar(16) not null /* whose it is */,
        split varchar(20) not null /* the classes it is measured on: test or train */,
        metric varchar(100) not null /* recall_at_1, map_at_r, nmi, loss, ... */,
        epochs varchar(200) not null /* 1-150: see epoch_lists */,
        scale {double} not null /* by which the packed numbers are divided */,
        numbers text not null /* packed, four characters an epoch: see the view curves_long */,
        primary key (run_id, split, metric),
        foreign key (run_id) references runs (run_id) on delete cascade,
        foreign key (epochs) references epoch_lists (epochs))""",
    """create table spectra (
        run_id varchar(16) not null /* whose it is */,
        split varchar(20) not null /* the classes it is measured on: test or train */,
        selection varchar(20) not null /* which epoch it is: last, best_validation or best_test */,
        epoch integer not null /* number of finished epochs */,
        scale {double} not null /* by which the packed numbers are divided */,
        singular_values text not null /* packed, four characters each: see the view spectra_long */,
        primary key (run_id, split, selection),
        foreign key (run_id) references runs (run_id) on delete cascade)""",
    """create table class_lists (
        class_list varchar(16) not null /* SHA-256 of the names, 64 bits, in hex */,
        names json not null /* of the classes */,
        primary key (class_list))""",
    """create table class_scores (
        run_id varchar(16) not null /* whose it is */,
        split varchar(20) not null /* the classes it is measured on: test or train */,
        metric varchar(100) not null /* recall_at_1, map_at_r, nmi, loss, ... */,
        selection varchar(20) not null /* which epoch it is: last, best_validation or best_test */,
        epoch integer not null /* number of finished epochs */,
        class_list varchar(16) not null /* of whom */,
        scale {double} not null /* by which the packed numbers are divided */,
        scores text not null /* packed, four characters a class: see the view class_scores_long */,
        primary key (run_id, split, metric, selection),
        foreign key (run_id) references runs (run_id) on delete cascade,
        foreign key (class_list) references class_lists (class_list))""",
)

_EPOCH_LISTS = table("epoch_lists", column("epochs"), column("numbers", JSON))
_CLASS_LISTS = table("class_lists", column("class_list"), column("names", JSON))
_CURVES = table("curves", *map(column, ("run_id", "split", "metric", "epochs", "scale", "numbers")))
_SPECTRA = table("spectra", *map(column, ("run_id", "split", "selection", "epoch", "scale", "singular_values")))
_CLASS_SCORES = table(
    "class_scores",
    *map(column, ("run_id", "split", "metric", "selection", "epoch", "class_list", "scale", "scores")),
)


def pack_lists(connection: Connection) -> None:
    """Every number stays what it was: six digits were kept before."""
    server = connection.dialect.name == "postgresql"
    for view in ("leaderboard", "runs_flat"):
        connection.exec_driver_sql(f"drop view if exists {view}")
    # On a server the key of a table keeps its name when the table is renamed, and the new table wants it.
    for name in ("curves", "spectra", "class_scores") if server else ():
        connection.exec_driver_sql(f"alter table {name} drop constraint {name}_pkey")
    for statement in _NEW:
        connection.exec_driver_sql(statement.format(double="double precision" if server else "float"))
    _time_attempts(connection)
    _copy(connection, _CURVES, _EPOCH_LISTS, _curve)
    _copy(connection, _SPECTRA, None, _spectrum)
    _copy(connection, _CLASS_SCORES, _CLASS_LISTS, _score)


def _time_attempts(connection: Connection) -> None:
    update = text("update attempts set seconds = :seconds where run_id = :run_id and attempt = :attempt")
    found = connection.exec_driver_sql("select run_id, attempt, began, ended from attempts").all()
    rows = [{"run_id": row[0], "attempt": row[1], "seconds": seconds_between(row[2], row[3])} for row in found]
    if rows:
        connection.execute(update, rows)


def _copy(connection: Connection, to: TableClause, shared: TableClause | None, make: Make) -> None:
    """Fills a table from the old one, which is dropped, and each list that rows refer to when it is first met."""
    ids = connection.exec_driver_sql(f"select distinct run_id from old_{to.name} order by run_id").scalars().all()
    query = text(f"select * from old_{to.name} where run_id between :first and :last order by run_id")
    known: set[str] = set()
    for first in range(0, len(ids), _RUNS):
        some = ids[first : first + _RUNS]
        found = connection.execute(query, {"first": some[0], "last": some[-1]}).mappings()
        made = [make(row) for row in found]
        if shared is not None:
            lists = {next(iter(of.values())): of for _, of in made}
            _insert(connection, shared, [of for key, of in lists.items() if key not in known])
            known.update(lists)
        _insert(connection, to, [row for row, _ in made])
    connection.exec_driver_sql(f"drop table old_{to.name}")


def _curve(old: RowMapping) -> tuple[Row, Row]:
    epochs, key = _list(old["epochs"]), {name: old[name] for name in ("run_id", "split", "metric")}
    scale, numbers = _packed(_list(old["numbers"]))
    of = {"epochs": epochs_key(epochs), "numbers": epochs}
    return {**key, "epochs": of["epochs"], "scale": scale, "numbers": numbers}, of


def _spectrum(old: RowMapping) -> tuple[Row, Row]:
    key = {name: old[name] for name in ("run_id", "split", "selection", "epoch")}
    scale, numbers = _packed(_list(old["singular_values"]))
    return {**key, "scale": scale, "singular_values": numbers}, {}


def _score(old: RowMapping) -> tuple[Row, Row]:
    scores = _list(old["scores"])
    key = {name: old[name] for name in ("run_id", "split", "metric", "selection", "epoch")}
    scale, numbers = _packed(list(scores.values()))
    of = {"class_list": digest_of_list(list(scores)), "names": list(scores)}
    return {**key, "class_list": of["class_list"], "scale": scale, "scores": numbers}, of


def _packed(values: Sequence[float | None]) -> tuple[float, str]:
    (packed,) = pack(np.array(values, dtype=float), [len(values)])
    return packed.scale, packed.text


def _list(value: Any) -> Any:
    # SQLite gives the text, a server's driver what it says.
    return json.loads(value) if isinstance(value, str) else value


def _insert(connection: Connection, to: TableClause, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(to.insert(), list(rows))
