"""From what is said about a combination to the parts of a run, with every option checked and every default written in.

Each distinct part is checked once, however many combinations have it; what is wrong is told at every place that says
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import HarnessError, OptionError, did_you_mean
from harness.registry import METRICS, MINERS, REGISTRIES
from harness.specs import KINDS, SPLITS, Choice, Evaluation, Optimizer, RunSpec, Settings, Training, canonical_json
from harness.study.mistakes import Mistakes, Place
from harness.study.schema import explain
from harness.study.sections import OptionPath, Sections
from harness.study.source import Node, describe

OPTIONAL = ("miner", "sampler", "regularizer")
MAX_FAMILIES = 50
MODELS: dict[str, type[Settings]] = {"training": Training, "optimizer": Optimizer, "evaluation": Evaluation}


@dataclass(frozen=True)
class Draft:
    """A combination whose sections were checked one by one.

    `spec` has seed 0, and something harmless where a section is `broken`, so that the others can still be checked
    together. `key` is equal for two drafts that differ in nothing.
    """

    spec: RunSpec
    key: tuple[str, ...]
    sections: Sections
    block: Place
    broken: frozenset[str]

    @cached_property
    def flat(self) -> dict[str, Any]:
        """The spec as conditions see it, but for the seed."""
        return self.spec.flat()

    def places(self, *paths: str) -> list[Place]:
        """Where the study says what stands at these dotted paths, as far as it says so; else the block."""
        said = []
        for section, _, option in (path.partition(".") for path in paths):
            node = self.sections.get(section)
            if node and option in node.value:
                said.append(node.value[option].place)
        return said or [self.block]


@dataclass(frozen=True)
class _Good:
    value: Any
    key: str


@dataclass(frozen=True)
class _Problem:
    path: OptionPath
    message: str
    unknown: bool = False  # the key itself is wrong, not its value


class Resolver:
    """Checks the sections of combinations and remembers what it found."""

    def __init__(self, mistakes: Mistakes, data: Path) -> None:
        self.mistakes = mistakes
        self.data = data
        self._found: dict[tuple[str, str], _Good | list[_Problem]] = {}

    def draft(self, sections: Sections, block: Place, *, doubtful: bool) -> Draft:
        """The combination as a run, with all that is wrong recorded.

        `doubtful`: something else that is wrong may be why a part is missing, so that is not told.
        """
        checked: dict[str, _Good | None] = {name: self._settings(name, sections.get(name)) for name in MODELS}
        for kind in KINDS:
            if kind not in sections and kind not in OPTIONAL and not doubtful:
                self.mistakes.add(block, f"these runs have no {kind}; name one here or in `run`{known_parts(kind)}")
            planned = kind == "sampler" and plans_batches(checked["miner"])
            said = None if planned and not _is_said(sections.get(kind)) else sections.get(kind)
            checked[kind] = self._part(kind, said)
        broken = frozenset(name for name, found in checked.items() if found is None)
        good = [
            found or _Good(MODELS[name]() if name in MODELS else Choice("?"), "?") for name, found in checked.items()
        ]
        spec = RunSpec(seed=0, **{name: found.value for name, found in zip(checked, good, strict=True)})
        return Draft(spec, tuple(found.key for found in good), sections, block, broken)

    def check_alone(self, run: Sections) -> None:
        """Record what is wrong with the section `run` even where every block says something else."""
        for section, node in run.items():
            if section in MODELS:
                self._once(section, node)
            elif "name" in node.value and node.value["name"].value != "none":
                self._once(section, node, partial=True)

    def _part(self, kind: str, node: Node | None) -> _Good | None:
        if node is None:
            return _Good(None, "none") if kind in OPTIONAL else None
        name = node.value.get("name")
        if name is None:
            self.mistakes.add(node.label, f"this {kind} has options but no `name`, neither here nor in `run`")
            return None
        if name.value != "none":
            return self._once(kind, node)
        options = [child for option, child in node.value.items() if option != "name"]
        for child in options:
            self.mistakes.add(child.label, f"these runs have no {kind}, so it has no options")
        if kind not in OPTIONAL:
            self.mistakes.add(name.place, f"a run needs a {kind}{known_parts(kind)}")
        return _Good(None, "none") if kind in OPTIONAL and not options else None

    def _settings(self, section: str, node: Node | None) -> _Good | None:
        return self._once(section, node or Node({}, Place.nowhere()))

    def _once(self, section: str, node: Node, *, partial: bool = False) -> _Good | None:
        plain = node.plain()
        key = section, canonical_json(plain)
        if key not in self._found:
            self._found[key] = (
                _check_part(section, plain, self.data) if section in KINDS else _check_settings(section, plain)
            )
        found = self._found[key]
        if isinstance(found, _Good):
            return found
        for problem in found:
            wrong = node.find(problem.path)
            if wrong is not node:
                self.mistakes.add(wrong.label if problem.unknown else wrong.place, problem.message)
            elif not partial:  # an option that is missing here may be given by the blocks
                self.mistakes.add(node.find(["name"]).place, problem.message)
        return None


def plans_batches(miner: _Good | None) -> bool:
    """Whether a miner makes the batches, too, so that a run has no sampler."""
    chosen = miner.value if miner else None
    return chosen is not None and getattr(MINERS.get(chosen.name), "plans", False) is True


def _is_said(part: Node | None) -> bool:
    return part is not None and str(part.value["name"].place) != str(Place.nowhere())


def known_parts(kind: str) -> str:
    """` (known: convnet, resnet50)`."""
    return f" (known: {', '.join(REGISTRIES[kind].names())})"


def option_names(kind: str, name: str) -> frozenset[str] | None:
    """The options of a part; None where there is no such part."""
    if name == "none":
        return frozenset()
    try:
        return frozenset(REGISTRIES[kind].schema(name).model_fields)
    except OptionError:
        return None


def _check_part(kind: str, plain: Mapping[str, Any], data: Path | None = None) -> _Good | list[_Problem]:
    name, options = plain["name"], {option: value for option, value in plain.items() if option != "name"}
    try:
        choice = REGISTRIES[kind].check(name, options)
        choice = REGISTRIES[kind].completed(choice, data) if data else choice
        return _Good(choice, canonical_json(asdict(choice)))
    except OptionError as error:
        known = option_names(kind, name) or ()
        problems = [_Problem(path, text, path[0] not in known) for path, text in error.problems.items()]
        return problems or [_Problem(("name",), str(error))]
    except HarnessError:
        raise
    except Exception as error:
        # Somebody else's part may fail in any way while it is imported; ours have no such excuse.
        if ":" not in name:
            raise
        return [_Problem(("name",), f"{kind} {name!r} cannot be used: {type(error).__name__}: {error}")]


def _check_settings(section: str, plain: Mapping[str, Any]) -> _Good | list[_Problem]:
    model = MODELS[section]
    problems: list[_Problem] = []
    if model is Evaluation:
        plain = {**plain, **{split: _families(split, plain, problems) for split in SPLITS}}
    try:
        settings = model(**plain)
    except ValidationError as error:
        return problems + [_settings_problem(section, model, item) for item in error.errors()]
    return problems or _Good(settings, settings.model_dump_json())


def _families(split: str, plain: Mapping[str, Any], problems: list[_Problem]) -> Any:
    """The families of a split, those of the default too, with their options written in; what is wrong is added."""
    said = plain[split] if split in plain else [family.name for family in getattr(Evaluation(), split)]
    if not isinstance(said, list):
        return said
    if len(said) > MAX_FAMILIES:
        problems.append(_Problem((split,), f"there are {len(said):,} families of metrics, of at most {MAX_FAMILIES}"))
        return []
    found = [_check_family(family) for family in said]
    for position, wrong in enumerate(found):
        if not isinstance(wrong, _Good):
            problems += [replace(problem, path=(split, str(position), *problem.path)) for problem in wrong]
    return [family.value for family in found if isinstance(family, _Good)]


def _check_family(said: Any) -> _Good | list[_Problem]:
    plain = {"name": said} if isinstance(said, str) else said
    if not isinstance(plain, Mapping) or not isinstance(plain.get("name"), str):
        wrong = plain.get("name", plain) if isinstance(plain, Mapping) else plain
        text = f"a family of metrics is a name or a mapping with `name`, not {describe(wrong)}"
        return [_Problem(("name",), text)]
    found = _check_part("metric", plain)
    if isinstance(found, _Good):
        try:
            METRICS.build(found.value)  # a family may refuse what its signature allows, and costs nothing to make
        except OptionError as error:
            return [_Problem(("name",), str(error))]
    return found


def _settings_problem(section: str, model: type[Settings], item: Mapping[str, Any]) -> _Problem:
    path = tuple(str(step) for step in item["loc"])
    if item["type"] == "extra_forbidden":
        message = f"{section} has no setting {path[-1]!r}{did_you_mean(path[-1], model.model_fields)}"
        return _Problem(path, message, unknown=True)
    return _Problem(path, explain(item, ".".join((section, *path))))
