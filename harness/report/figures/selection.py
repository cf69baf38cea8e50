"""Selection rules side by side: a panel a setting, a row a method, a mark a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.report.style import FAINT, OTHER, PLAIN, REGULARIZED, panels, tip

LOOKS = {"last": (PLAIN, "o"), "best_validation": (OTHER, "s"), "best_test": (REGULARIZED, "D")}


def rule_dots(numbers: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Columns setting, method, selection, value, one row a run and rule; `names` of the rules for the legend."""
    settings = list(dict.fromkeys(numbers["setting"]))
    heights = [numbers[numbers["setting"] == setting]["method"].nunique() for setting in settings]
    figure, grid = panels(len(settings), 1, 7.4, 1.0, height_ratios=heights)
    figure.set_size_inches(7.4, 0.8 * len(settings) + 0.19 * sum(heights) + 0.3)
    for [axis], setting in zip(grid, settings, strict=True):
        own = numbers[numbers["setting"] == setting]
        means = own.pivot_table(index="method", columns="selection", values="value", aggfunc="mean", sort=False) * 100
        rules = [rule for rule in LOOKS if rule in means]
        means = means.sort_values(rules[0], ascending=False)
        axis.hlines(range(len(means)), means.min(axis=1), means.max(axis=1), color=FAINT, linewidth=1.5)
        for rule in rules:
            color, marker = LOOKS[rule]
            for place, (method, value) in enumerate(means[rule].items()):
                style: dict[str, Any] = {"label": names[rule]} if place == 0 else {}
                (point,) = axis.plot(value, place, marker, color=color, markersize=4.5, **style)
                tip(point, f"{method}, {names[rule]}: {value:.1f}")
        axis.set_yticks(range(len(means)), list(means.index))
        axis.set_ylim(len(means) - 0.5, -0.5)
        axis.set_title(setting)
    grid[-1][0].set_xlabel("test R@1 (%)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=3)
    return figure
