"""What methods cost: time and memory a run, beside what they reach."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.report.evidence import CELL, Evidence
from harness.report.names import number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import Vector
from harness.report.style import MUTED, panels, role_color, tip

TITLE = "What do they cost?"
SUFFIXES = ("_seconds", "_ms", "_mb")
SHOWN = {
    "total_seconds": "whole run (s)",
    "train_seconds": "training (s)",
    "mining_seconds": "mining (s)",
    "objective_seconds": "objective (s)",
    "embedding_seconds": "embedding (s)",
    "metrics_seconds": "metrics (s)",
    "setup_seconds": "setup (s)",
    "peak_device_memory_mb": "peak memory (MB)",
}
"""What people read, in this order; the CSV has every cost that runs recorded. Training holds mining and objective."""


def analyze(evidence: Evidence) -> Section:
    """Cost a method, and R@1 against the time of training."""
    costs = cost(evidence)
    names = [name for name in costs.columns if str(name).endswith(SUFFIXES)]
    if costs.empty or not names:
        return Section("cost", TITLE, ["No run has recorded what it cost."])
    drawings = _drawing(costs) if "train_seconds" in names and costs["recall_at_1"].notna().any() else []
    whole = "total_seconds" if "total_seconds" in names else "train_seconds"
    total = evidence.runs[whole].sum() if whole in names else 0.0
    text = (
        f"The finished runs took {_duration(float(total))} one after another. Times are means over runs on "
        "whatever machines they ran; runs that shared a machine slowed each other down, so small differences mean "
        "nothing."
    )
    return Section("cost", TITLE, [text], [_table(evidence, costs, names)], drawings)


def cost(evidence: Evidence) -> pd.DataFrame:
    """One row a method: setting, method, regularizer, n (done runs), recall_at_1 (test), and the mean of each cost."""
    done = evidence.runs[evidence.runs["state"] == "done"]
    names = [name for name in done.columns if str(name).endswith(SUFFIXES) and done[name].notna().any()]
    order = list(SHOWN)
    names.sort(key=lambda name: (order.index(name) if name in SHOWN else len(order), name))
    grouped = done.groupby([*CELL, "regularizer", "cell"], sort=False)
    frame = grouped[names].mean().assign(n=grouped.size()).reset_index()
    recall = evidence.means("recall_at_1", "test")
    keys = zip(frame["setting"], frame["method"], strict=True)
    frame["recall_at_1"] = [recall[key].mean if key in recall else np.nan for key in keys]
    return frame


def _table(evidence: Evidence, costs: pd.DataFrame, names: list[str]) -> Table:
    shown = pd.DataFrame({"Method": costs["method"], "Setting": costs["setting"], "n": costs["n"].astype(str)})
    shown["R@1"] = [number(value * 100) for value in costs["recall_at_1"]]
    for name in (name for name in SHOWN if name in names):
        shown[SHOWN[name]] = [number(value, 0 if name.endswith("_mb") or value >= 100 else 1) for value in costs[name]]
    caption = "Mean cost of the n finished runs of a method, beside test R@1 in percent."
    return Table(
        "cost", caption, costs, evidence.with_setting(shown), {"Method": [f"#{cell}" for cell in costs["cell"]]}
    )


def _drawing(costs: pd.DataFrame) -> list[Drawing]:
    caption = (
        "Test R@1 against the mean time a run trains; blue plain, vermilion regularized. Filled: no other method is "
        "both quicker and better (Pareto front), named; means, no intervals."
    )
    return [Drawing("cost", caption, partial(_draw, costs), "Scatter plot of recall against training time", "cost")]


def _draw(costs: pd.DataFrame) -> Figure:
    settings = list(dict.fromkeys(costs["setting"]))
    figure, grid = panels(len(settings), 1, 7.0, 3.4)
    for [axis], setting in zip(grid, settings, strict=True):
        own = costs[(costs["setting"] == setting) & costs["recall_at_1"].notna() & costs["train_seconds"].notna()]
        front = pareto(own["train_seconds"].to_numpy(dtype=float), own["recall_at_1"].to_numpy(dtype=float))
        edge = own[front].sort_values("train_seconds")
        axis.plot(edge["train_seconds"], edge["recall_at_1"] * 100, color=MUTED, linewidth=1, drawstyle="steps-post")
        for row, on_front in zip(own.to_dict("records"), front, strict=True):
            color = role_color(row["regularizer"])
            fill = color if on_front else "none"
            (point,) = axis.plot(
                row["train_seconds"], row["recall_at_1"] * 100, "o", color=color, markerfacecolor=fill, markersize=6
            )
            tip(point, f"{row['method']}: {row['train_seconds']:.0f} s, R@1 {row['recall_at_1'] * 100:.1f}")
            if on_front:
                place: Any = {"xytext": (5, -9), "textcoords": "offset points", "fontsize": 7.5}
                axis.annotate(row["method"], (row["train_seconds"], row["recall_at_1"] * 100), **place)
        axis.set_title(setting)
        axis.set_ylabel("test R@1 (%)")
        axis.set_xlabel("training time a run (s)")
    return figure


def pareto(costs: Vector, qualities: Vector) -> NDArray[np.bool_]:
    """Which points no other point beats: none is at most as costly and at least as good, and better in one of both."""
    cheaper = costs[None, :] <= costs[:, None]
    better = qualities[None, :] >= qualities[:, None]
    strictly = (costs[None, :] < costs[:, None]) | (qualities[None, :] > qualities[:, None])
    return np.asarray(~np.any(cheaper & better & strictly, axis=1))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
