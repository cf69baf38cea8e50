"""The runs that a question to the database is about, with what tells them apart.

The seeds of a method share everything but the seed: its spec is parsed, named and flattened once, not once a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.specs import RunSpec
from harness.store.labels import method_labels, varying_paths

_SEED = re.compile(r'"seed":\s*(-?\d+)(?=,\s*"protocol":\s*\d+(?:,\s*"tuned":.*)?\}\s*$)', re.DOTALL)
"""The seed of a run in the text of its spec; a text that is written otherwise is parsed by itself."""


class Chosen:
    """The runs that were asked for: `ids` in order, `paths` of the axes. Made from (run id, spec as JSON text)."""

    def __init__(self, rows: Sequence[tuple[str, str]], everything: bool = False) -> None:
        self.ids = [run_id for run_id, _ in rows]
        self.places = {run_id: place for place, run_id in enumerate(self.ids)}
        self.everything = everything
        numbers: dict[str, int] = {}
        self._specs: list[RunSpec] = []
        self._number: list[int] = []  # of each run: which of the specs is its own but for the seed
        self._seed: list[int] = []
        for _, text in rows:
            match = _SEED.search(text)
            shared = text[: match.start(1)] + text[match.end(1) :] if match else text
            number = numbers.setdefault(shared, len(numbers))
            if number == len(self._specs):
                self._specs.append(RunSpec.from_dict(json.loads(text)))
            self._number.append(number)
            self._seed.append(int(match.group(1)) if match else self._specs[number].seed)
        self.paths = varying_paths(self._specs)
        labels = method_labels(self._specs)
        self._flats: list[dict[str, Any]] = [spec.flat() for spec in self._specs]
        self._methods = [labels[spec.run_id] for spec in self._specs]

    def flats(self) -> Iterable[dict[str, Any]]:
        """For each run every dotted path of its spec."""
        return ({**self._flats[number], "seed": seed} for number, seed in zip(self._number, self._seed, strict=True))

    def configurations(self) -> pd.DataFrame:
        """`run_id` and every dotted path, None where a run has none."""
        paths = list(dict.fromkeys(path for flat in self._flats for path in flat))
        everywhere = range(len(self.ids))
        data = {"run_id": self.ids, **{path: self._column(path, everywhere) for path in paths}}
        return pd.DataFrame({path: pd.Series(values, dtype=object) for path, values in data.items()})

    def axes(self, places: Sequence[int]) -> dict[str, list[Any]]:
        """The columns that say what the runs at these places are: each axis, and the method."""
        columns = {path: self._column(path, places) for path in self.paths}
        return {**columns, "method": [self._methods[self._number[place]] for place in places]}

    def _column(self, path: str, places: Sequence[int]) -> list[Any]:
        if path == "seed":
            return [self._seed[place] for place in places]
        values = [flat.get(path) for flat in self._flats]
        return [values[self._number[place]] for place in places]

    def frame(self, rows: Sequence[Mapping[str, Any]], first: Sequence[str], after: Sequence[str] = ()) -> pd.DataFrame:
        """Rows with a `run_id` as a frame: the columns `first`, the axes, the method, the columns `after`."""
        data = {name: [row.get(name) for row in rows] for name in (*first, *after)}
        data |= self.axes([self.places[row["run_id"]] for row in rows])
        return pd.DataFrame(data, columns=[*first, *self.paths, "method", *after])
