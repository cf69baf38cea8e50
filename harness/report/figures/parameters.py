"""Relative changes by factor and value: a panel a setting, a row a value, a mark a recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.style import MARKERS, MUTED, RULE, SERIES, limits, panels, tip


def change_rows(changes: pd.DataFrame) -> Figure:
    """Columns as `analyses.parameters.relative_changes` gives them, of one metric."""
    settings, recipes = (list(dict.fromkeys(changes[column])) for column in ("setting", "recipe"))
    levels = list(dict.fromkeys(zip(changes["factor"], changes["value"], strict=True)))
    figure, [axes] = panels(1, len(settings), 5.2, 1.0 + 0.24 * len(levels), sharey=True)
    figure.set_size_inches(3.0 + 4.4 * len(settings), 1.2 + 0.27 * len(levels))
    for axis, setting in zip(axes, settings, strict=True):
        _panel(axis, changes[changes["setting"] == setting], levels, recipes)
        axis.set_title(setting)
        axis.set_xlabel("change of test R@1 (% of the base)")
    bases = {(row["factor"], row["value"]): row["base_value"] for row in changes.to_dict("records")}
    labels = [f"{factor} {value} (base {bases[factor, value]})" for factor, value in levels]
    axes[0].set_yticks(range(len(levels)), labels)
    axes[0].set_ylim(len(levels) - 0.5, -0.5)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower right", ncols=3)
    return figure


def _panel(axis: Axes, changes: pd.DataFrame, levels: list[tuple[str, str]], recipes: list[str]) -> None:
    axis.axvline(0, color=MUTED, linewidth=1)
    for level in range(1, len(levels)):
        if levels[level][0] != levels[level - 1][0]:
            axis.axhline(level - 0.5, color=RULE, linewidth=1)
    for order, recipe in enumerate(recipes):
        color, shift = (
            SERIES[order % len(SERIES)],
            0.0 if len(recipes) < 2 else 0.36 * (order / (len(recipes) - 1) - 0.5),
        )
        own = changes[changes["recipe"] == recipe].to_dict("records")
        places = [levels.index((row["factor"], row["value"])) + shift for row in own]
        style: dict[str, Any] = {"color": color, "marker": MARKERS[order % len(MARKERS)], "markersize": 5}
        axis.plot([row["change"] * 100 for row in own], places, linestyle="", label=recipe, **style)
        for row, place in zip(own, places, strict=True):
            half = (row["high"] - row["change"]) * 100
            if np.isfinite(half):
                axis.errorbar(row["change"] * 100, place, xerr=half, color=color, capsize=2, elinewidth=1, alpha=0.8)
            (point,) = axis.plot(row["change"] * 100, place, linestyle="", **style)
            tip(point, f"{recipe}, {row['factor']} {row['value']}: {row['change'] * 100:+.1f} %, n={row['n']}")
    values, halves = changes["change"] * 100, (changes["high"] - changes["change"]) * 100
    axis.set_xlim(*limits([*values, 0.0], [*halves, 0.0]))
    axis.grid(axis="y", visible=False)
