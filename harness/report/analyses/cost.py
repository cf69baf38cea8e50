"""What methods cost: time and memory a run, beside what they reach."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.report.evidence import CELL, Evidence
from harness.report.figures.cost import quality_panels
from harness.report.names import number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import Vector

TITLE = "What do they cost?"
SUFFIXES = ("_seconds", "_ms", "_mb")
DEVICE_MEMORY = "peak_device_memory_mb"
"""Only recorded on a GPU, and so tells which runs had one."""

SHOWN = {
    "total_seconds": "whole run (s)",
    "train_seconds": "training (s)",
    "mining_seconds": "mining (s)",
    "objective_seconds": "objective (s)",
    "embedding_seconds": "embedding (s)",
    "metrics_seconds": "metrics (s)",
    "setup_seconds": "setup (s)",
    DEVICE_MEMORY: "peak memory (MB)",
}
"""What people read, in this order; the CSV has every cost that runs recorded. Training holds mining and objective."""


def analyze(evidence: Evidence) -> Section:
    """Cost a method, and R@1 against GPU-hours (or those of workers without one), with the Pareto front."""
    costs = cost(evidence)
    names = [name for name in costs.columns if str(name).endswith(SUFFIXES)]
    if costs.empty or not names:
        return Section("cost", TITLE, ["No run has recorded what it cost."])
    drawings = _drawing(costs) if (costs["recall_at_1"].notna() & costs["hours"].notna()).any() else []
    whole = "total_seconds" if "total_seconds" in names else "train_seconds"
    total = evidence.runs[whole].sum() if whole in names else 0.0
    text = (
        f"The finished runs took {_duration(float(total))} one after another. Times are means over runs on "
        "whatever machines they ran; runs that shared a machine slowed each other down, so small differences mean "
        "nothing."
    )
    return Section("cost", TITLE, [text], [_table(evidence, costs, names)], drawings)


def cost(evidence: Evidence) -> pd.DataFrame:
    """One row a method.

    Columns: setting, method, regularizer, n (done runs), recall_at_1 (test), half_width (nan for one seed), device
    ("GPU", or "worker" for runs without one), hours (of the device, a run), on_front (no method of the same setting and
    device is at most as costly and as good, and better in one of both), and the mean of each recorded cost.
    """
    done = evidence.runs[evidence.runs["state"] == "done"]
    names = [name for name in done.columns if str(name).endswith(SUFFIXES) and done[name].notna().any()]
    order = list(SHOWN)
    names.sort(key=lambda name: (order.index(name) if name in SHOWN else len(order), name))
    grouped = done.groupby([*CELL, "regularizer", "cell"], sort=False)
    frame = grouped[names].mean().assign(n=grouped.size()).reset_index()
    recall = evidence.means("recall_at_1", "test")
    keys = list(zip(frame["setting"], frame["method"], strict=True))
    frame["recall_at_1"] = [recall[key].mean if key in recall else np.nan for key in keys]
    halves = [recall[key].half_width if key in recall else None for key in keys]
    frame["half_width"] = [np.nan if half is None else half for half in halves]
    on_gpu = frame[DEVICE_MEMORY].notna() if DEVICE_MEMORY in frame else pd.Series(False, index=frame.index)
    whole = next((name for name in ("total_seconds", "train_seconds") if name in frame), None)
    frame["device"] = np.where(on_gpu, "GPU", "worker")
    frame["hours"] = frame[whole] / 3600 if whole else np.nan
    frame["on_front"] = False
    known = frame[frame["recall_at_1"].notna() & frame["hours"].notna()]
    for _, own in known.groupby(["setting", "device"], sort=False):
        best = pareto(own["hours"].to_numpy(dtype=float), own["recall_at_1"].to_numpy(dtype=float))
        frame.loc[own.index, "on_front"] = best
    return frame


def _table(evidence: Evidence, costs: pd.DataFrame, names: list[str]) -> Table:
    shown = pd.DataFrame({"Method": costs["method"], "Setting": costs["setting"], "n": costs["n"].astype(str)})
    shown["R@1"] = [number(value * 100) for value in costs["recall_at_1"]]
    shown["Pareto front"] = np.where(costs["on_front"], "yes", "")
    for name in (name for name in SHOWN if name in names):
        shown[SHOWN[name]] = [number(value, 0 if name.endswith("_mb") or value >= 100 else 1) for value in costs[name]]
    caption = (
        "Mean cost of the n finished runs of a method, beside test R@1 in percent. On the Pareto front: no other "
        "method takes no more time and is at least as good, and better in one of both."
    )
    return Table(
        "cost", caption, costs, evidence.with_setting(shown), {"Method": [f"#{cell}" for cell in costs["cell"]]}
    )


def _drawing(costs: pd.DataFrame) -> list[Drawing]:
    caption = (
        "Test R@1 (mean over seeds with Student-t 95% interval; one that leaves the panel is cut) against what a run "
        "costs: the mean time that it holds a GPU, or a worker where it ran without one. Blue plain, vermilion "
        "regularized. Filled and named: no other method is both cheaper and better (Pareto front). Runs that shared a "
        "machine took longer, which moves points to the right."
    )
    shown = costs[costs["recall_at_1"].notna() & costs["hours"].notna()]
    alt = "Scatter plot of recall against cost"
    return [Drawing("cost", caption, partial(quality_panels, shown), alt, "cost")]


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
