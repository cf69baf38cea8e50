"""A run folder as rows of the database. What is damaged or hostile is refused here, as a whole."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Table

from harness.errors import StoreError
from harness.specs import KINDS, ClassScores, Curve, RunResult, RunSpec, Spectrum
from harness.store import schema
from harness.store.files import read_file, seconds_between, told_as
from harness.store.lists import digest_of_list, epochs_key
from harness.store.packing import Floats, pack
from harness.store.results import digest_of, parse_result
from harness.store.spool import RunFolder

Row = dict[str, Any]


class Known(NamedTuple):
    """What the database has of a run."""

    state: str
    digest: str | None
    stamp: str | None


@dataclass(frozen=True)
class Found:
    """What is new in a run folder: the row of the run, its attempts, and the rows of its result if that is new."""

    run: Row
    attempts: list[Row]
    result: dict[str, list[Row]] | None  # name of the table -> rows; None leaves what the database has
    before: str | None  # the stamp that the database had when we looked

    @property
    def run_id(self) -> str:
        """Whose rows these are."""
        return str(self.run["run_id"])


def is_unchanged(path: str, known: Known | None) -> bool:
    """Whether the folder of a run that has ended looks as it did when it was last read: what most folders do."""
    if known is None or known.stamp is None or known.stamp.startswith("-"):
        return False
    try:
        return _stamp(path) == known.stamp
    except OSError:
        return False  # `look` tells what is wrong


def look(folder: RunFolder, known: Known | None) -> Found | None:
    """What the database lacks of this folder, or None when it has everything, or there is no folder.

    Raises StoreError when the folder is damaged.
    """
    # The stamp is taken before the files are read: what changes while we read has another stamp the next time.
    with told_as("look at", folder.path):
        stamp = _stamp(str(folder.path))
    if stamp is None:
        return None
    ended = not stamp.startswith("-")
    if known and known.stamp == stamp and (ended or known.state in ("done", folder.state())):
        return None
    return _read(folder, known, stamp, ended)


def _read(folder: RunFolder, known: Known | None, stamp: str, ended: bool) -> Found | None:
    spec = folder.read_spec()
    attempts = [_storable(row, folder.attempts_path) for row in _attempt_rows(folder)]
    before = known.stamp if known else None
    if ended:
        text = _bytes(folder.result_path)
        result = parse_result(text, folder.result_path, folder.run_id)
        digest = digest_of(text)
        ended_so = _storable(_ended(result), folder.result_path)
        run = {**run_row(spec), **ended_so, "result_digest": digest, "folder_stamp": stamp}
        rows = _result_rows(result, folder.result_path)
        return Found(run, attempts, None if known and known.digest == digest else rows, before)
    if known and known.state == "done":
        # A result that was collected outlives the loss of its file; only `rebuild` forgets it.
        return Found({"run_id": folder.run_id, "folder_stamp": stamp}, attempts, None, before)
    return Found({**run_row(spec), "state": folder.state(), "folder_stamp": stamp}, attempts, {}, before)


def _storable(row: Row, path: Path) -> Row:
    """The row; StoreError for what no database takes: it would keep all other runs out, too."""
    for name, value in row.items():
        if not (isinstance(value, dict) if name in ("cost", "provenance") else _fits(value)):
            raise StoreError(f"{path} is damaged: a database cannot keep its {name}, {repr(value)[:60]}")
    return row


def _fits(value: object) -> bool:
    if isinstance(value, str):
        return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and abs(value) < 2**63)


def run_row(spec: RunSpec) -> Row:
    """The row of a run of which nothing but its spec is known."""
    flat = spec.flat()
    return {
        "run_id": spec.run_id,
        **{kind: flat[kind] for kind in KINDS},
        "seed": spec.seed,
        "state": "pending",
        "cause": None,
        "message": None,
        "traceback": None,
        "spec": spec.to_dict(),
        "cost": {},
        "provenance": {},
        "result_digest": None,
        "folder_stamp": None,
    }


def _ended(result: RunResult) -> Row:
    return {
        "state": result.state,
        "cause": result.cause,
        "message": result.message,
        "traceback": result.traceback,
        "cost": dict(result.cost),
        "provenance": dict(result.provenance),
    }


def _attempt_rows(folder: RunFolder) -> list[Row]:
    return [
        {
            "run_id": folder.run_id,
            "attempt": attempt.name,
            "began": attempt.begin,
            "ended": attempt.end,
            "cause": attempt.cause,
            "host": attempt.host,
            "device": attempt.device,
            "pid": attempt.pid,
            "git_commit": attempt.provenance.get("commit"),
            "provenance": dict(attempt.provenance),
            "seconds": seconds_between(attempt.begin, attempt.end),
            "first_step": attempt.first_step,
            "last_step": attempt.last_step,
        }
        for attempt in folder.attempts()
    ]


def _result_rows(result: RunResult, path: Path) -> dict[str, list[Row]]:
    key = {"run_id": result.run_id}
    try:
        rows: dict[Table, list[Row]] = {
            schema.measurements: [
                {**key, "split": m.split, "metric": m.metric, "selection": m.selection, "epoch": m.epoch,
                 "value": _number(m.value)}
                for m in result.measurements
            ],
            **_curve_rows(key, result.curves),
            schema.spectra: _spectrum_rows(key, result.spectra),
            **_class_score_rows(key, result.class_scores),
        }  # fmt: skip
        for table in schema.OF_A_RESULT:
            _check_keys(rows[table], [column.name for column in table.primary_key])
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise StoreError(f"{path} holds a value that is no result: {error}") from error
    return {table.name: of_table for table, of_table in rows.items()}


def _check_keys(rows: Iterable[Row], key: list[str]) -> None:
    """Every name is a text, every epoch a whole number, and no number is given twice."""
    seen = set()
    for row in rows:
        names = tuple(row[name] for name in key)
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"{names} has a name that is no text")
        if names in seen:
            raise ValueError(f"{', '.join(names[1:])} is there twice")
        if "epoch" in row and type(row["epoch"]) is not int:
            raise ValueError(f"the epoch of {', '.join(names[1:])} is {row['epoch']!r}")
        seen.add(names)


def _curve_rows(key: Row, curves: Sequence[Curve]) -> dict[Table, list[Row]]:
    """The rows of all curves, and of the lists of epochs that they refer to."""
    for curve in curves:
        if len(curve.epochs) != len(curve.values) or not set(map(type, curve.epochs)) <= {int}:
            raise ValueError(f"the curve of {curve.metric} on {curve.split} does not have one epoch for each value")
    values = _numbers([value for curve in curves for value in curve.values], {float, int, type(None)})
    shared = {tuple(curve.epochs): "" for curve in curves}
    shared = {epochs: epochs_key(epochs) for epochs in shared}
    rows = [
        {**key, "split": curve.split, "metric": curve.metric, "epochs": shared[tuple(curve.epochs)],
         "scale": packed.scale, "numbers": packed.text}
        for curve, packed in zip(curves, pack(values, [len(curve.values) for curve in curves]), strict=True)
    ]  # fmt: skip
    lists = [{"epochs": name, "numbers": list(epochs)} for epochs, name in shared.items()]
    return {schema.epoch_lists: lists, schema.curves: rows}


def _class_score_rows(key: Row, scores: Sequence[ClassScores]) -> dict[Table, list[Row]]:
    """The rows of all scores of classes, and of the lists of classes that they refer to."""
    values = _numbers([value for each in scores for value in each.scores.values()], {float, int})
    shared = {tuple(each.scores): "" for each in scores}
    shared = {names: digest_of_list(names) for names in shared}
    rows = [
        {**key, "split": each.split, "metric": each.metric, "selection": each.selection, "epoch": each.epoch,
         "class_list": shared[tuple(each.scores)], "scale": packed.scale, "scores": packed.text}
        for each, packed in zip(scores, pack(values, [len(each.scores) for each in scores]), strict=True)
    ]  # fmt: skip
    lists = [{"class_list": digest, "names": list(names)} for names, digest in shared.items()]
    return {schema.class_lists: lists, schema.class_scores: rows}


def _spectrum_rows(key: Row, spectra: Sequence[Spectrum]) -> list[Row]:
    values = _numbers([value for each in spectra for value in each.values], {float, int})
    return [
        {**key, "split": each.split, "selection": each.selection, "epoch": each.epoch,
         "scale": packed.scale, "singular_values": packed.text}
        for each, packed in zip(spectra, pack(values, [len(each.values) for each in spectra]), strict=True)
    ]  # fmt: skip


def _numbers(values: list[Any], types: set[type]) -> Floats:
    """Numbers of these types (JSON's true is another) as an array, None as nan; ValueError for what is not finite."""
    found = np.array(values, dtype=float) if set(map(type, values)) <= types else None
    # JSON has no nan, but 1e999 becomes infinite.
    if found is None or np.isinf(found).any():
        wrong = next(value for value in values if type(value) not in types or (value and math.isinf(value)))
        raise ValueError(f"{wrong!r} is not a finite number")
    return found


def _number(value: Any) -> float:
    # JSON's true is an int to isinstance.
    if type(value) in (float, int) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{value!r} is not a finite number")


def _bytes(path: Path) -> bytes:
    with told_as("read", path):
        return read_file(path)


def _stamp(path: str) -> str | None:
    """`<size>.<time>` of the result, or `-`, then the time of the attempts; None when there is no run."""
    result, attempts = _status(f"{path}/result.json"), _status(f"{path}/attempts")
    if result is None and attempts is None and not os.path.isdir(path):
        return None
    front = f"{result.st_size}.{result.st_mtime_ns}" if result else "-"
    return f"{front}.{attempts.st_mtime_ns if attempts else 0}"


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
