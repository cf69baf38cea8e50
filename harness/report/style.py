"""One look for all figures: plain axes, colors that color-blind readers tell apart, the page's dark mode.

Figures are made without pyplot, so nothing global is left behind. The colors below stand for roles; in the page each
is replaced by a CSS variable, so that a figure follows the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1f2328", "#6b7280", "#d5d9df", "#fefefe"
PLAIN, REGULARIZED, OTHER, FAINT = "#0072b2", "#d55e00", "#009e73", "#b9bfc8"
"""Roles after Okabe and Ito (2008): blue for plain methods, vermilion for regularized ones, green for a third kind."""

HEAT = "#02639c"
"""The dark end of heat maps; no role, because shades must keep their order in both schemes."""

CSS_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
    PLAIN: "--plain",
    REGULARIZED: "--regularized",
    OTHER: "--other",
    FAINT: "--faint",
}

SERIES = (PLAIN, REGULARIZED, OTHER, "#cc79a7", "#56b4e9", "#a6761d")
"""Colors of lines that share a panel, in order; each also gets its own dash and marker."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (3, 3)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")

_SETTINGS: Any = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.hinting": "none",  # which makes text narrower in the layout than in a finer PNG, in SVG and in PDF
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
    "pdf.fonttype": 42,
    "patch.edgecolor": "none",
    "patch.linewidth": 0.0,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save figures inside; outside, the reader's own settings stay as they are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `rows` x `columns` panels of the given size in inches, without top and right frame."""
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    FigureCanvasAgg(figure)  # measures text, whatever window system the reader's matplotlib is set to
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(line) for line in grid]


def settle(figure: Figure) -> None:
    """Lay a figure out, once and for all: from here on places are known in pixels, and all formats look the same."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.apply_aspect()


def role_color(regularizer: str) -> str:
    """Blue for plain methods, vermilion for regularized ones."""
    return PLAIN if regularizer == "none" else REGULARIZED


def limits(values: Any, halves: Any) -> tuple[float, float]:
    """The range of an axis that shows all values and their intervals, but lets no single wide one hide the rest."""
    values, halves = np.asarray(values, dtype=float), np.nan_to_num(np.asarray(halves, dtype=float))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.35 * max(high - low, 1.0)
    bottom = max(float(np.nanmin(values - halves)), low - margin)
    top = min(float(np.nanmax(values + halves)), high + margin)
    return bottom - 0.25 * margin, top + 0.25 * margin


def tip(artist: Any, text: str) -> None:
    """Give a drawn point a text that the page shows on hovering and reads aloud."""
    artist.set_gid(f"tip:{text}")
