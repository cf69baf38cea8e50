"""Relative performance of batch samplers: a row a setting, a panel a metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.names import metric
from harness.report.style import INK, MARKERS, MUTED, SERIES, limits, panels, tip


def relative_panels(shares: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Columns as `analyses.batch_samplers.relative` and `summarize` give them."""
    settings, names = (list(dict.fromkeys(shares[column])) for column in ("setting", "metric"))
    samplers, recipes = (list(dict.fromkeys(shares[column])) for column in ("sampler", "recipe"))
    height = 0.9 + 0.3 * len(samplers)
    figure, grid = panels(len(settings), len(names), 1.9, height, sharex="col", sharey=True)
    for axes, setting in zip(grid, settings, strict=True):
        for axis, name in zip(axes, names, strict=True):
            runs = shares[(shares["setting"] == setting) & (shares["metric"] == name)]
            means = summary[(summary["setting"] == setting) & (summary["metric"] == name)]
            _panel(axis, runs, means, samplers, recipes)
            axis.set_title(
                metric(name).title if len(settings) == 1 else f"{metric(name).title}\n{setting}", fontsize=8.5
            )
    for axis in grid[-1]:
        axis.set_xlabel("% of mean")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, markerscale=1.5)
    return figure


def _panel(axis: Axes, runs: pd.DataFrame, means: pd.DataFrame, samplers: list[str], recipes: list[str]) -> None:
    axis.axvline(0, color=MUTED, linewidth=1)
    for order, recipe in enumerate(recipes):
        own = runs[runs["recipe"] == recipe]
        places = [samplers.index(name) + 0.28 * _spread(order, len(recipes)) for name in own["sampler"]]
        style: dict[str, Any] = {"color": SERIES[order % len(SERIES)], "marker": MARKERS[order % len(MARKERS)]}
        axis.plot((own["relative"] - 1) * 100, places, linestyle="", markersize=3, alpha=0.75, label=recipe, **style)
    for row in means.to_dict("records"):
        place, mean = samplers.index(row["sampler"]), (row["mean"] - 1) * 100
        half = (row["high"] - row["mean"]) * 100
        if np.isfinite(half):
            axis.errorbar(mean, place, xerr=half, color=INK, capsize=2.5, elinewidth=1)
        (point,) = axis.plot(mean, place, "D", color=INK, markersize=4.5)
        tip(point, f"{row['sampler']}: {mean:+.1f} %, n={row['n']} recipes")
    values = (runs["relative"].to_numpy(dtype=float) - 1) * 100
    axis.set_xlim(*limits(values, np.zeros_like(values)))
    axis.set_yticks(range(len(samplers)), samplers)
    axis.set_ylim(len(samplers) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.locator_params(axis="x", nbins=5)


def _spread(order: int, count: int) -> float:
    """From -1 to 1, so that the marks of recipes do not cover each other."""
    return 0.0 if count < 2 else 2 * order / (count - 1) - 1
