"""Cells: runs of a study that differ in nothing which decides how long a step or an epoch takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.specs import RunSpec, canonical_json
from harness.store.labels import method_labels

RATES = ("objective", "miner", "regularizer")
"""Parts whose options with a fraction (margins, temperatures, probabilities) move numbers and no clock; whole numbers,
such as centers a class, are kept."""


@dataclass(frozen=True)
class Cell:
    """Runs that take equally long: so many epochs of one pace."""

    key: str  # of the pace; cells of different lengths may share it
    label: str
    specs: tuple[RunSpec, ...]

    @property
    def spec(self) -> RunSpec:
        """One run for all."""
        return self.specs[0]


def cells_of(specs: Sequence[RunSpec]) -> list[Cell]:
    """The cells of runs, in the order in which they begin."""
    groups: dict[tuple[str, int], list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault((pace_key(spec.to_dict()), spec.training.epochs), []).append(spec)
    labels = _labels([group[0] for group in groups.values()])
    return [Cell(key, label, tuple(group)) for ((key, _), group), label in zip(groups.items(), labels, strict=True)]


def pace_key(spec: dict[str, Any]) -> str:
    """One text for all specs, as `RunSpec.to_dict` gives them, that take equally long an epoch."""
    parts = {kind: _without_rates(spec[kind]) for kind in RATES}
    training = {name: value for name, value in spec["training"].items() if name != "epochs"}
    optimizer = {name: spec["optimizer"][name] for name in ("name", "warmup_epochs")}
    rest = {name: value for name, value in spec.items() if name not in ("seed", "tuned")}
    # Folds of one cut are nearly equal in size, whichever of them is held out.
    tuned = {name: value for name, value in spec.get("tuned", {}).items() if name not in ("fold", "cut", "of")}
    return canonical_json({**rest, **parts, "training": training, "optimizer": optimizer, "tuned": tuned})


def evaluations(spec: RunSpec) -> tuple[int, int]:
    """How many epochs of a run are measured, and how many of these with clustering."""
    epochs, every = spec.training.epochs, spec.evaluation.every
    measured = {epoch for epoch in range(1, epochs + 1) if epoch % every == 0} | {epochs}
    clustered = [epoch for epoch in measured if epoch % spec.evaluation.clustering_every == 0 or epoch == epochs]
    return len(measured), len(clustered)


def _without_rates(part: dict[str, Any] | None) -> dict[str, Any] | None:
    if part is None:
        return None
    kept = {name: value for name, value in part["options"].items() if not isinstance(value, float)}
    return {**part, "options": kept}


def _labels(specs: Sequence[RunSpec]) -> list[str]:
    """A name for each of some specs; with data set and backbone where they have several."""
    alike = [replace(spec, seed=0) for spec in specs]  # names tell runs of one seed apart
    labels = method_labels(alike)
    several = len({(spec.dataset.name, spec.backbone.name) for spec in alike}) > 1
    before = [
        ("fold of " if spec.tuned and spec.tuned.role == "fold" else "")
        + (f"{spec.dataset.name}, {spec.backbone.name}: " if several else "")
        for spec in alike
    ]
    return [place + labels[spec.run_id] for place, spec in zip(before, alike, strict=True)]
