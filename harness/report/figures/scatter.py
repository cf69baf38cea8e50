"""Scatter plots of properties of the embedding against R@1; one point is one method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.figures.labels import key, place_labels
from harness.report.figures.most import POINTS
from harness.report.names import STATISTICS, metric, number
from harness.report.statistics import least_squares
from harness.report.style import INK, MUTED, PLAIN, REGULARIZED, limits, panels, role_color, settle, tip


def property_grid(clouds: dict[str, pd.DataFrame], told: dict[tuple[str, str], str]) -> Figure:
    """A row a source of points, a column a property; `told` gives each panel, by source and property, its title.

    Columns of a cloud: method, regularizer, base, recall_at_1, half_width and the properties.
    """
    figure, grid = panels(len(clouds), len(STATISTICS), 2.6, 2.45, sharey="row")
    for axes, (source, cloud) in zip(grid, clouds.items(), strict=True):
        for axis, name in zip(axes, STATISTICS, strict=True):
            _scatter(axis, cloud, name, own=not source.startswith("Roth"))
            axis.set_title(told[source, name], fontsize=8, fontweight="normal", color=INK)
        axes[0].set_ylabel(f"{source.replace(': ', ':' + chr(10))}\ntest R@1 (%)")
    for axis, name in zip(grid[-1], STATISTICS, strict=True):
        axis.set_xlabel(f"{metric(name).title}, train classes")
    _legend(figure)
    return figure


def labelled_decay(own: pd.DataFrame) -> Figure:
    """R@1 against spectral decay with every method named or numbered from the best on, one panel a setting."""
    settings = list(dict.fromkeys(own["setting"]))
    figure, grid = panels(len(settings), 1, 8.4, 4.6)
    clouds = [own[(own["setting"] == name) & own["rho"].notna()] for name in settings]
    clouds = [cloud.sort_values("recall_at_1", ascending=False) for cloud in clouds]
    texts = []
    for [axis], setting, cloud in zip(grid, settings, clouds, strict=True):
        _scatter(axis, cloud, "rho", own=True)
        axis.locator_params(axis="x", nbins=8)
        axis.set(title=setting, ylabel="test R@1 (%)", xlabel=f"{metric('rho').title}, train classes")
        texts.append(key(axis, list(cloud["method"])))
    _legend(figure)
    settle(figure)  # the labels are placed in the final layout
    for [axis], cloud, told in zip(grid, clouds, texts, strict=True):
        x, y = cloud["rho"].to_numpy(dtype=float), cloud["recall_at_1"].to_numpy(dtype=float) * 100
        place_labels(axis, x, y, told, _lines(cloud))
    return figure


def _scatter(axis: Any, cloud: pd.DataFrame, name: str, own: bool) -> None:
    cloud = cloud[cloud[name].notna()]
    marker = "o" if own else "^"
    for regularizer, group in cloud.groupby(cloud["regularizer"] == "none"):
        color = role_color("none" if regularizer else "some")
        half = group["half_width"].to_numpy(dtype=float) * 100
        sure = np.isfinite(half)
        if sure.any():
            x, y = group[name].to_numpy(dtype=float)[sure], group["recall_at_1"].to_numpy(dtype=float)[sure] * 100
            axis.vlines(x, y - half[sure], y + half[sure], color=color, linewidth=0.8, alpha=0.6)
    many = len(cloud) > POINTS
    for role, group in cloud.groupby(cloud["regularizer"].eq("none")) if many else ():
        color = role_color("none" if role else "any")
        axis.plot(group[name], group["recall_at_1"] * 100, marker, color=color, markersize=3, markeredgewidth=0)
    for row in [] if many else cloud.to_dict("records"):
        x, y = row[name], row["recall_at_1"] * 100
        (point,) = axis.plot(x, y, marker, color=role_color(row["regularizer"]), markersize=4.5, markeredgewidth=0)
        tip(point, f"{row['method']}: {metric(name).title} {number(x, 3)}, R@1 {y:.1f}")
    for start, end in [] if many else _arrows(cloud):
        axis.annotate(
            "",
            (end[name], end["recall_at_1"] * 100),
            (start[name], start["recall_at_1"] * 100),
            arrowprops={"arrowstyle": "->", "color": MUTED, "linewidth": 0.7, "alpha": 0.7, "shrinkA": 3, "shrinkB": 3},
        )
    x, y = _plain_pairs(cloud, name)
    line = least_squares(x, y)
    if line:
        ends = np.array([0.9 * x.min(), 1.1 * x.max()])
        axis.plot(ends, (line[0] * ends + line[1]) * 100, color=MUTED, linestyle=(0, (4, 2)), linewidth=1, zorder=1)
    if len(cloud):
        axis.set_ylim(*limits(cloud["recall_at_1"] * 100, cloud["half_width"] * 100))
    axis.locator_params(nbins=5)


def _lines(cloud: pd.DataFrame) -> Any:
    """Intervals and arrows as segments, which labels should not cover."""
    records = cloud[np.isfinite(cloud["half_width"])].to_dict("records")
    spans = [(row["rho"], row["recall_at_1"] * 100, row["half_width"] * 100) for row in records]
    bars = [(x, y - half, x, y + half) for x, y, half in spans]
    arrows = [
        (start["rho"], start["recall_at_1"] * 100, end["rho"], end["recall_at_1"] * 100)
        for start, end in _arrows(cloud)
    ]
    return np.array([*bars, *arrows], dtype=float).reshape(-1, 4)


def _plain_pairs(cloud: pd.DataFrame, name: str) -> tuple[Any, Any]:
    plain = cloud[cloud["regularizer"] == "none"]
    return plain[name].to_numpy(dtype=float), plain["recall_at_1"].to_numpy(dtype=float)


def _arrows(cloud: pd.DataFrame) -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    """Pairs (plain method, its regularized form)."""
    records = cloud.to_dict("records")
    named = {row["method"]: row for row in records}
    return [(named[row["base"]], row) for row in records if row["base"] in named]


def _legend(figure: Any) -> None:
    kinds = (("plain", PLAIN, "o"), ("regularized", REGULARIZED, "o"))
    handles = [Line2D([], [], color=color, marker=marker, linestyle="", label=text) for text, color, marker in kinds]
    figure.legend(handles=handles, loc="outside lower right", ncols=2)
