"""What a run has measured so far: curves of everything, and more detail of the epochs that are selected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.measured import Measured
from harness.specs import ClassScores, Curve, Measurement, Spectrum

SELECTORS = {"best_test": "test/recall_at_1", "best_validation": "validation/recall_at_1"}
"""Selection rule -> the curve whose highest epoch it takes."""


class History:
    """Curves and snapshots. `state()` is made of plain types, so that a checkpoint can hold it."""

    def __init__(self) -> None:
        self.epoch = 0  # finished epochs
        self.curves: dict[str, dict[int, float]] = {}  # "split/metric" -> epoch -> value
        self.snapshots: dict[str, dict[str, Any]] = {}  # selection -> {"epoch", split -> {"spectrum", "per_class"}}
        self.cost: dict[str, float] = {}

    def record(self, split: str, metric: str, value: float) -> None:
        """One number of the current epoch."""
        self.curves.setdefault(f"{split}/{metric}", {})[self.epoch] = float(value)

    def record_evaluation(self, measured: dict[str, Measured]) -> None:
        """Everything that was measured after the current epoch, by split."""
        for split, numbers in measured.items():
            for metric, value in numbers.values.items():
                self.record(split, metric, value)
        detail = {
            split: {"spectrum": numbers.spectrum, "per_class": numbers.per_class} for split, numbers in measured.items()
        }
        self.snapshots["last"] = {"epoch": self.epoch, **detail}
        for selection, curve in SELECTORS.items():
            if self._is_best(curve):
                self.snapshots[selection] = {"epoch": self.epoch, **detail}

    def record_look(self, split: str, numbers: Measured) -> None:
        """One more split of the last epoch, measured after training had ended; no epoch is selected by it."""
        for metric, value in numbers.values.items():
            self.record(split, metric, value)
        detail = {"spectrum": numbers.spectrum, "per_class": numbers.per_class}
        self.snapshots["last"] = {**self.snapshots.get("last", {}), "epoch": self.epoch, split: detail}

    def _is_best(self, curve: str) -> bool:
        scores = self.curves.get(curve, {})
        earlier = [score for epoch, score in scores.items() if epoch != self.epoch]
        return self.epoch in scores and all(scores[self.epoch] > score for score in earlier)

    def spend(self, what: str, amount: float) -> None:
        """Add to one item of the run's cost; the item's name carries the unit."""
        self.cost[what] = self.cost.get(what, 0.0) + amount

    def latest(self, split: str, metric: str) -> float | None:
        """The newest value of a curve."""
        curve = self.curves.get(f"{split}/{metric}", {})
        return curve[max(curve)] if curve else None

    def measurements(self) -> list[Measurement]:
        """Every number at every selected epoch."""
        return [
            Measurement(*split_and_metric(key), selection, snapshot["epoch"], curve[snapshot["epoch"]])
            for selection, snapshot in self.snapshots.items()
            for key, curve in self.curves.items()
            if math.isfinite(curve.get(snapshot["epoch"], math.nan))
        ]

    def curve_list(self) -> list[Curve]:
        """All curves as values for the result."""
        return [
            Curve(*split_and_metric(key), list(curve), [v if math.isfinite(v) else None for v in curve.values()])
            for key, curve in self.curves.items()
        ]

    def spectra(self) -> list[Spectrum]:
        """The spectra of the selected epochs."""
        return [
            Spectrum(split, selection, snapshot["epoch"], detail["spectrum"])
            for selection, snapshot in self.snapshots.items()
            for split, detail in snapshot.items()
            if split != "epoch" and detail["spectrum"] is not None
        ]

    def class_scores(self, class_names: Sequence[str]) -> list[ClassScores]:
        """Per-class numbers of the selected epochs, by the names of the classes."""
        return [
            ClassScores(
                split,
                metric,
                selection,
                snapshot["epoch"],
                {class_names[label]: value for label, value in scores.items() if math.isfinite(value)},
            )
            for selection, snapshot in self.snapshots.items()
            for split, detail in snapshot.items()
            if split != "epoch"
            for metric, scores in detail["per_class"].items()
        ]

    def state(self) -> dict[str, Any]:
        """Plain types for a checkpoint."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> History:
        """The inverse of `state`."""
        history = cls()
        vars(history).update(state)
        return history


def split_and_metric(key: str) -> tuple[str, str]:
    """`"test/recall_at_1"` -> `("test", "recall_at_1")`."""
    split, _, metric = key.partition("/")
    return split, metric
