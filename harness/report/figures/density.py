"""Our points over those of the papers: both in units of their own spread, so that slopes are coefficients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.names import STATISTICS, metric, number
from harness.report.statistics import Vector, pearson
from harness.report.style import DASHES, FAINT, MARKERS, MUTED, PLAIN, panels, tip

REACH = 3.2
"""Standard deviations to either side that are shown."""


def overlay(own: Mapping[str, pd.DataFrame], papers: Mapping[str, pd.DataFrame]) -> Figure:
    """A row a setting, a column a property; plain methods of ours in color, those of the papers behind them in grey.

    Columns of a cloud: method, regularizer, recall_at_1 and the properties.
    """
    figure, grid = panels(len(own), len(STATISTICS), 2.5, 2.5, sharey=True)
    for axes, (setting, cloud) in zip(grid, own.items(), strict=True):
        for axis, name in zip(axes, STATISTICS, strict=True):
            for order, theirs in enumerate(papers.values()):
                _draw(axis, theirs, name, FAINT, MARKERS[order + 1], DASHES[order + 1], 3.5)
            told = _draw(axis, cloud, name, PLAIN, "o", "-", 4.5)
            axis.set_title(told, fontsize=8.5, fontweight="normal")
            axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
        axes[0].set_ylabel(f"{setting}\ntest R@1 (sd)")
    for axis, name in zip(grid[-1], STATISTICS, strict=True):
        axis.set_xlabel(f"{metric(name).title}, train (sd)")
    handles = [Line2D([], [], color=PLAIN, marker="o", linestyle="-", label="here")]
    for order, title in enumerate(papers):
        style = {"color": MUTED, "marker": MARKERS[order + 1], "linestyle": DASHES[order + 1]}
        handles.append(Line2D([], [], markersize=4, label=title, **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7.5, handlelength=3)
    return figure


def _draw(axis: Axes, cloud: pd.DataFrame, name: str, color: str, marker: str, dash: object, size: float) -> str:
    plain = cloud[(cloud["regularizer"] == "none") & cloud[name].notna()]
    x, y = _in_sd(plain[name]), _in_sd(plain["recall_at_1"])
    for row, one, other in zip(plain.to_dict("records"), x, y, strict=True):
        (point,) = axis.plot(one, other, marker, color=color, markersize=size, markeredgewidth=0, zorder=2)
        tip(point, f"{row['method']}: {metric(name).title} {number(row[name], 3)}, R@1 {row['recall_at_1'] * 100:.1f}")
    slope = pearson(x, y).value
    if slope is None:
        return "no coefficient"
    ends = np.array([-REACH, REACH])
    line = MUTED if color == FAINT else color
    axis.plot(ends, slope * ends, color=line, linestyle=dash, linewidth=1.2 if color == FAINT else 1.8, zorder=1)
    return f"r = {number(slope, 2)}"


def _in_sd(values: pd.Series) -> Vector:
    numbers = values.to_numpy(dtype=float)
    spread = numbers.std() if len(numbers) else 0.0
    return np.asarray((numbers - numbers.mean()) / spread) if spread > 0 else np.zeros_like(numbers)
