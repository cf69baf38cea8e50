"""Quality against cost: a panel a setting and device, with the methods that no other beats in both."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.figures.labels import key, place_labels
from harness.report.figures.most import POINTS
from harness.report.style import MUTED, limits, panels, role_color, tip


def quality_panels(costs: pd.DataFrame) -> Figure:
    """Columns as `analyses.cost.cost` gives them; the methods on the front are named."""
    groups = list(costs.groupby(["setting", "device"], sort=False))
    figure, grid = panels(len(groups), 1, 7.4, 3.6)
    named = []
    for [axis], ((setting, device), own) in zip(grid, groups, strict=True):
        unit, scale = ("hours", 1.0) if own["hours"].max() >= 1 else ("seconds", 3600.0)
        own = own.assign(cost=own["hours"] * scale)
        front = own[own["on_front"]].sort_values("cost")
        axis.step(front["cost"], front["recall_at_1"] * 100, where="post", color=MUTED, linewidth=1, zorder=1)
        _points(axis, own, f"{device}-{unit}")
        axis.set(title=setting, ylabel="test R@1 (%)", xlabel=f"{device}-{unit} a run")
        axis.set_ylim(*limits(own["recall_at_1"] * 100, own["half_width"] * 100))
        axis.xaxis.set_major_locator(MaxNLocator(7))
        named.append((front, key(axis, list(front["method"]))))
    figure.draw_without_rendering()  # the labels are placed in the final layout
    for [axis], (front, texts) in zip(grid, named, strict=True):
        place_labels(axis, front["cost"].to_numpy(dtype=float), front["recall_at_1"].to_numpy(dtype=float) * 100, texts)
    return figure


def _points(axis: Axes, own: pd.DataFrame, unit: str) -> None:
    if len(own) > POINTS:
        others = own[~own["on_front"]]
        for regularizer, group in others.groupby("regularizer", sort=False):
            color = role_color(str(regularizer))
            axis.plot(group["cost"], group["recall_at_1"] * 100, "o", color=color, markerfacecolor="none", markersize=3)
        own = own[own["on_front"]]
    for row in own.to_dict("records"):
        color, value = role_color(row["regularizer"]), row["recall_at_1"] * 100
        if np.isfinite(row["half_width"]):
            half = row["half_width"] * 100
            axis.vlines(row["cost"], value - half, value + half, color=color, linewidth=0.8, alpha=0.5)
        fill = color if row["on_front"] else "none"
        (point,) = axis.plot(row["cost"], value, "o", color=color, markerfacecolor=fill, markersize=5.5)
        tip(point, f"{row['method']}: {row['cost']:.2f} {unit}, R@1 {value:.1f}")
