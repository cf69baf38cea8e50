"""Millions of rows of the database as columns, without an object for each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.store.chosen import Chosen
from harness.store.packing import unpack

WORDS = ("split", "metric", "selection", "epochs", "class_list")
"""Columns with few different texts, which are held once."""


def gathered(parts: Iterable[Sequence[Sequence[Any]]], names: Sequence[str], chosen: Chosen) -> pd.DataFrame:
    """The rows of the chosen runs, run by run in their order; of each row the first value is the run's id.

    `run_id` and WORDS become categories, which take a few bytes a row.
    """
    words: dict[str, dict[str, int]] = {name: {} for name in names if name in WORDS}
    pieces: list[list[NDArray[Any]]] = []
    places: list[NDArray[np.int32]] = []
    for part in parts:
        ids, *columns = zip(*part, strict=True)
        found = np.fromiter((chosen.places.get(run_id, -1) for run_id in ids), dtype=np.int32, count=len(ids))
        kept = found >= 0
        places.append(found[kept])
        pieces.append([_array(values, words.get(name))[kept] for name, values in zip(names[1:], columns, strict=True)])
    place = np.concatenate(places) if places else np.empty(0, dtype=np.int32)
    order = np.argsort(place, kind="stable")
    data: dict[str, Any] = {
        "run_id": pd.Categorical.from_codes(place[order], categories=pd.Index(chosen.ids, dtype=str))
    }
    for at, name in enumerate(names[1:]):
        values = np.concatenate([piece[at] for piece in pieces])[order] if pieces else np.empty(0, dtype=object)
        data[name] = _category(values, words[name]) if name in words else values
    return pd.DataFrame(data)


def with_axes(frame: pd.DataFrame, chosen: Chosen) -> pd.DataFrame:
    """With texts as texts, and the axes and the method of each row's run."""
    places = frame["run_id"].cat.codes.tolist()
    plain = frame.astype({name: "str" for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})
    return pd.concat([plain, pd.DataFrame(chosen.axes(places), index=plain.index)], axis=1)


def unpacked(frame: pd.DataFrame, packed: str, name: str, lists: Mapping[str, NDArray[Any]], key: str) -> pd.DataFrame:
    """A frame with a line for each packed row as one with a line for each number of it.

    Behind the columns that say what the numbers are of stand, under `name`, what the list of `key` says, and `value`.
    """
    values, lengths = unpack(frame[packed].tolist(), frame["scale"].tolist())
    long = frame.drop(columns=[packed, "scale", key]).take(np.repeat(np.arange(len(frame)), lengths))
    parts = [lists[text] for text in frame[key]]
    long[name] = np.concatenate(parts) if parts else np.empty(0, dtype=object)
    return long.assign(value=values).reset_index(drop=True)


def as_lists(frame: pd.DataFrame, plain: bool) -> pd.DataFrame:
    """Spectra with their values in place of what packs them."""
    values, lengths = unpack(frame["singular_values"].tolist(), frame["scale"].tolist())
    parts = np.split(values, np.cumsum(lengths)[:-1]) if len(frame) else []
    lists = pd.Series([part.tolist() for part in parts] if plain else parts, dtype=object, index=frame.index)
    return frame.drop(columns=["singular_values", "scale"]).assign(values=lists)


def _array(values: Sequence[Any], words: dict[str, int] | None) -> NDArray[Any]:
    if words is not None:
        return np.fromiter((words.setdefault(word, len(words)) for word in values), dtype=np.int16, count=len(values))
    if isinstance(values[0], str):
        texts = np.empty(len(values), dtype=object)
        texts[:] = values
        return texts
    return np.asarray(values)


def _category(codes: NDArray[Any], words: Mapping[str, int]) -> pd.Categorical[Any]:
    categories: pd.Index[Any] = pd.Index(list(words), dtype=str)
    return pd.Categorical.from_codes(codes.astype(np.int16), categories=categories)
