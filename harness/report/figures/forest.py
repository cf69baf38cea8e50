"""Differences with their intervals, one method a line, and the region in which a difference does not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.style import FAINT, MUTED, OTHER, PLAIN, REGULARIZED, limits, panels, tip

LOOKS = {
    "better": (PLAIN, "^"),
    "worse": (REGULARIZED, "v"),
    "practically equal": (OTHER, "o"),
    "not enough runs": (MUTED, "D"),
}
"""Color and marker of a verdict; what is not decided is drawn hollow."""


def forest(rows: pd.DataFrame, region: float, xlabel: str) -> Figure:
    """`rows` from top to bottom: method, difference, low, high (nan without an interval), verdict, told; in the unit of
    `region`, which is half the width of the region of practical equivalence."""
    figure, [[axis]] = panels(1, 1, 7.2, 1.3 + 0.27 * len(rows))
    axis.axvspan(-region, region, color=FAINT, alpha=0.45, linewidth=0)
    axis.axvline(0, color=MUTED, linewidth=0.8)
    for place, row in enumerate(rows.to_dict("records")):
        color, marker = LOOKS[row["verdict"]]
        fill = "none" if row["verdict"] == "not enough runs" else color
        if np.isfinite(row["low"]):
            axis.plot([row["low"], row["high"]], [place, place], color=color, linewidth=1.4, solid_capstyle="butt")
        (point,) = axis.plot(row["difference"], place, marker, color=color, markersize=6, markerfacecolor="none")
        point.set_markerfacecolor(fill)
        tip(point, f"{row['method']}: {row['told']}")
    axis.set_yticks(range(len(rows)), list(rows["method"]))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    # The interval of two runs reaches twelve times as far as their difference; it may not hide all others.
    axis.set_xlim(*limits([*rows["difference"], -region, region], [*(rows["high"] - rows["difference"]), 0, 0]))
    axis.set_xlabel(xlabel)
    axis.grid(axis="y", visible=False)
    handles = _legend(set(rows["verdict"]), region)
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if len(handles) == 3 else 2)
    return figure


def _legend(verdicts: set[str], region: float) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [Patch(color=FAINT, alpha=0.45, label=f"practically equal: ±{region:g} points")]
    for verdict, (color, marker) in LOOKS.items():
        if verdict in verdicts:
            fill = "none" if verdict == "not enough runs" else color
            handles.append(
                Line2D([], [], linestyle="", marker=marker, color=color, markerfacecolor=fill, label=verdict)
            )
    return handles
