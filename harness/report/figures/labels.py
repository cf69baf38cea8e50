"""Names beside the points of a scatter plot; numbers with a key where the names would not fit.

texts = key(axis, names)              # before the layout, so that there is room for the key
figure.draw_without_rendering()
place_labels(axis, x, y, texts)       # after it, when pixels are known
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from harness.report.statistics import Vector
from harness.report.style import MUTED, PAPER

FONT_SIZE = 8.0
FEW = 10
"""So many points are named; more are numbered."""
IN_A_COLUMN = 30
MOST = 90
"""So many points are numbered; beyond that the tips on the page and the table have to do."""

DIRECTIONS = tuple((float(np.cos(angle)), float(np.sin(angle))) for angle in np.arange(12) * np.pi / 6)
DISTANCES = (5, 8, 12, 17, 23, 30, 40, 52)
"""How far the nearest edge of a label may stand from its point, in points."""
LEAD = 8
"""From this distance on, a line leads from the label to its point."""

Segments = NDArray[np.float64]
"""Lines that are drawn, [S,4]: x and y of both ends, in the units of the data."""


def key(axis: Axes, names: Sequence[str]) -> list[str]:
    """What to write beside each point: few names as they are; else numbers, which a key beside the panel explains."""
    if len(names) <= FEW:
        return list(names)
    numbers = [str(place) for place in range(1, len(names) + 1)][:MOST]
    told = [f"{number}  {name}" for number, name in zip(numbers, names, strict=False)]
    axis.legend(
        handles=[Line2D([], [], linestyle="", label=text) for text in told],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        fontsize=FONT_SIZE,
        handlelength=0,
        handletextpad=0,
        labelspacing=0.25,
        ncols=-(-len(numbers) // IN_A_COLUMN),
    )
    return numbers + [""] * (len(names) - len(numbers))


def place_labels(axis: Axes, x: Vector, y: Vector, texts: Sequence[str], lines: Segments | None = None) -> None:
    """Each text goes to the place near its point that covers no point and no other text, and as few lines as can be.

    Where there is no such place a text is left out. The layout of the figure must be final: places are found in pixels.
    """
    frame = axis.get_window_extent().padded(-2)
    dots = axis.transData.transform(np.column_stack([x, y]))
    drawn = _in_pixels(axis, lines)
    taken: list[Bbox] = []
    for dot, text, size in zip(dots, texts, _sizes(axis, texts), strict=True):
        if not text:
            continue
        free = [
            (_cost(distance, box, drawn) + _doubt(box, dot, dots), order, box, distance)
            for order, (distance, box) in enumerate(_candidates(dot, size, axis.figure.dpi / 72))
            if _inside(box, frame) and _free(box, taken, dots)
        ]
        if free:
            _, _, box, distance = min(free, key=lambda place: place[:2])
            taken.append(box)
            _write(axis, text, dot, box, distance >= LEAD)


def _sizes(axis: Axes, texts: Sequence[str]) -> list[tuple[float, float]]:
    """Width and height of each text in pixels."""
    canvas = axis.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)  # see style.panels
    artist = axis.text(0, 0, "", fontsize=FONT_SIZE)
    sizes = []
    for text in texts:
        artist.set_text(text)
        box = artist.get_window_extent(canvas.get_renderer())  # type: ignore[no-untyped-call]
        sizes.append((1.02 * box.width, box.height))
    artist.remove()
    return sizes


def _in_pixels(axis: Axes, lines: Segments | None) -> Vector:
    """Points close along the lines, [N,2]."""
    if lines is None or not len(lines):
        return np.empty((0, 2))
    ends = axis.transData.transform(np.asarray(lines, dtype=float).reshape(-1, 2)).reshape(-1, 2, 2)
    steps = np.linspace(0, 1, 60)[None, :, None]
    return np.asarray((ends[:, :1] * (1 - steps) + ends[:, 1:] * steps).reshape(-1, 2))


def _candidates(dot: Vector, size: tuple[float, float], pixels_a_point: float) -> Iterator[tuple[int, Bbox]]:
    width, height = size
    for distance in DISTANCES:
        for dx, dy in DIRECTIONS:
            left = dot[0] + dx * (distance * pixels_a_point + width / 2) - width / 2
            bottom = dot[1] + dy * (distance * pixels_a_point + height / 2) - height / 2
            yield distance, Bbox.from_bounds(float(left), float(bottom), width, height)


def _cost(distance: int, box: Bbox, drawn: Vector) -> float:
    """Points of distance, and as much as a step farther for each stretch of a line that the label would cover."""
    return distance + 1.5 * float(_within(box.padded(1), drawn).sum())


def _doubt(box: Bbox, dot: Vector, dots: Vector) -> float:
    """Much where another point is nearer to the label than its own."""
    middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    nearest = np.hypot(*(dots - middle).T).min()
    return 10.0 if nearest < float(np.hypot(*(dot - middle))) - 1e-6 else 0.0


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)


def _free(box: Bbox, taken: Sequence[Bbox], dots: Vector) -> bool:
    wide = box.padded(5)
    return not _within(wide, dots).any() and not any(box.padded(2).overlaps(other) for other in taken)


def _within(box: Bbox, points: Vector) -> NDArray[np.bool_]:
    x, y = points[:, 0], points[:, 1]
    return np.asarray((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1))


def _write(axis: Axes, text: str, dot: Vector, box: Bbox, lead: bool) -> None:
    middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    away = (np.asarray(middle) - dot) * 72 / axis.figure.dpi
    axis.annotate(
        text,
        tuple(axis.transData.inverted().transform(dot)),
        xytext=tuple(away),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=FONT_SIZE,
        zorder=4,
        bbox={"facecolor": PAPER, "alpha": 0.8, "pad": 0.6, "edgecolor": "none"},
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkB": 3, "relpos": (0.5, 0.5)}
        if lead
        else None,
    )
