"""Reading and checking the section `tune`: every range is one that the options of the study's parts can take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from harness.errors import OptionError, did_you_mean
from harness.registry import DATASETS, METRICS
from harness.specs import KINDS, Optimizer, RunSpec, canonical_json
from harness.study.mistakes import Mistakes
from harness.study.resolve import option_names
from harness.study.schema import explain, record
from harness.study.source import Node, describe
from harness.study.tune import Dimension, Tune, TuneSection, grid_size, with_values
from harness.training.folds import folds_problem

SEARCHED = ("objective", "miner", "regularizer", "sampler", "optimizer")
FORMS = ("log", "uniform", "int", "choice")
MAX_POINTS = 10_000  # of a range in a grid: as many as a method may have trials
NO_BETTER = ("density", "spectrum")
"""Families that describe embeddings: of their numbers a higher one is not a better one."""


@dataclass(frozen=True)
class TuneNode:
    """What file, profile and command line say about tuning, by key; `node` is where."""

    node: Node
    keys: Mapping[str, Node]


def read_tune(said: TuneNode | None, specs: Sequence[RunSpec], mistakes: Mistakes) -> Tune | None:
    """The tuning of the runs that a study asks for; None, with what is wrong recorded, where it cannot be.

    Without runs, because something else is wrong with the study, only the section itself is checked.
    """
    if said is None:
        return None
    before = len(mistakes)
    good = {key: node for key, node in said.keys.items() if _valid(key, node)}
    section = TuneSection(**{key: node.plain() for key, node in good.items() if key != "space"})
    if "trials" not in said.keys:
        mistakes.add(said.node.label, "`tune` needs the number of trials that each method gets, as in `trials: 16`")
    methods = methods_of(specs)
    dimensions = _dimensions(good.get("space"), said, methods, mistakes)
    tune = Tune(section, tuple(dimensions))
    if methods:
        _check_folds(tune, said, methods, mistakes)
        _check_metric(tune, said, methods, mistakes)
    if methods and len(mistakes) == before:
        _check_methods(tune, said, methods, mistakes)
    return tune if len(mistakes) == before else None


def methods_of(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """One run a method, that of seed 0 whether the study has it or not, in the order of the study."""
    return list({spec.run_id: spec for spec in (replace(spec, seed=0) for spec in specs)}.values())


def _valid(key: str, node: Node) -> bool:
    aside = Mistakes("tune")
    return key in TuneSection.model_fields and record(TuneSection, Node({key: node}, node.place), aside, "") is not None


# The space ------------------------------------------------------------------------------------------------------------


def _dimensions(space: Node | None, said: TuneNode, methods: list[RunSpec], mistakes: Mistakes) -> list[Dimension]:
    if space is None or not space.value:
        where = space or said.node
        mistakes.add(where.label, "`tune` needs a `space` to search, as in `optimizer: {lr: {log: [1e-4, 1e-2]}}`")
        return []
    found = []
    for kind, node in space.value.items():
        if kind not in SEARCHED:
            mistakes.add(node.label, f"{kind!r} cannot be tuned{did_you_mean(kind, SEARCHED)}")
        elif not isinstance(node.value, dict):
            mistakes.add(node.place, f"{kind}: should be a mapping, not {describe(node.value)}")
        elif kind == "optimizer":
            found += _options((kind,), node, tuple(Optimizer.model_fields), methods, mistakes)
        else:
            for name, options in node.value.items():
                found += _of_part(kind, name, options, methods, mistakes)
    return found


def _of_part(kind: str, name: str, node: Node, methods: list[RunSpec], mistakes: Mistakes) -> list[Dimension]:
    parts = {getattr(spec, kind).name for spec in methods if getattr(spec, kind)}
    if methods and name not in parts:
        mistakes.add(node.label, f"no run of this study has the {kind} {name!r}{did_you_mean(name, parts)}")
        return []
    if not isinstance(node.value, dict):
        mistakes.add(node.place, f"{kind}.{name}: should be a mapping of options, not {describe(node.value)}")
        return []
    known = option_names(kind, name)
    return _options((kind, name), node, tuple(known) if known is not None else None, methods, mistakes)


def _options(
    path: tuple[str, ...], node: Node, known: tuple[str, ...] | None, methods: list[RunSpec], mistakes: Mistakes
) -> list[Dimension]:
    found = []
    for option, child in node.value.items():
        if known is not None and option not in known:
            owner = f"{path[0]} {path[1]!r}" if len(path) > 1 else path[0]
            hint = did_you_mean(option, known) or "; it has no options"
            mistakes.add(child.label, f"{owner} has no option {option!r}{hint}")
            continue
        dimension = _range((*path, option), child, mistakes)
        if dimension and _possible(dimension, child, methods, mistakes):
            found.append(dimension)
    return found


def _range(path: tuple[str, ...], node: Node, mistakes: Mistakes) -> Dimension | None:
    """One range such as `{log: [1e-4, 1e-2]}`, `{int: [1, 8], points: 4}` or `{choice: [a, b]}`."""
    name = ".".join(path)
    forms = [key for key in node.value if key in FORMS] if isinstance(node.value, dict) else []
    if len(forms) != 1:
        mistakes.add(node.place, f"{name}: a range is one of log, uniform, int or choice, as in `{{uniform: [0, 1]}}`")
        return None
    [form] = forms
    before = len(mistakes)
    for key, child in node.value.items():
        if key not in (form, "points"):
            mistakes.add(child.label, f"{name}: a range has no key {key!r}{did_you_mean(key, (*FORMS, 'points'))}")
    values = node.value[form]
    if not isinstance(values.value, list):
        mistakes.add(values.place, f"{name}: {form} wants a list, not {describe(values.value)}")
        return None
    points = _points(name, node, mistakes)
    plain = values.plain()
    problem = _choice_problem(plain) if form == "choice" else _ends_problem(form, plain)
    if problem:
        mistakes.add(values.place, f"{name}: {problem}")
    if len(mistakes) > before:
        return None
    if form == "choice":
        return Dimension(path, "choice", choices=tuple(plain))
    low, high = plain if form == "int" else map(float, plain)
    return Dimension(path, form, low, high, points=points)


def _points(name: str, node: Node, mistakes: Mistakes) -> int:
    given = node.value.get("points")
    if given is None:
        return Dimension((), "choice").points
    if isinstance(given.value, bool) or not isinstance(given.value, int) or not 2 <= given.value <= MAX_POINTS:
        limits = f"2 or more, and at most {MAX_POINTS:,}"
        mistakes.add(given.place, f"{name}: points is how many values a grid has of the range, {limits}")
        return 2
    return given.value


def _choice_problem(values: list[Any]) -> str | None:
    if not values:
        return "an empty choice leaves nothing to try"
    if not all(value is None or isinstance(value, bool | int | float | str) for value in values):
        return "a choice is a list of numbers, texts, true or false"
    told = [canonical_json(value) for value in values]
    twice = next((value for value in told if told.count(value) > 1), None)
    return f"{twice} is given twice" if twice else None


def _ends_problem(form: str, values: list[Any]) -> str | None:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2:
        return f"{form} wants its two ends, as in `{form}: [1, 8]`, not {values!r}"
    low, high = numbers
    if form == "log" and low <= 0:
        return f"{low!r} has no logarithm; both ends must be positive"
    if form == "int" and not all(isinstance(value, int) for value in numbers):
        return f"the ends of int are whole numbers, not {values!r}"
    return None if low < high else f"the lower end comes first and the ends differ, unlike {values!r}"


def _possible(dimension: Dimension, node: Node, methods: list[RunSpec], mistakes: Mistakes) -> bool:
    """Whether the part can take both ends, or every choice."""
    method = next((spec for spec in methods if dimension.concerns(spec)), None)
    if method is None:
        return False
    for value in dimension.choices if dimension.form == "choice" else (dimension.low, dimension.high):
        problem = _problem(method, dimension, int(value) if dimension.form == "int" and value is not None else value)
        if problem:
            mistakes.add(node.find([dimension.form]).place, problem)
            return False
    return True


def _problem(method: RunSpec, dimension: Dimension, value: Any) -> str | None:
    try:
        with_values(method, {dimension.name: value})
    except OptionError as error:
        return str(error)
    except ValidationError as error:
        item = error.errors()[0]
        return explain(item, ".".join(("optimizer", *map(str, item["loc"]))))
    return None


# What the study's runs allow ------------------------------------------------------------------------------------------


def _check_folds(tune: Tune, said: TuneNode, methods: list[RunSpec], mistakes: Mistakes) -> None:
    section = tune.section
    for spec in {canonical_json(spec.to_dict()["dataset"]): spec for spec in methods}.values():
        classes = training_classes(spec)
        problem = folds_problem(classes, section.folds, section.share) if classes else None
        if problem:
            place = said.keys.get("folds") or said.keys.get("share") or said.node
            mistakes.add(place.place, f"dataset {spec.dataset.name!r}: {problem}")
    if section.pruner == "median" and section.folds < 2:
        mistakes.add(
            said.keys["pruner"].place, "the pruner judges a trial by its first folds; with one fold there is none"
        )


def training_classes(spec: RunSpec) -> int | None:
    """How many training classes a data set has, where that is known without its files."""
    part: Any = DATASETS.get(spec.dataset.name)
    if spec.dataset.name == "glyphs":
        return int(DATASETS.build(spec.dataset, data_root=None).train_classes)
    known = getattr(part, "last_training_class", None)
    return int(known) if known else None


def _check_metric(tune: Tune, said: TuneNode, methods: list[RunSpec], mistakes: Mistakes) -> None:
    place = (said.keys.get("metric") or said.node).place
    metric = tune.section.metric
    for spec in methods:
        names = {name: choice.name for choice in spec.evaluation.test for name in METRICS.build(choice).names}
        if metric not in names:
            known = [name for name, family in names.items() if family not in NO_BETTER]
            message = f"metric {metric!r} is not computed by these runs{did_you_mean(metric, known)}"
            mistakes.add(place, message)
            return
        if names[metric] in NO_BETTER:
            mistakes.add(
                place, f"{metric!r} describes embeddings, and more of it is not better; map_at_r would be right"
            )
            return


def _check_methods(tune: Tune, said: TuneNode, methods: list[RunSpec], mistakes: Mistakes) -> None:
    """Every method has something to tune, is a method of its own, and starts inside of what is searched."""
    place = said.keys["space"].label
    seen: dict[str, RunSpec] = {}
    for spec in methods:
        own, name = tune.of(spec), _name(spec)
        if not own:
            mistakes.add(place, f"nothing of {name} is searched, so it would not be tuned like the others")
        for dimension in own:
            default = dimension.default(spec)
            if not dimension.contains(default):
                mistakes.add(
                    said.keys["space"].find(dimension.path).place,
                    f"the defaults are the first trial, but {dimension.name} of {name} is {default!r}, "
                    "which this range does not hold",
                )
        fixed = {name: value for name, value in spec.flat().items() if name not in {d.name for d in own}}
        key = canonical_json(fixed)
        if key in seen:
            mistakes.add(
                place, f"two methods, {name}, differ only in what is searched, so they would be tuned to the same"
            )
        seen[key] = spec
        if tune.section.sampler == "grid" and own and grid_size(own) < tune.trials:
            mistakes.add(
                said.keys["trials"].place,
                f"the grid of {name} has {grid_size(own)} points, too few for {tune.trials} trials of every method",
            )


def _name(spec: RunSpec) -> str:
    return " + ".join(part.name for kind in KINDS[2:] if kind != "sampler" and (part := getattr(spec, kind)))
