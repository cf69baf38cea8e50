"""Names beside the points of a scatter plot, where there is room for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from harness.report.statistics import Vector
from harness.report.style import MUTED, PAPER

FONT_SIZE = 7.5
HALO = [withStroke(linewidth=2.5, foreground=PAPER)]
"""Keeps a label readable where lines pass behind it."""

DIRECTIONS = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))
DISTANCES = (6, 12, 20, 30, 42)
"""How far a label may stand from its point, in points; from the third on, a line leads to it."""

Place = tuple[int, tuple[float, float]]


def place_labels(axis: Axes, x: Vector, y: Vector, names: Sequence[str]) -> None:
    """Each name goes to the nearest place where it covers no point and no other name; without one it is left out.

    The layout of the figure must be final: places are found in pixels.
    """
    frame = axis.get_window_extent().padded(-3)
    dots = axis.transData.transform(np.column_stack([x, y]))
    sizes = _sizes(axis, names)
    pixels_a_point = axis.figure.dpi / 72
    taken: list[Bbox] = []
    for dot, size, name, point in zip(dots, sizes, names, zip(x, y, strict=True), strict=True):
        for place, box in _candidates(dot, size, pixels_a_point):
            inside = frame.containsx(box.x0) and frame.containsx(box.x1) and frame.containsy(box.y0)
            if inside and frame.containsy(box.y1) and _free(box, taken, dots):
                taken.append(box)
                _write(axis, name, (float(point[0]), float(point[1])), place)
                break


def _sizes(axis: Axes, names: Sequence[str]) -> list[tuple[float, float]]:
    """Width and height of each name in pixels."""
    canvas = axis.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)  # see style.panels
    sizes = []
    for name in names:
        text = axis.text(0, 0, name, fontsize=FONT_SIZE)
        box = text.get_window_extent(canvas.get_renderer())  # type: ignore[no-untyped-call]
        sizes.append((1.02 * box.width, box.height))
        text.remove()
    return sizes


def _candidates(dot: Vector, size: tuple[float, float], pixels_a_point: float) -> Iterator[tuple[Place, Bbox]]:
    width, height = size
    for distance in DISTANCES:
        for dx, dy in DIRECTIONS:
            left = dot[0] + dx * distance * pixels_a_point - width * (0.5 - 0.5 * np.sign(dx))
            bottom = dot[1] + dy * distance * pixels_a_point - height * (0.5 - 0.5 * np.sign(dy))
            yield (distance, (dx, dy)), Bbox.from_bounds(float(left), float(bottom), width, height)


def _free(box: Bbox, taken: Sequence[Bbox], dots: Vector) -> bool:
    wide = box.padded(2)
    covered = (dots[:, 0] > wide.x0) & (dots[:, 0] < wide.x1) & (dots[:, 1] > wide.y0) & (dots[:, 1] < wide.y1)
    return not covered.any() and not any(box.overlaps(other) for other in taken)


def _write(axis: Axes, name: str, point: tuple[float, float], place: Place) -> None:
    distance, (dx, dy) = place
    axis.annotate(
        name,
        point,
        xytext=(dx * distance, dy * distance),
        textcoords="offset points",
        ha="left" if dx > 0 else "right" if dx < 0 else "center",
        va="bottom" if dy > 0 else "top" if dy < 0 else "center",
        fontsize=FONT_SIZE,
        path_effects=HALO,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5} if distance > DISTANCES[1] else None,
    )
