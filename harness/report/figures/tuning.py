"""Figures of tuning: expected highest score by budget, importances of options, scores by option."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.names import metric
from harness.report.style import FAINT, MUTED, PLAIN, REGULARIZED, panels, tip

COLUMNS = 3
MOST_PANELS = 24
"""Panels of one figure; the tables have all."""


def draw_expectations(expected: pd.DataFrame, defaults: Mapping[str, float], name: str) -> Figure:
    """One panel a method: its line and band over the faint lines of all others."""
    scale = metric(name).scale
    methods = list(dict.fromkeys(expected["method"]))[:MOST_PANELS]
    figure, axes = _grid(len(methods), 2.2, sharex=True, sharey=True)
    for place, (axis, method) in enumerate(zip(axes, methods, strict=False)):
        for other, line in expected.groupby("method", sort=False):
            if other != method:
                axis.plot(line["trials"], line["expected"] * scale, color=FAINT, linewidth=0.7, alpha=0.7, zorder=1)
        own = expected[expected["method"] == method]
        axis.fill_between(own["trials"], own["low"] * scale, own["high"] * scale, color=PLAIN, alpha=0.18, linewidth=0)
        (drawn,) = axis.plot(own["trials"], own["expected"] * scale, color=PLAIN)
        tip(drawn, f"{method}: {own['expected'].iloc[-1] * scale:.1f} after {own['trials'].iloc[-1]} trials")
        if np.isfinite(defaults.get(method, np.nan)):
            axis.axhline(defaults[method] * scale, color=MUTED, linewidth=0.9, linestyle=(0, (1.5, 1.5)))
        axis.set_title(_short(method))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label(axis, place, len(methods), "trials", f"highest {metric(name).axis}")
    return figure


def draw_importances(shares: pd.DataFrame) -> Figure:
    """One bar an option, grouped by method."""
    methods = list(dict.fromkeys(shares["method"]))
    figure, [[axis]] = panels(1, 1, 6.8, 0.6 + 0.22 * len(shares) + 0.12 * len(methods))
    place, ticks = 0.0, []
    for method in methods:
        for row in shares[shares["method"] == method].to_dict("records"):
            bar = axis.barh(place, row["importance"], height=0.7, color=PLAIN, alpha=0.85)[0]
            tip(bar, f"{method}, {row['option']}: {row['importance']:.2f} (n={row['n']})")
            ticks.append((place, f"{_short(method)}: {row['option'].rpartition('.')[2]}"))
            place += 1
        place += 0.6
    axis.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    axis.set_ylim(place - 0.6, -0.8)
    axis.set_xlim(0, 1)
    axis.set_xlabel("importance (share of variance)")
    axis.grid(axis="y", visible=False)
    return figure


def draw_slices(cuts: pd.DataFrame, name: str) -> Figure:
    """One panel a method and option: the score of each trial against the value of the option."""
    scale = metric(name).scale
    groups = [(str(key[0]), str(key[1]), own) for key, own in cuts.groupby(["method", "option"], sort=False)]
    groups = groups[:MOST_PANELS]
    figure, axes = _grid(len(groups), 2.1)
    for place, (axis, (method, option, own)) in enumerate(zip(axes, groups, strict=False)):
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in own["value"])
        values = own["value"] if numeric else own["value"].astype(str)
        for row, value in zip(own.to_dict("records"), values, strict=True):
            if row["score"] is None or not np.isfinite(row["score"]):
                continue
            color = REGULARIZED if row["chosen"] else PLAIN
            fill = "none" if row["state"] == "pruned" else color
            marker = "s" if row["trial"] == 0 else "o"
            size = 6.5 if row["chosen"] or row["trial"] == 0 else 4.5
            (point,) = axis.plot(
                value,
                row["score"] * scale,
                marker,
                color=color,
                markerfacecolor=fill,
                markersize=size,
                alpha=1.0 if row["chosen"] else 0.7,
                zorder=3 if row["chosen"] else 2,
            )
            tip(point, f"{method}, trial {row['trial']}: {option}={value}, {row['score'] * scale:.1f}")
        if numeric and own["log"].all():
            _log_axis(axis, own["value"].astype(float))
        axis.set_title(_short(method))
        axis.set_xlabel(option)
        axis.set_ylabel(metric(name).axis if place % COLUMNS == 0 else "")
    return figure


def _log_axis(axis: Axes, values: pd.Series) -> None:
    """A logarithmic axis with three numbers on it: matplotlib's own would run into each other in a small panel."""
    axis.set_xscale("log")
    ticks = np.geomspace(values.min(), values.max(), 3)
    axis.set_xticks(ticks, [f"{tick:.2g}" if tick < 100 else f"{tick:.0f}" for tick in ticks])
    axis.set_xticks([], minor=True)


def _grid(number: int, height: float, **options: bool) -> tuple[Figure, list[Axes]]:
    columns = min(COLUMNS, number)
    figure, grid = panels(-(-number // columns), columns, 3.2, height, **options)
    axes = [axis for line in grid for axis in line]
    for axis in axes[number:]:
        axis.set_axis_off()
    return figure, axes[:number]


def _label(axis: Axes, place: int, number: int, xlabel: str, ylabel: str) -> None:
    """Labels at the edge of the grid alone."""
    lowest = place + COLUMNS >= number
    axis.set(xlabel=xlabel if lowest else "", ylabel=ylabel if place % COLUMNS == 0 else "")
    axis.tick_params(labelbottom=lowest)


def _short(method: str) -> str:
    return method if len(method) <= 34 else method[:33] + "…"
