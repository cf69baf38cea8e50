"""Bars and dots of R@1: our methods beside the same methods as published, and the numbers of the literature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.report import published
from harness.report.style import FAINT, INK, MUTED, OTHER, PLAIN, REGULARIZED, limits, panels, role_color, tip


def method_bars(rows: pd.DataFrame, setting: str) -> Figure:
    """Our bars in the order of `rows`, then the same methods as published, one panel a data set.

    Columns: method, regularizer, mean, half_width, and of each data set of the literature value and half width.
    """
    shown = [dataset for dataset in published.DATASETS if rows[dataset].notna().any()]
    height = 1.05 + 0.23 * len(rows)
    figure, [axes] = panels(1, 1 + len(shown), 2.6, height, sharey=True)
    figure.set_size_inches(4.4 + 2.0 * len(shown), height)
    _panel(axes[0], rows, rows["mean"], rows["half_width"], f"here:\n{setting}")
    axes[0].set_yticks(range(len(rows)), list(rows["method"]))
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    for axis, dataset in zip(axes[1:], shown, strict=True):
        _panel(axis, rows, rows[dataset], rows[f"{dataset}_half_width"], f"published:\n{published.DATASETS[dataset]}")
        axis.tick_params(axis="y", length=0)
    if rows["regularizer"].nunique() > 1:
        kinds = ((PLAIN, "plain"), (REGULARIZED, "regularized"))
        handles = [Patch(color=color, alpha=0.85, label=text) for color, text in kinds]
        figure.legend(handles=handles, loc="outside lower right", ncols=2)
    return figure


def _panel(axis: Any, rows: pd.DataFrame, values: pd.Series, halves: pd.Series, title: str) -> None:
    ends = values.to_numpy(dtype=float) * 100
    half = np.nan_to_num(halves.to_numpy(dtype=float) * 100)
    start, stop = limits(ends, half)
    for place, (end, width, row) in enumerate(zip(ends, half, rows.to_dict("records"), strict=True)):
        if np.isfinite(end):
            color = role_color(row["regularizer"])
            bar = axis.barh(place, end - start, left=start, height=0.68, color=color, alpha=0.85)[0]
            tip(bar, f"{row['method']}: {end:.1f}" + (f" ± {width:.1f}" if width else ""))
            if width:
                axis.errorbar(end, place, xerr=width, color=INK, capsize=2, elinewidth=1, capthick=1)
    axis.set_xlim(start, stop)
    axis.set_title(title)
    axis.set_xlabel("R@1 (%)")
    axis.grid(axis="y", visible=False)
    axis.locator_params(axis="x", nbins=5)


def literature_dots() -> Figure:
    """R@1 as papers report it under their own protocols, and the band of methods under one protocol."""
    tables = {dataset: published.literature(dataset) for dataset in published.DATASETS}
    heights = [len(table) for table in tables.values()]
    figure, grid = panels(len(tables), 1, 7.4, 1.0, height_ratios=heights)
    figure.set_size_inches(7.4, 0.7 * len(tables) + 0.175 * sum(heights))
    for [axis], (dataset, table) in zip(grid, tables.items(), strict=True):
        band = published.points(dataset).query("regularizer == 'none'")["recall_at_1"] * 100
        axis.axvspan(band.min(), band.max(), color=FAINT, alpha=0.45, linewidth=0)
        for place, row in enumerate(table.to_dict("records")):
            color = OTHER if "ResNet50-128" in row["label"] else MUTED
            (point,) = axis.plot(row["value"] * 100, place, "o", color=color, markersize=5)
            tip(point, f"{row['label']}: {row['value'] * 100:.1f} ({row['source']})")
        axis.set_yticks(range(len(table)), list(table["label"]))
        axis.invert_yaxis()
        axis.set_title(published.DATASETS[dataset])
    grid[-1][0].set_xlabel("R@1 (%), as published")
    return figure
