"""Small multiples: one panel an objective, where its methods stand out against all others."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.report.evidence import CELL
from harness.report.figures.most import LINES
from harness.report.style import DASHES, FAINT, MARKERS, PAPER, SERIES, panels

MAX_PANELS = 18


def left_out(curves: pd.DataFrame) -> str:
    """What a caption says of objectives for which there is no panel; empty when all have one."""
    more = curves["objective"].nunique() - MAX_PANELS
    text = f" The first {MAX_PANELS} objectives; {more} more are in the table." if more > 0 else ""
    if (curves.groupby(["setting", "objective"])["method"].nunique() > LINES).any():
        text += f" Of each objective the first {LINES} methods are told apart, the others are grey, too."
    return text


def multiples(
    curves: pd.DataFrame, x: str, y: str, *, xlabel: str, ylabel: str, scale: float = 1.0
) -> tuple[Figure, list[Axes]]:
    """Small multiples by objective: its methods in color with a legend, all other methods as faint lines."""
    objectives = list(dict.fromkeys(curves["objective"]))[:MAX_PANELS]
    curves = curves[curves["objective"].isin(objectives)]
    columns = min(3, len(objectives))
    rows = -(-len(objectives) // columns)
    alone = len(objectives) == 1
    figure, grid = panels(rows, columns, *((10.0, 3.6) if alone else (3.2, 2.5)), sharex=True, sharey=True)
    axes = [axis for line in grid for axis in line]
    lines = [(key, line) for key, line in curves.groupby([*CELL, "objective"], sort=False)]
    faint = _end_to_end([line[[x, y]].to_numpy(dtype=float) * (1.0, scale) for _, line in lines])
    for axis, objective in zip(axes, objectives, strict=False):
        axis.plot(*faint, color=FAINT, linewidth=0.7, alpha=0.8, zorder=1)
        own = [(key[1], line) for key, line in lines if key[2] == objective][:LINES]
        for order, (method, line) in enumerate(own):
            style = {"color": SERIES[order % len(SERIES)], "linestyle": DASHES[order % len(DASHES)]}
            marker = MARKERS[order % len(MARKERS)] if len(line) <= 30 else ""
            axis.plot(
                line[x],
                line[y] * scale,
                marker=marker,
                markersize=3,
                label=_variant(str(method), str(objective), 64 if alone else 40),
                **style,
            )
        axis.set_title(str(objective))
        if len(own) > 1:
            beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}  # many names would hide the only panel
            place = beside if alone else {"loc": "best"}
            axis.legend(**place, fontsize=7.5, handlelength=2.2, frameon=True, facecolor=PAPER, edgecolor="none")
    for number, axis in enumerate(axes[: len(objectives)]):
        lowest = number + columns >= len(objectives)
        axis.set(xlabel=xlabel if lowest else "", ylabel=ylabel if number % columns == 0 else "")
        axis.tick_params(labelbottom=lowest)
    for axis in axes[len(objectives) :]:
        axis.set_axis_off()
    return figure, axes[: len(objectives)]


def _end_to_end(lines: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Many lines [N,2] as one, [2,M], with a gap after each: one thing to draw, and to store, in every panel."""
    gap = np.full((1, 2), np.nan)
    return np.concatenate([part for line in lines for part in (line, gap)]).T


def _variant(method: str, objective: str, length: int) -> str:
    """What tells a method from others of its objective: `margin beta=0.6 + rho` becomes `beta=0.6 + rho`."""
    text = " ".join(method.replace(objective, "", 1).split()).strip(" +") or method
    return text if len(text) <= length else text[: length - 1] + "…"
