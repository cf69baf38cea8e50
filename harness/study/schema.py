"""The keys of a study file, and the first check: is everything where it should be, and of the right kind?

What stands inside `run`, `grid` and `axes` is checked when the runs are put together (`resolve`).
"""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator

from harness.errors import did_you_mean
from harness.registry import problem_text
from harness.specs import KINDS, Settings
from harness.study.mistakes import Mistakes
from harness.study.source import Node, describe
from harness.study.tune import TuneSection

SETTINGS = ("training", "optimizer", "evaluation")
SECTIONS = (*KINDS, *SETTINGS)
"""The keys of `run`, and with `zip` and `when` of a block of the grid."""

RESERVED = ("runs", "cache", "workers", "harness.db")
"""Names that the results folder needs for itself; a report is written to `results/<name>`."""

MAX_SEEDS = 100_000
MAX_PROFILES = 30
MAX_EQUIVALENCE = 20


def analyses() -> list[str]:
    """The analyses that a report knows: one file each. Reads file names, imports nothing."""
    folder = Path(__file__).parent.parent / "report" / "analyses"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))


def _known_analysis(name: str) -> str:
    if name not in analyses():
        raise ValueError(f"analysis {name!r} is not known{did_you_mean(name, analyses())}")
    return name


def _points(value: float) -> float:
    if not 0 < value <= MAX_EQUIVALENCE:
        raise ValueError(
            "equivalence is a difference in R@1 that nobody would care about, in percent points such as 0.25: above 0 "
            f"and at most {MAX_EQUIVALENCE}, not {value}"
        )
    return value


class Report(Settings):
    """What the report of a study shows: which analyses (none named: all), at which epoch a run is judged.

    `equivalence` is the difference in test R@1, in percent points, below which two methods are practically equal.
    `baseline` is the method, by the name that the report gives it, that all others are compared with beside the best.
    """

    analyses: list[Annotated[str, AfterValidator(_known_analysis)]] = Field(default_factory=list)
    selection: Literal["last", "best_test"] = "last"
    equivalence: Annotated[float, AfterValidator(_points)] = 0.25
    baseline: str | None = None


class Body(Settings):
    """What a study says about its runs, and a profile may say differently."""

    run: dict[str, Any] = Field(default_factory=dict)
    seeds: Any = 1
    grid: list[dict[str, Any]] = Field(default_factory=list)
    axes: dict[str, Any] = Field(default_factory=dict)
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    report: Report = Report()
    tune: TuneSection | None = None

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        problem = seeds_problem(value)
        if problem:
            raise ValueError(problem)
        return value


class StudyFile(Body):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    question: str = ""
    profiles: dict[str, Body] = Field(default_factory=dict, max_length=MAX_PROFILES)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value) or value.endswith("."):
            raise ValueError(
                f"the name becomes a folder: letters, digits, '_', '-' and '.', at most 100 of them, not {value!r}"
            )
        if value in RESERVED:
            raise ValueError(f"{value!r} is a folder of the results already; give the study another name")
        return value


def seeds_problem(value: Any) -> str | None:
    """What is wrong with `seeds: n` or `seeds: [a, b, c]`; None when nothing is."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value > MAX_SEEDS:
            return f"a study has at most {MAX_SEEDS:,} seeds, not {value:,}"
        return None if value >= 1 else f"a study needs at least one seed, not {value}"
    if not isinstance(value, list):
        return f"seeds is how many there are (3) or which ones ([0, 7, 8]), not {describe(value)}"
    if not value:
        return "a study needs at least one seed; this list is empty"
    for seed in value:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            return f"a seed is a whole number from 0, not {describe(seed)}"
    repeated = [seed for seed, times in Counter(value).items() if times > 1]
    return f"a seed is given twice: {', '.join(map(str, repeated))}" if repeated else None


def check_shape(root: Node, mistakes: Mistakes) -> None:
    """Record everything that pydantic finds wrong with the keys of the file."""
    record(StudyFile, root, mistakes, where="a study")


def record(model: type[BaseModel], node: Node, mistakes: Mistakes, where: str) -> BaseModel | None:
    """A node as a pydantic model, or None with each thing that is wrong recorded at its place."""
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        for item in error.errors():
            _record_item(model, node, item, mistakes, where)
        return None


def _record_item(model: type[BaseModel], node: Node, item: Mapping[str, Any], mistakes: Mistakes, where: str) -> None:
    path = [step for step in item["loc"] if step != "[key]"]
    found = node.find(path)
    if item["type"] == "extra_forbidden":
        *parents, key = path
        owner = f"{where} ({'.'.join(map(str, parents))})" if parents else where
        known = _fields(model, parents)
        mistakes.add(found.label, f"{owner} has no key {key!r}{did_you_mean(str(key), known)}")
    elif item["type"] == "missing":
        example = "schema: 1" if path[-1] == "schema" else f"{path[-1]}: ..."
        mistakes.add(found.place.start, f"{where} needs the key {path[-1]!r}, as in `{example}`")
    else:
        mistakes.add(found.place, explain(item, ".".join(step for step in path if isinstance(step, str))))


def explain(item: Mapping[str, Any], path: str) -> str:
    """One pydantic error in our words."""
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if path == "schema":
        return f"this version of the harness reads `schema: 1`, not {describe(item['input'])}"
    if item["type"] == "too_long":
        return f"{path}: there are more than {item['ctx']['max_length']}, which is the most that are possible"
    if item["type"] in ("dict_type", "model_type"):
        return f"{path}: should be a mapping, not {describe(item['input'])}"
    if item["type"] == "list_type":
        one = "..." if item["input"] is None or isinstance(item["input"], dict) else item["input"]
        return f"{path}: should be a list, [{one}] or in a block of the grid [[{one}]], not {describe(item['input'])}"
    return f"{path}: {problem_text(item)}{_near(item)}"


def _near(item: Mapping[str, Any]) -> str:
    """`; did you mean 'adam'?` for a text that is none of those allowed but nearly one."""
    if item["type"] != "literal_error" or not isinstance(item["input"], str):
        return ""
    suggestion = did_you_mean(item["input"], re.findall(r"'([^']+)'", item["ctx"]["expected"]))
    return suggestion if "did you mean" in suggestion else ""


_SUBSECTIONS: dict[str, type[BaseModel]] = {"report": Report, "tune": TuneSection}


def _fields(model: type[BaseModel], parents: list[Any]) -> list[str]:
    """The keys that were possible where an unknown one stands."""
    if parents and parents[-1] in _SUBSECTIONS:
        model = _SUBSECTIONS[parents[-1]]
    elif parents and parents[0] == "profiles":
        model = Body
    return [field.alias or name for name, field in model.model_fields.items()]
