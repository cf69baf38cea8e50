"""The toy experiment in panels: the points, a circle for the embedding of each arm, bars of the singular values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.report.statistics import Vector
from harness.report.style import FAINT, INK, MARKERS, MUTED, PAPER, PLAIN, REGULARIZED, SERIES, panels, tip

INSIDE = 0.8
"""Radius on which the test points are drawn."""
COLUMNS = 3


def toy_panels(
    points: Vector,
    labels: NDArray[np.int64],
    angles: pd.DataFrame,
    arms: pd.DataFrame,
    published: Mapping[str, tuple[float, float]],
) -> Figure:
    """Points [N, 2] with labels [N]; frames as `analyses.toy_lines.embedded` and `summary` give them."""
    names = list(dict.fromkeys(angles["arm"]))
    rows = -(-(len(names) + 2) // COLUMNS)
    figure, grid = panels(rows, COLUMNS, 2.8, 2.75)
    axes = [axis for line in grid for axis in line]
    _data(axes[0], points, labels)
    for axis, name in zip(axes[1:], names, strict=False):
        _circle(axis, angles[angles["arm"] == name])
        axis.set_title(name)
    _bars(axes[1 + len(names)], arms, names, published)
    for axis in axes[2 + len(names) :]:
        axis.set_axis_off()
    return figure


def _look(label: int) -> dict[str, Any]:
    """One color a line, the same for its test twin; test points are hollow."""
    color = SERIES[label % 4]
    fill = color if label < 4 else PAPER
    return {"color": color, "marker": MARKERS[label % 4], "markerfacecolor": fill, "markersize": 4, "linestyle": ""}


def _data(axis: Axes, points: Vector, labels: NDArray[np.int64]) -> None:
    for label in np.unique(labels):
        axis.plot(*points[labels == label].T, **_look(int(label)))
    axis.set_title("the points")
    axis.set_aspect("equal")
    axis.set(xlabel="x", ylabel="y", xlim=(0, 1.1), ylim=(0, 1.1))


def _circle(axis: Axes, angles: pd.DataFrame) -> None:
    around = np.linspace(0, 2 * np.pi, 200)
    for radius in (1.0, INSIDE):
        axis.plot(radius * np.cos(around), radius * np.sin(around), color=FAINT, linewidth=0.8, zorder=1)
    for (split, label), own in angles.groupby(["split", "label"], sort=False):
        radius = 1.0 if split == "train" else INSIDE
        axis.plot(radius * np.cos(own["angle"]), radius * np.sin(own["angle"]), **_look(int(str(label))))
    axis.set_aspect("equal")
    axis.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15))
    axis.set_axis_off()


def _bars(axis: Axes, arms: pd.DataFrame, names: list[str], published: Mapping[str, tuple[float, float]]) -> None:
    for order, (name, color) in enumerate((("first", PLAIN), ("second", REGULARIZED))):
        own = {row["arm"]: row for row in arms[arms["name"] == name].to_dict("records")}
        places = np.arange(len(names)) + 0.4 * (order - 0.5)
        for place, arm in zip(places, names, strict=True):
            mean, high = own[arm]["mean"], own[arm]["high"]
            bar = axis.barh(
                place, mean, height=0.36, color=color, alpha=0.85, label=f"{name} value" if arm == names[0] else ""
            )
            tip(bar[0], f"{arm}: {mean:.3f}")
            if np.isfinite(high):
                half = [[min(high - mean, mean)], [min(high - mean, 1 - mean)]]
                axis.errorbar(mean, place, xerr=half, color=INK, capsize=2, elinewidth=1)
            if arm in published:
                axis.plot(published[arm][order], place, "|", color=INK, markersize=9, markeredgewidth=2)
    axis.set_yticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names])
    axis.set(xlim=(0, 1), xlabel="share of the sum")
    axis.invert_yaxis()
    axis.set_title("singular values")
    axis.grid(axis="y", visible=False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=7)
    axis.spines["left"].set_color(MUTED)
