"""Comparing what two trainings of one run have left: bit for bit, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.store.spool import RunFolder

EVIDENCE = "evidence.npz"


@dataclass(frozen=True)
class Compared:
    """One part of two states: how many values it holds, how many of them differ, and how."""

    part: str
    values: int
    differing: int
    note: str = ""


def what_differs(parts: Sequence[Compared]) -> list[str]:
    """The names of the parts that differ."""
    return [part.part for part in parts if part.differing]


def compare(first: RunFolder, second: RunFolder) -> list[Compared]:
    """Everything that two finished runs know at their end, and all numbers of their results."""
    mine, theirs = _everything(first), _everything(second)
    return [_compare(name, mine.get(name, {}), theirs.get(name, {})) for name in dict.fromkeys([*mine, *theirs])]


def explain(first: RunFolder, second: RunFolder) -> list[str]:
    """The attributes of parts that a checkpoint does not hold and that differ at the end; one line each."""
    from harness.verify.state import read_state

    mine, theirs = (read_state(folder.path) for folder in (first, second))
    return list(_suspects(mine, theirs))


def _suspects(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for part, values in mine["beside"].items():
        other = theirs["beside"].get(part, {})
        for path in dict.fromkeys([*values, *other]):
            if values.get(path) != other.get(path):
                saved = "which its state_dict does not restore" if part in mine["parts"] else "and it has no state_dict"
                now, before = other.get(path, "missing"), values.get(path, "missing")
                yield f"{path} is {now} at the end, undisturbed it is {before}; no checkpoint holds it, {saved}"


def _everything(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Part -> path -> leaf."""
    import numpy as np

    from harness.verify.state import flattened, read_state

    state, result = read_state(folder.path), folder.read_result()
    assert result is not None
    found = {name: dict(flattened(value)) for name, value in state["parts"].items()}
    found |= {name: dict(flattened(value)) for name, value in state["history"].items()}
    plain = result.to_dict()
    for name, keys in _NUMBERS.items():
        rows = {" ".join(str(row[key]) for key in keys): row for row in plain[name]}
        found[name.replace("_", " ")] = dict(flattened(rows))
    if (folder.path / EVIDENCE).exists():
        with np.load(folder.path / EVIDENCE, allow_pickle=False) as arrays:
            found["evidence"] = dict(arrays)
    return found


_NUMBERS = {
    "measurements": ("split", "metric", "selection"),
    "spectra": ("split", "selection"),
    "class_scores": ("split", "metric", "selection"),
}


def _compare(name: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Compared:
    from harness.verify.state import digest

    paths = list(dict.fromkeys([*mine, *theirs]))
    differing = [
        path for path in paths if path not in mine or path not in theirs or digest(mine[path]) != digest(theirs[path])
    ]
    return Compared(name, len(paths), len(differing), _note(name, differing, mine, theirs))


def _note(name: str, differing: Sequence[str], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    from harness.verify.state import distance, larger

    if not differing:
        return ""
    if name == "curves":
        return f"from epoch {min(int(path.rpartition('.')[2]) for path in differing)} on"
    largest = None
    for path in differing:
        largest = larger(largest, distance(mine.get(path), theirs.get(path)))
    return f"such as {differing[0]}" + ("" if largest is None else f"; by {largest:.2g} at most")
