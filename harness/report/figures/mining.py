"""Figures of mining: quality by steps and by time; what the controller saw and did."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.names import metric
from harness.report.style import DASHES, SERIES, panels

LINES = 18
ACTIVE = ("active_fraction", "active_fraction_mined", "active_fraction_random", "target")
BOUND = ("kappa", "coverage")


def race_panels(curves: pd.DataFrame) -> Figure:
    """A row a metric, against steps and against seconds; columns as `analyses.mining.race_curves` gives them."""
    names = list(dict.fromkeys(curves["metric"]))
    figure, grid = panels(len(names), 2, 4.4, 2.9, sharey="row", sharex="col")
    styles = {label: order for order, label in enumerate(list(dict.fromkeys(curves["label"]))[:LINES])}
    for line, name in zip(grid, names, strict=True):
        for axis, x in zip(line, ("steps", "seconds"), strict=True):
            for label, order in styles.items():
                curve = curves[(curves["label"] == label) & (curves["metric"] == name)].sort_values("epoch")
                color, dash = SERIES[order % len(SERIES)], DASHES[order // len(SERIES) % len(DASHES)]
                axis.plot(curve[x], curve["mean"] * 100, color=color, linestyle=dash, linewidth=1.1, label=label)
        line[0].set_ylabel(f"test {metric(name).axis}")
    for axis, label in zip(grid[-1], ("steps", "seconds of training"), strict=True):
        axis.set_xlabel(label)
    grid[0][1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
    return figure


def control_panels(told: pd.DataFrame) -> Figure:
    """A row a method that has a kappa: shares of active triplets with the target, and kappa with the coverage."""
    mined = told[told["metric"] == "kappa"]["label"].drop_duplicates().tolist()[:LINES]
    figure, grid = panels(len(mined), 2, 4.2, 1.9, sharex=True)
    for line, method in zip(grid, mined, strict=True):
        for axis, names in zip(line, (ACTIVE, BOUND), strict=True):
            for order, name in enumerate(names, start=len(ACTIVE) if names is BOUND else 0):
                curve = told[(told["label"] == method) & (told["metric"] == name)].sort_values("epoch")
                label = name.replace("_", " ")
                axis.plot(curve["epoch"], curve["value"], color=SERIES[order], linestyle=DASHES[order], label=label)
            axis.set_ylim(bottom=0)
            axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        line[0].set_title(method, fontsize=8)
    handles = [handle for axis in grid[0] for handle in axis.get_lines()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7)
    for axis in grid[-1]:
        axis.set_xlabel("epoch")
    return figure
