"""What decides the runs of a study, in layers: the file, over it a profile, over both what the command line sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import did_you_mean
from harness.specs import KINDS, canonical_json
from harness.study.expand import Block, read_axes, read_block, read_run, without
from harness.study.mistakes import Mistakes, Origin, Place
from harness.study.resolve import option_names
from harness.study.schema import SECTIONS, Report, StudyFile, record, seeds_problem
from harness.study.sections import OptionPath, Sections, lay_over, overlay
from harness.study.source import Node, from_plain, parse
from harness.study.space import TuneNode
from harness.study.tune import TuneSection

_KEYS = {field.alias or name for name, field in StudyFile.model_fields.items()}

_OWN = ("report", "tune")
"""Sections whose keys `--set` may set, but which are no part of a run."""

DEFAULT_SAMPLER = "class_balanced"
"""Batches of a few samples of each of many classes are what nearly every paper of the field trains on."""


@dataclass(frozen=True)
class Override:
    """One `--set`: a value for every run that has what it names; `said` is what it lays over them."""

    path: OptionPath
    node: Node
    said: Sections


@dataclass(frozen=True)
class Plan:
    """The layers put together: everything that decides which runs there are."""

    run: Sections
    blocks: tuple[Block, ...]
    exclude: tuple[Node, ...]
    seeds: Sequence[int]
    overrides: tuple[Override, ...]
    report: Report
    tune: TuneNode | None = None

    def count(self) -> int:
        """The number of combinations times seeds, without making them."""
        return sum(block.count() for block in self.blocks) * len(self.seeds)


def read_overrides(given: Mapping[str, Any], mistakes: Mistakes) -> list[Override]:
    """`--set PATH=VALUE`: the path as in a block of the grid, `seeds`, or `report.selection`; the value as in YAML."""
    overrides = []
    for text, value in given.items():
        place = Place(Origin(f"--set {text}={value}"))
        path = tuple(text.removeprefix("run.").split("."))
        allowed = (*SECTIONS, "seeds", *_OWN)
        if path[0] not in allowed:
            mistakes.add(place, f"{path[0]!r} cannot be set{did_you_mean(path[0], allowed)}")
        elif not all(path) or (path[0] in _OWN and len(path) != 2):
            mistakes.add(place, f"{text!r} is not a path such as `training.epochs` or `report.selection`")
        else:
            before = len(mistakes)
            node = read_value(value, place, mistakes)
            said = overlay(path, node, mistakes) if path[0] in SECTIONS and len(mistakes) == before else {}
            overrides += [Override(path, node, said or {})] if len(mistakes) == before else []
    return overrides


def read_value(value: Any, place: Place, mistakes: Mistakes) -> Node:
    """A value of the command line: text is read as YAML, with mistakes recorded; anything else is taken as it is."""
    if not isinstance(value, str):
        try:
            return from_plain(json.loads(canonical_json(value)), place)
        except (TypeError, ValueError):
            mistakes.add(place, f"a value is text, a finite number, a list or a mapping, not {type(value).__name__}")
            return Node(None, place)
    node = parse(value, place.origin, mistakes)
    return from_plain(node.plain() if node else None, place)


def read_plan(root: Node, profile: Node | None, overrides: Sequence[Override], mistakes: Mistakes) -> Plan:
    """The file, the profile and the overrides as one plan. What has the wrong shape is left out: it is told already."""
    bodies = [body for body in (root, profile) if body is not None]
    run: Sections = {"sampler": from_plain({"name": DEFAULT_SAMPLER}, Place.nowhere())}
    before = len(mistakes)
    for body in bodies:
        run = lay_over(run, read_run(_mapping(body, "run"), mistakes))
    doubtful = len(mistakes) > before  # what is missing in `run` may be misspelt
    for_runs = tuple(override for override in overrides if override.path[0] in SECTIONS)
    return Plan(
        run=run,
        blocks=_blocks(root, bodies, for_runs, mistakes, doubtful=doubtful),
        exclude=tuple(node for node in _list(_last_exclude(bodies), "exclude") if isinstance(node.value, dict)),
        seeds=_seeds(bodies, overrides, mistakes),
        overrides=for_runs,
        report=_report(bodies, overrides, mistakes),
        tune=_tune(bodies, overrides, mistakes),
    )


def _blocks(
    root: Node, bodies: list[Node], overrides: tuple[Override, ...], mistakes: Mistakes, *, doubtful: bool
) -> tuple[Block, ...]:
    before = len(mistakes)
    axes: dict[str, Node] = {}
    for body in bodies:
        axes |= (_mapping(body, "axes") or Node({}, body.place)).value
    shared = read_axes(Node(axes, root.place), mistakes, extra=())
    doubtful = doubtful or len(mistakes) > before or not _KEYS.issuperset(root.value)
    with_grid = [body for body in bodies if "grid" in body.value]
    everything = [Node({}, root.find(["run"]).label)]
    nodes = _list(with_grid[-1], "grid") if with_grid else everything
    blocks = [read_block(node, shared, mistakes) for node in nodes if isinstance(node.value, dict)]
    paths = [override.path for override in overrides]
    return tuple(replace(without(block, paths), doubtful=block.doubtful or doubtful) for block in blocks)


def _last_exclude(bodies: list[Node]) -> Node:
    """A profile with a grid of its own starts without the exclusions of the grid that it replaces."""
    speaking = [body for body in bodies if "exclude" in body.value or "grid" in body.value]
    return speaking[-1] if speaking else bodies[0]


def _seeds(bodies: list[Node], overrides: Sequence[Override], mistakes: Mistakes) -> Sequence[int]:
    seeds: Sequence[int] = range(1)
    for node in (body.value["seeds"] for body in bodies if "seeds" in body.value):
        value = node.plain()
        if not seeds_problem(value):
            seeds = range(value) if isinstance(value, int) else value
    for override in overrides:
        if override.path[0] == "seeds":
            value = override.node.plain()
            problem = seeds_problem(value) if override.path == ("seeds",) else "seeds has no keys"
            if problem:
                mistakes.add(override.node.place, problem)
            else:
                seeds = range(value) if isinstance(value, int) else value
    return seeds


def _report(bodies: list[Node], overrides: Sequence[Override], mistakes: Mistakes) -> Report:
    said: dict[str, Node] = {}
    for body in bodies:
        said |= (_mapping(body, "report") or Node({}, body.place)).value
    good = {name: node for name, node in said.items() if name in Report.model_fields and _valid_alone(name, node)}
    for override in overrides:
        if override.path[0] == "report":
            wanted = Node({override.path[1]: override.node}, override.node.place)
            if record(Report, wanted, mistakes, where="report"):
                good |= wanted.value
    return Report(**{name: node.plain() for name, node in good.items()})


def _tune(bodies: list[Node], overrides: Sequence[Override], mistakes: Mistakes) -> TuneNode | None:
    """The section `tune`, a later body laid over an earlier one key by key; None where nobody speaks of tuning."""
    speaking = [node for body in bodies if (node := _mapping(body, "tune"))]
    said: dict[str, Node] = {}
    for node in speaking:
        said |= node.value
    for override in overrides:
        if override.path[0] == "tune":
            wanted = Node({override.path[1]: override.node}, override.node.place)
            if not speaking:
                mistakes.add(override.node.place, "this study has no section `tune`")
            elif record(TuneSection, wanted, mistakes, where="tune"):
                said |= wanted.value
    return TuneNode(speaking[-1], said) if speaking else None


def _valid_alone(name: str, node: Node) -> bool:
    aside = Mistakes("report")
    return record(Report, Node({name: node}, node.place), aside, where="report") is not None


def _mapping(body: Node, name: str) -> Node | None:
    node = body.value.get(name)
    return node if node is not None and isinstance(node.value, dict) else None


def _list(body: Node, name: str) -> list[Node]:
    node = body.value.get(name)
    return node.value if node is not None and isinstance(node.value, list) else []


class Applied:
    """Lays the overrides over combinations and remembers which of them changed something."""

    def __init__(self, overrides: Sequence[Override], mistakes: Mistakes) -> None:
        self.overrides, self.mistakes = overrides, mistakes
        self._used: set[OptionPath] = set()
        self._options: dict[tuple[str, str], frozenset[str] | None] = {}

    def over(self, sections: Sections) -> Sections:
        """The combination as the command line wants it. An option is set where the part of the run has it."""
        # Whole parts first, so that `--set objective=margin --set objective.beta=0.6` works in either order.
        for override in sorted(self.overrides, key=lambda override: len(override.path)):
            if self._has(sections, override.path):
                self._used.add(override.path)
                sections = lay_over(sections, override.said)
        return sections

    def tell_unused(self) -> None:
        """Record each override that no run has a use for."""
        for override in self.overrides:
            if override.path not in self._used:
                known = {option for options in self._options.values() for option in options or ()}
                kind, option = override.path[:2]
                hint = did_you_mean(option, known)
                self.mistakes.add(override.node.place, f"no {kind} of these runs has the option {option!r}{hint}")

    def _has(self, sections: Sections, path: OptionPath) -> bool:
        kind = path[0]
        if kind not in KINDS or len(path) == 1 or path[1] == "name":
            return True
        node = sections.get(kind)
        name = node.value["name"].value if node and "name" in node.value else "none"
        if (kind, name) not in self._options:
            self._options[kind, name] = option_names(kind, name)
        options = self._options[kind, name]
        return options is None or path[1] in options
