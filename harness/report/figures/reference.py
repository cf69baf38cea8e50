"""Ours minus published: a row a published number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.report import published
from harness.report.style import INK, MUTED, PLAIN, REGULARIZED, limits, panels, tip


def difference_rows(numbers: pd.DataFrame) -> Figure:
    """Columns as `analyses.reference.comparisons` gives them, of one metric in percent."""
    rows = numbers.to_dict("records")
    figure, [[axis]] = panels(1, 1, 7.4, 0.9 + 0.2 * len(rows))
    axis.axvline(0, color=MUTED, linewidth=1)
    gaps = [row["difference"] * 100 for row in rows]
    halves = [
        gap / row["units"] if row["units"] and np.isfinite(row["units"]) else np.nan
        for gap, row in zip(gaps, rows, strict=True)
    ]
    for place, (gap, half, row) in enumerate(zip(gaps, halves, rows, strict=True)):
        if np.isfinite(half):
            axis.errorbar(gap, place, xerr=half, color=INK, capsize=2, elinewidth=1)
        color = REGULARIZED if row["published_method"].startswith("R-") else PLAIN
        (point,) = axis.plot(gap, place, "o", color=color, markersize=5)
        tip(point, f"{row['method']}: {gap:+.1f} ({row['source']})")
    axis.set_xlim(*limits([*gaps, 0.0], [*halves, 0.0]))
    axis.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel("test R@1, here minus published (percent points)")
    return figure


def _label(row: dict[Any, Any]) -> str:
    """The method as published, for ours may need a line of options, and where it was published."""
    return f"{row['published_method']}, {published.DATASETS.get(row['dataset'], row['dataset'])} ({row['paper']})"
