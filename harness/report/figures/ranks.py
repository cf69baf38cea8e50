"""The critical-difference diagram: mean ranks over data sets, and bars over methods that cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from harness.report.statistics import Vector, cliques
from harness.report.style import INK, PLAIN, panels, tip


def critical_difference_diagram(names: Sequence[str], mean: Vector, critical: float) -> Figure:
    """Methods by mean rank, best first, each on its own line (after Demsar, 2006, figure 1)."""
    order = np.argsort(mean, kind="stable")
    bars = cliques(mean, critical)
    figure, [[axis]] = panels(1, 1, 7.2, 1.2 + 0.24 * len(names) + 0.12 * len(bars))
    for place, index in enumerate(order):
        (point,) = axis.plot(mean[index], place, "o", color=PLAIN, markersize=6)
        axis.hlines(place, 0.6, mean[index], color=PLAIN, linewidth=0.6, alpha=0.5)
        tip(point, f"{names[index]}: mean rank {mean[index]:.2f}")
    for number, (start, end) in enumerate(bars):
        height = -0.9 - 0.5 * number
        axis.plot([start, end], [height, height], color=INK, linewidth=3, solid_capstyle="butt")
    axis.set_yticks(range(len(names)), [names[index] for index in order])
    axis.set_ylim(len(names) - 0.4, -1.2 - 0.5 * len(bars))
    axis.set_xlim(0.6, len(names) + 0.4)
    axis.set_xlabel(f"mean rank (1 is best); a black bar joins what is less than {critical:.2f} apart")
    axis.grid(axis="y", visible=False)
    return figure
