"""Estimate against truth: what `harness plan` foresaw of a run's time, and what it took."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.evidence import CELL, Evidence
from harness.report.figures.labels import key, place_labels
from harness.report.names import number
from harness.report.section import Drawing, Section, Table
from harness.report.style import FAINT, MUTED, OTHER, PLAIN, panels, settle, tip

TITLE = "Estimate against truth"
SOURCES = {"measured": ("steps timed before", PLAIN, "o"), "database": ("earlier runs", OTHER, "s")}
"""Where an estimate came from: in words, color, marker."""


def analyze(evidence: Evidence) -> Section:
    """One row and one point a method: mean seconds of a run, planned and actual."""
    if evidence.estimates.empty:
        text = "No estimate was recorded: `harness plan` makes one of the runs that are missing."
        return Section("estimate", TITLE, [text])
    compared = estimate(evidence)
    if compared.empty:
        return Section("estimate", TITLE, [f"None of the {len(evidence.estimates)} planned runs is done yet."])
    return Section(
        "estimate", TITLE, [_reading(evidence, compared)], [_table(evidence, compared)], [_drawing(compared)]
    )


def estimate(evidence: Evidence) -> pd.DataFrame:
    """One row a method and source: setting, method, cell, source, device, n (planned runs that are done), planned and
    actual (mean seconds of such a run, from its first moment to its last number), ratio (actual / planned)."""
    runs = evidence.runs[evidence.runs["state"] == "done"]
    if "total_seconds" not in runs:
        return pd.DataFrame()
    setup = runs["setup_seconds"].fillna(0.0) if "setup_seconds" in runs else 0.0
    truth = runs[["run_id", *CELL, "cell"]].assign(actual=runs["total_seconds"] + setup)
    planned = evidence.estimates[["run_id", "seconds", "source", "device"]].rename(columns={"seconds": "planned"})
    both = truth.merge(planned, on="run_id").dropna(subset=["actual"])
    grouped = both.groupby([*CELL, "cell", "source", "device"], sort=False)
    frame = grouped[["planned", "actual"]].mean().assign(n=grouped.size()).reset_index()
    return frame.assign(ratio=frame["actual"] / frame["planned"])


def _reading(evidence: Evidence, compared: pd.DataFrame) -> str:
    total = {name: float((compared[name] * compared["n"]).sum()) for name in ("planned", "actual")}
    near = int(compared["ratio"].between(0.5, 2.0).sum())
    done = int(compared["n"].sum())
    more = len(evidence.estimates) - done
    rest = f" {more} more planned runs are not done." if more else ""
    times = total["actual"] / total["planned"]
    return (
        f"{done} planned runs are done. They were to take {_hours(total['planned'])} of worker time and took "
        f"{_hours(total['actual'])}, {times:.2f} times as long. {near} of {len(compared)} methods lie within a factor "
        f"of two.{rest} Steps timed alone do not foresee that runs which share a machine slow each other down, nor "
        "that the first run of a worker loads libraries, some seconds that matter to short runs only."
    )


def _table(evidence: Evidence, compared: pd.DataFrame) -> Table:
    shown = pd.DataFrame({"Method": compared["method"], "Setting": compared["setting"], "n": compared["n"].astype(str)})
    for name in ("planned", "actual"):
        shown[f"{name} (s)"] = [number(value, 0 if value >= 100 else 1) for value in compared[name]]
    shown["actual / planned"] = [number(value, 2) for value in compared["ratio"]]
    shown["Estimate from"] = [SOURCES[source][0] if source in SOURCES else source for source in compared["source"]]
    caption = "Mean seconds of a run over its n planned and finished runs: as foreseen, and as it was."
    links = {"Method": [f"#{cell}" for cell in compared["cell"]]}
    return Table("estimate", caption, compared, evidence.with_setting(shown), links)


def _drawing(compared: pd.DataFrame) -> Drawing:
    caption = (
        "Seconds a run took against the seconds it was to take; one point a method, means over its runs, both axes "
        "logarithmic. On the line the estimate was right; between the dashed lines it was within a factor of two."
    )
    alt = "Scatter plot of actual against planned seconds of a run"
    return Drawing("estimate", caption, partial(_draw, compared), alt, "estimate")


def _draw(compared: pd.DataFrame) -> Figure:
    figure, [[axis]] = panels(1, 1, 5.6, 4.8)
    both = compared[["planned", "actual"]].to_numpy(dtype=float)
    ends = np.array([both.min() / 2.5, both.max() * 2.5])
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    axis.plot(ends, ends, color=MUTED, linewidth=1, zorder=1)
    for factor in (0.5, 2.0):
        axis.plot(ends, ends * factor, color=FAINT, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    for row in compared.to_dict("records"):
        _, color, marker = SOURCES.get(row["source"], SOURCES["measured"])
        (point,) = axis.plot(row["planned"], row["actual"], marker, color=color, markersize=5, markeredgewidth=0)
        tip(point, f"{row['method']}: planned {row['planned']:.3g} s, took {row['actual']:.3g} s")
    axis.set_xlabel("planned seconds of a run")
    axis.set_ylabel("actual seconds of a run")
    if compared["source"].nunique() > 1:
        _legend(figure)
    texts = key(axis, list(compared["method"]))
    settle(figure)  # the labels are placed in the final layout
    place_labels(axis, both[:, 0], both[:, 1], texts)
    return figure


def _legend(figure: Any) -> None:
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=f"estimated from {text}")
        for text, color, marker in SOURCES.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
