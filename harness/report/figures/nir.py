"""Figures about non-isotropy regularization: whether it acts, and convergence beside the published points."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.style import DASHES, MARKERS, MUTED, PAPER, PLAIN, REGULARIZED, SERIES, panels


def ratio_panels(ratios: pd.DataFrame, acts: float) -> Figure:
    """One panel a setting, a line a method; columns as `analyses.nir.gradient_ratios` gives them."""
    settings = list(dict.fromkeys(ratios["setting"]))
    figure, grid = panels(len(settings), 1, 8.4, 3.8)
    for [axis], setting in zip(grid, settings, strict=True):
        axis.set_yscale("log")
        axis.axhline(acts, color=MUTED, linewidth=1, linestyle=":")
        own = ratios[(ratios["setting"] == setting) & (ratios["lowest"] > 0)]
        for order, (name, curve) in enumerate(own.groupby("name", sort=False)):
            color, dash = SERIES[order % len(SERIES)], DASHES[(order // len(SERIES)) % len(DASHES)]
            marker = MARKERS[order % len(MARKERS)]
            axis.fill_between(curve["epoch"], curve["lowest"], curve["highest"], color=color, alpha=0.15, linewidth=0)
            axis.plot(
                curve["epoch"],
                curve["ratio"],
                color=color,
                linestyle=dash,
                marker=marker,
                markersize=3,
                label=str(name),
            )
        axis.set(title=setting, xlabel="epoch", ylabel="gradient norm, NIR / proxy loss")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        if len(own):
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    return figure


def convergence_panels(curves: pd.DataFrame) -> Figure:
    """A row a source, a column an objective; columns as `analyses.nir.convergence` gives them."""
    sources, objectives = (list(dict.fromkeys(curves[name])) for name in ("source", "objective"))
    figure, grid = panels(len(sources), len(objectives), 3.4, 2.6)
    for line, source in zip(grid, sources, strict=True):
        for axis, objective in zip(line, objectives, strict=True):
            own = curves[(curves["source"] == source) & (curves["objective"] == objective)]
            _lines(axis, own)
            axis.set_title(f"{objective}\n{source}", fontsize=8.5)
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        line[0].set_ylabel("test R@1 (%)")
    for axis in grid[-1]:
        axis.set_xlabel("epoch")
    return figure


def _lines(axis: Axes, own: pd.DataFrame) -> None:
    orders = {"plain": 0, "nir": 0}
    for (label, form), curve in own.groupby(["label", "form"], sort=False):
        order = orders[str(form)]
        orders[str(form)] += 1
        curve = curve.sort_values("epoch")
        color = PLAIN if form == "plain" else REGULARIZED
        axis.plot(
            curve["epoch"],
            curve["value"] * 100,
            color=color,
            linestyle=DASHES[order % len(DASHES)],
            marker=MARKERS[order % len(MARKERS)],
            markersize=3,
            label=str(label),
        )
    if own.empty:
        axis.set_axis_off()
    elif sum(orders.values()) > 2:
        axis.legend(loc="lower right", fontsize=6.5, handlelength=3, frameon=True, facecolor=PAPER, edgecolor="none")
