"""What tells the runs of a study apart: their axes, and a readable name for each method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from harness.specs import KINDS, RunSpec, canonical_json

ALWAYS = (*KINDS, "seed")
"""Axes that every table has, whether they vary or not."""

_IN_THE_NAME = ("dataset", "objective", "miner", "regularizer")
_NO_METHOD = "tuned"
"""What a run does in a tuned study (which fold, whose weights) is no part of what its method is called."""
_MISSING = "-"
_DECIDING = {field.name for field in fields(RunSpec)} - {"seed"}

Flat = dict[str, Any]


def varying_paths(specs: Sequence[RunSpec]) -> list[str]:
    """The axes: those of ALWAYS, then each dotted path that has more than one value among the specs that have it."""
    seen: dict[str, set[str]] = {}
    for spec in specs:
        for path, value in _flat(spec).items():
            seen.setdefault(path, set()).add(canonical_json(value))
    return [*ALWAYS, *(path for path, values in seen.items() if len(values) > 1 and path not in ALWAYS)]


def method_labels(specs: Sequence[RunSpec]) -> dict[str, str]:
    """run_id -> what the run does, made of what varies among the specs apart from seed and dataset.

    Such as `margin (beta=1.2) + distance_weighted` or `rho(0.35) triplet + semihard`. An option is named where runs of
    one dataset with the same part differ in it and the options before it do not tell them apart. Runs of one dataset
    that differ in more than the seed have different labels; what is needed for that beyond objective, miner and
    regularizer stands in brackets.
    """
    settings = {spec.run_id: _setting_of(spec) for spec in specs}
    examples = {settings[spec.run_id]: spec for spec in specs}
    labels = _labels({key: _flat(spec) for key, spec in examples.items()})
    return {run_id: labels[key] for run_id, key in settings.items()}


def _flat(spec: RunSpec) -> Flat:
    flat = {path: value for path, value in spec.flat().items() if path.partition(".")[0] != _NO_METHOD}
    if spec.tuned:
        # Folds, final runs and looks are measured on different classes: all are one method.
        measured = ("evaluation.test", "evaluation.train")
        flat = {path: value for path, value in flat.items() if not path.startswith(measured)}
    return flat


def _setting_of(spec: RunSpec) -> tuple[int, ...]:
    """The same for the seeds of one combination, which share its objects: a study of thousands of runs has few."""
    return tuple(id(value) for name, value in vars(spec).items() if name in _DECIDING)


def _labels(flats: dict[Hashable, Flat]) -> dict[Hashable, str]:
    rows = list(flats.values())
    told = {kind: _options_told(flats, kind) for kind in ("objective", "miner", "regularizer")}
    mined = _objectives_with_several_miners(rows)
    names = {
        key: _name(flat, {kind: options[key] for kind, options in told.items()}, flat["objective"] in mined)
        for key, flat in flats.items()
    }
    return {key: names[key] + rest for key, rest in _rests(flats, names).items()}


def _objectives_with_several_miners(rows: Sequence[Flat]) -> set[str]:
    """The objectives whose miner is worth a word: all, if the study has several; else those with and without."""
    miners: dict[str, set[str]] = defaultdict(set)
    for flat in rows:
        miners[flat["objective"]].add(flat["miner"])
    several = len(set().union(*miners.values()) - {"none"}) > 1
    return {objective for objective, names in miners.items() if several or len(names) > 1}


def _name(flat: Flat, options: dict[str, list[str]], show_miner: bool) -> str:
    """`options` are the texts of each kind's options that are told."""
    objective, miner, regularizer = str(flat["objective"]), flat["miner"], flat["regularizer"]
    before, after = "", ""
    if regularizer != "none":
        before = f"{regularizer}{_listed(options['regularizer'], '({})')} "
    if miner != "none":
        named = _listed(options["miner"], " ({})")
        after = f" + {miner}{named}" if show_miner or named else ""
    return before + objective + _listed(options["objective"], " ({})") + after


def _listed(texts: list[str], form: str) -> str:
    return form.format(", ".join(texts)) if texts else ""


def _options_told(flats: dict[Hashable, Flat], kind: str) -> dict[Hashable, list[str]]:
    """For each setting the options of its part that are told, such as `beta=1.2`.

    Where a regularizer is always told by one and the same option, that goes without its name: `0.35`.
    """
    told: dict[Hashable, list[str]] = {}
    for part in dict.fromkeys(flat[kind] for flat in flats.values()):
        own = {key: flat for key, flat in flats.items() if flat[kind] == part}
        options = list(dict.fromkeys(path for flat in own.values() for path in flat if path.startswith(f"{kind}.")))
        telling = _telling(own, {key: _dataset(flat) for key, flat in own.items()}, options)
        bare = kind == "regularizer" and len({path for paths in telling.values() for path in paths}) == 1
        for key, paths in telling.items():
            texts = [_setting(path.partition(".")[2], own[key][path]) for path in paths if path in own[key]]
            told[key] = [text.partition("=")[2] for text in texts] if bare else texts
    return told


def _telling(
    flats: Mapping[Hashable, Flat], datasets: Mapping[Hashable, str], paths: Sequence[str]
) -> dict[Hashable, list[str]]:
    """For each setting the first of the paths that are needed to tell it from the others of its dataset."""
    for place, path in enumerate(paths):
        seen: dict[str, set[str]] = defaultdict(set)
        groups: dict[str, dict[Hashable, Flat]] = defaultdict(dict)
        for key, flat in flats.items():
            value = canonical_json(flat.get(path, _MISSING))
            seen[datasets[key]].add(value)
            groups[value][key] = flat
        if any(len(values) > 1 for values in seen.values()):
            later = paths[place + 1 :]
            deeper = [_telling(group, datasets, later) for group in groups.values()]
            return {key: [path, *more] for found in deeper for key, more in found.items()}
    return {key: [] for key in flats}


def _rests(flats: dict[Hashable, Flat], names: dict[Hashable, str]) -> dict[Hashable, str]:
    """For each setting ` [sampler=random, batch_size=56]`: the other options by which those of one name differ."""
    paths = dict.fromkeys(path for flat in flats.values() for path in flat)
    others = [path for path in paths if path != "seed" and path.partition(".")[0] not in _IN_THE_NAME]
    rests: dict[Hashable, str] = {}
    for name in dict.fromkeys(names.values()):
        own = {key: flat for key, flat in flats.items() if names[key] == name}
        for key, telling in _telling(own, {key: _dataset(flat) for key, flat in own.items()}, others).items():
            texts = [_setting(path.rpartition(".")[2], own[key][path]) for path in telling if path in own[key]]
            rests[key] = _listed(texts, " [{}]")
    return rests


def _dataset(flat: Flat) -> str:
    return canonical_json({path: value for path, value in flat.items() if path.partition(".")[0] == "dataset"})


def _setting(name: str, value: Any) -> str:
    return f"{name}={_text(value)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)
