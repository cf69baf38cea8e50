"""What a study says about tuning: the budget, the folds, who searches, and the space that is searched."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.registry import REGISTRIES
from harness.specs import KINDS, Optimizer, RunSpec, Settings

Scalar = bool | int | float | str | None

GRID_POINTS = 5
"""How many values a range has in a grid, unless its `points` say otherwise."""


class TuneSection(Settings):
    """The section `tune` of a study or of a profile; what it says is laid over what stood before.

    trials   how many configurations each method gets, the defaults being the first; failed and pruned ones count
    metric   what a trial is judged by, on held-out training classes; a higher value is better
    folds    class-disjoint folds of the training classes; 1: a single held-out share, of size `share`
    sampler  who proposes: Optuna's tpe, random or cmaes, or a grid in an order by chance
    pruner   median: a trial whose first folds are below the median of the finished ones gets no further folds
    batch    so many trials of a method are proposed at a time, whatever the number of workers
    seed     decides the cut into folds, the proposals, and with which seed the folds are trained
    space    kind -> part -> option -> range, and `optimizer` -> setting -> range
    """

    trials: int | None = Field(None, ge=1, le=10_000)
    metric: str = "map_at_r"
    folds: int = Field(3, ge=1)
    share: float = Field(0.25, gt=0, lt=1)
    sampler: Literal["tpe", "random", "grid", "cmaes"] = "tpe"
    pruner: Literal["none", "median"] = "none"
    batch: int = Field(4, ge=1)
    seed: int = Field(0, ge=0)
    space: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Dimension:
    """One option that is searched: `low` to `high` (evenly in its logarithm for `log`), or one of `choices`."""

    path: tuple[str, ...]  # (kind, part, option), or ("optimizer", setting)
    form: Literal["log", "uniform", "int", "choice"]
    low: float = 0
    high: float = 0
    choices: tuple[Scalar, ...] = ()
    points: int = GRID_POINTS

    @property
    def name(self) -> str:
        """As `RunSpec.flat` calls it: `objective.beta`, `optimizer.lr`."""
        return f"{self.path[0]}.{self.path[-1]}"

    def concerns(self, spec: RunSpec) -> bool:
        """Whether the run has what is searched."""
        if self.path[0] not in KINDS:
            return True
        part = getattr(spec, self.path[0])
        return part is not None and bool(part.name == self.path[1])

    def default(self, spec: RunSpec) -> Any:
        """What the run has without tuning."""
        return spec.flat()[self.name]

    def contains(self, value: Any) -> bool:
        """Whether a search may come upon the value."""
        if self.form == "choice":
            return any(
                value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (self.form != "int" or isinstance(value, int))

    def grid(self) -> list[Scalar]:
        """The values of a grid, ends included."""
        if self.form == "choice":
            return list(self.choices)
        number = self.points
        if self.form == "int":
            number = min(number, int(self.high - self.low) + 1)
        if number == 1:
            return [self.low]
        shares = [place / (number - 1) for place in range(number)]
        if self.form == "log":
            low, high = math.log(self.low), math.log(self.high)
            inner = [math.exp(low + share * (high - low)) for share in shares]
            return [self.low, *inner[1:-1], self.high]
        values = [self.low + share * (self.high - self.low) for share in shares]
        return [round(value) for value in values] if self.form == "int" else list(values)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, for a digest of what was asked."""
        return {**vars(self), "path": list(self.path), "choices": list(self.choices)}


@dataclass(frozen=True)
class Tune:
    """The tuning that a study asks for, checked."""

    section: TuneSection
    dimensions: tuple[Dimension, ...]

    @property
    def trials(self) -> int:
        """How many each method gets."""
        assert self.section.trials is not None
        return self.section.trials

    def of(self, spec: RunSpec) -> list[Dimension]:
        """What is searched for the method of a run."""
        return [dimension for dimension in self.dimensions if dimension.concerns(spec)]

    def to_dict(self) -> dict[str, Any]:
        """Everything that was asked for, as plain JSON types."""
        asked = self.section.model_dump(exclude={"space"})
        return {**asked, "space": [dimension.to_dict() for dimension in self.dimensions]}


def with_values(spec: RunSpec, values: Mapping[str, Any]) -> RunSpec:
    """The run with other values, by their names such as `objective.beta`, checked as in a study.

    Raises OptionError, or pydantic's ValidationError for the optimizer, where a value is not possible.
    """
    from dataclasses import replace

    changed: dict[str, Any] = {}
    for section, pairs in itertools.groupby(sorted(values.items()), key=lambda item: item[0].partition(".")[0]):
        own = {name.partition(".")[2]: value for name, value in pairs}
        if section in KINDS:
            part = getattr(spec, section)
            checked = REGISTRIES[section].check(part.name, {**part.options, **own})
            changed[section] = replace(part, options=checked.options)
        else:
            changed[section] = Optimizer(**{**spec.optimizer.model_dump(), **own})
    return replace(spec, **changed)


def grid_of(dimensions: list[Dimension]) -> list[dict[str, Any]]:
    """Every point of the grid of some dimensions, as name -> value."""
    names = [dimension.name for dimension in dimensions]
    points = itertools.product(*(dimension.grid() for dimension in dimensions))
    return [dict(zip(names, point, strict=True)) for point in points]


def grid_size(dimensions: list[Dimension]) -> int:
    """How many points that has."""
    return math.prod(len(dimension.grid()) for dimension in dimensions)
