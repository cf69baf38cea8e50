"""Tables for other programs: text, or Parquet with its types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pandas as pd

from harness.errors import EnvironmentLacks, StudyError, did_you_mean
from harness.store.frames import Database

TABLES = ("runs", "measurements", "curves", "spectra", "class_scores", "attempts", "estimates", "studies")
FORMS = ("csv", "json", "parquet")


def write_table(
    url: str | Path,
    table: str,
    form: str,
    stream: TextIO | BinaryIO,
    study: str | None = None,
    profile: str | None = None,
) -> None:
    """Writes one of TABLES in one of FORMS, parquet to a binary stream.

    Raises StudyError when it is none of them, or the study is not known; EnvironmentLacks without pyarrow for parquet.
    """
    if table not in TABLES:
        raise StudyError(f"there is no table {table!r}{did_you_mean(table, TABLES)}")
    if form not in FORMS:
        raise StudyError(f"there is no format {form!r}{did_you_mean(form, FORMS)}")
    database = Database(url)
    if table == "studies":
        frame = database.studies()
        frame = frame if study is None else frame[frame["study"] == study]
    else:
        read: Callable[..., pd.DataFrame] = getattr(database, table)
        frame = read(study, profile=profile)
    _WRITERS[form](frame, stream)


def _write_csv(frame: pd.DataFrame, stream: TextIO) -> None:
    structured = [name for name in frame.columns if frame[name].map(lambda value: isinstance(value, list | dict)).any()]
    texts = {name: [_json(value) for value in frame[name]] for name in structured}
    frame.assign(**texts).to_csv(stream, index=False, lineterminator="\n")


def _write_json(frame: pd.DataFrame, stream: TextIO) -> None:
    # One record a line: readable, and a program may take the lines one by one.
    separator = "[\n"
    for record in frame.to_dict("records"):
        stream.write(separator + _json({str(key): _plain(value) for key, value in record.items()}))
        separator = ",\n"
    stream.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_parquet(frame: pd.DataFrame, stream: BinaryIO) -> None:
    if find_spec("pyarrow") is None:
        raise EnvironmentLacks("Parquet needs pyarrow: pip install 'harness[parquet]'; or use --format csv")
    frame.assign(**{str(name): _of_one_type(frame[name]) for name in frame.columns}).to_parquet(stream, index=False)


def _of_one_type(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of Parquet has one type: where there are several, or mappings, each value is its JSON."""
    if column.dtype != object:
        return column
    types = {type(value) for value in column if value is not None and value is not pd.NA}
    if types <= {int, float}:
        return column.astype(float) if float in types or column.isna().any() else column.astype("int64")
    numbers = types == {list} and all(type(item) in (int, float) for value in column for item in value or ())
    if len(types) == 1 and (types <= {str, bool} or numbers):
        return column
    texts = [None if value is None or value is pd.NA else _json(value) for value in column]
    return pd.Series(texts, index=column.index, dtype=object)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """JSON has neither nan nor the numbers of numpy."""
    if hasattr(value, "item"):
        value = value.item()
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value


_WRITERS: dict[str, Callable[[pd.DataFrame, Any], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
