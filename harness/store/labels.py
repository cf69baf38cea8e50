"""What tells the runs of a study apart: their axes, and a readable name for each method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import Any

from harness.specs import KINDS, RunSpec, canonical_json

ALWAYS = (*KINDS, "seed")
"""Axes that every table has, whether they vary or not."""

_IN_THE_NAME = ("dataset", "objective", "miner", "regularizer")
_MISSING = "-"
_DECIDING = {field.name for field in fields(RunSpec)} - {"seed"}

Flat = dict[str, Any]


def varying_paths(specs: Sequence[RunSpec]) -> list[str]:
    """The axes: those of ALWAYS, then each dotted path that has more than one value among the specs that have it."""
    seen: dict[str, set[str]] = {}
    for spec in specs:
        for path, value in spec.flat().items():
            seen.setdefault(path, set()).add(canonical_json(value))
    return [*ALWAYS, *(path for path, values in seen.items() if len(values) > 1 and path not in ALWAYS)]


def method_labels(specs: Sequence[RunSpec]) -> dict[str, str]:
    """run_id -> what the run does, made of what varies among the specs apart from seed and dataset.

    Such as `margin (beta=1.2) + distance_weighted` or `rho(0.35) triplet + semihard`. An option is named where runs of
    one dataset with the same part differ in it. Runs of one dataset that differ in more than the seed have different
    labels; what is needed for that beyond objective, miner and regularizer stands in brackets.
    """
    settings = {spec.run_id: _setting_of(spec) for spec in specs}
    examples = {settings[spec.run_id]: spec for spec in specs}
    labels = _labels({key: spec.flat() for key, spec in examples.items()})
    return {run_id: labels[key] for run_id, key in settings.items()}


def _setting_of(spec: RunSpec) -> tuple[int, ...]:
    """The same for the seeds of one combination, which share its objects: a study of thousands of runs has few."""
    return tuple(id(value) for name, value in vars(spec).items() if name in _DECIDING)


def _labels(flats: dict[Hashable, Flat]) -> dict[Hashable, str]:
    rows = list(flats.values())
    options = {kind: _varying_options(rows, kind) for kind in ("objective", "miner", "regularizer")}
    mined = _objectives_with_several_miners(rows)
    names = {key: _name(flat, options, flat["objective"] in mined) for key, flat in flats.items()}
    return {key: names[key] + rest for key, rest in _rests(flats, names).items()}


def _objectives_with_several_miners(rows: Sequence[Flat]) -> set[str]:
    """The objectives whose miner is worth a word: all, if the study has several; else those with and without."""
    miners: dict[str, set[str]] = defaultdict(set)
    for flat in rows:
        miners[flat["objective"]].add(flat["miner"])
    several = len(set().union(*miners.values()) - {"none"}) > 1
    return {objective for objective, names in miners.items() if several or len(names) > 1}


def _name(flat: Flat, options: dict[str, dict[str, list[str]]], show_miner: bool) -> str:
    objective = str(flat["objective"]) + _listed(flat, "objective", options, " ({})")
    miner, regularizer = flat["miner"], flat["regularizer"]
    before, after = "", ""
    if regularizer != "none":
        before = f"{regularizer}{_listed(flat, 'regularizer', options, '({})')} "
    if miner != "none":
        named = _listed(flat, "miner", options, " ({})")
        after = f" + {miner}{named}" if show_miner or named else ""
    return before + objective + after


def _listed(flat: Flat, kind: str, options: dict[str, dict[str, list[str]]], form: str) -> str:
    """The varying options of a part, such as ` (beta=1.2)`; a regularizer's only one without its name, `(0.35)`."""
    names = options[kind].get(flat[kind], [])
    texts = [_setting(name, flat[f"{kind}.{name}"]) for name in names]
    if kind == "regularizer" and len(names) == 1:
        texts = [_text(flat[f"{kind}.{names[0]}"])]
    return form.format(", ".join(texts)) if texts else ""


def _varying_options(rows: Sequence[Flat], kind: str) -> dict[str, list[str]]:
    """Name of the part -> its options that differ between runs of one dataset."""
    seen: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for flat in rows:
        for path, value in flat.items():
            if path.startswith(f"{kind}."):
                seen[flat[kind], path.partition(".")[2]][_dataset(flat)].add(canonical_json(value))
    varying: dict[str, list[str]] = defaultdict(list)
    for (part, option), by_dataset in seen.items():
        if any(len(values) > 1 for values in by_dataset.values()):
            varying[part].append(option)
    return varying


def _other_paths(rows: Sequence[Flat]) -> list[str]:
    paths = dict.fromkeys(path for flat in rows for path in flat)
    return [path for path in paths if path != "seed" and path.partition(".")[0] not in _IN_THE_NAME]


def _rests(flats: dict[Hashable, Flat], names: dict[Hashable, str]) -> dict[Hashable, str]:
    """For each setting ` [sampler=random, batch_size=56]`: the other options by which those of one name differ."""
    groups: dict[Hashable, tuple[Hashable, ...]] = {key: (_dataset(flat), names[key]) for key, flat in flats.items()}
    rests: dict[Hashable, list[str]] = {key: [] for key in flats}
    for path in _other_paths(list(flats.values())):
        seen: dict[Hashable, set[str]] = defaultdict(set)
        for key, flat in flats.items():
            seen[groups[key]].add(canonical_json(flat.get(path, _MISSING)))
        if all(len(values) == 1 for values in seen.values()):
            continue
        for key, flat in flats.items():
            groups[key] = (*groups[key], canonical_json(flat.get(path, _MISSING)))
            if path in flat:
                rests[key].append(_setting(path.rpartition(".")[2], flat[path]))
    return {key: f" [{', '.join(rest)}]" if rest else "" for key, rest in rests.items()}


def _dataset(flat: Flat) -> str:
    return canonical_json({path: value for path, value in flat.items() if path.partition(".")[0] == "dataset"})


def _setting(name: str, value: Any) -> str:
    return f"{name}={_text(value)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)
