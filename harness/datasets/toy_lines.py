"""Points on lines, the toy data of Roth et al. (2020): four lines of a diagonal train, four upright or level ones test.

A point is an image of one pixel: red is x, green is y, in steps of 1 / 200, the finest that covers 0 to 1.05 in 8 bits.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.images import ImageSource, Progress, checked, silent
from harness.registry import DATASETS
from harness.seeding import seed_for

UNIT = 200
"""Steps of a pixel's value that are a distance of 1."""

TRAIN_LINES = (  # (x, y) from, to
    ((0.10, 0.10), (0.30, 0.30)),
    ((0.35, 0.35), (0.55, 0.55)),
    ((0.60, 0.60), (0.80, 0.80)),
    ((0.85, 0.85), (1.05, 1.05)),
)
TEST_LINES = (
    ((0.20, 0.20), (0.20, 0.40)),
    ((0.20, 0.55), (0.20, 0.85)),
    ((0.40, 0.20), (0.60, 0.20)),
    ((0.70, 0.20), (0.90, 0.20)),
)


@DATASETS.register("toy_lines")
class ToyLines:
    """`points` of each line, at random among those a pixel tells apart; another `draw` gives others.

    The published code takes 15 of 100 equally spaced points a line, which are a little finer than these.
    """

    revision = 1

    def __init__(
        self, data_root: Path | None = None, *, points: Annotated[int, Field(ge=2, le=41)] = 15, draw: int = 0
    ) -> None:
        self.points, self.draw = points, draw

    def source(self, progress: Progress = silent) -> ImageSource:
        """The points line by line, those that train first."""
        pixels, labels = drawn(self.points, self.draw)
        images = np.concatenate([pixels, np.zeros_like(pixels[:, :1])], axis=1)[:, None, None, :]
        names = [f"line {label} at {x / UNIT:g}, {y / UNIT:g}" for label, (x, y) in zip(labels, pixels, strict=True)]
        return checked(
            ImageSource(
                labels=labels,
                is_train=labels < len(TRAIN_LINES),
                class_names=tuple(f"line {line}" for line in range(len(TRAIN_LINES) + len(TEST_LINES))),
                names=names,
                digest=hashlib.sha256(repr((self.revision, pixels.tolist())).encode()).hexdigest(),
                side=1,
                channels=3,
                resize=1,
                crop=1,
                read=lambda i: images[i],
                array=images,
            )
        )


def drawn(points: int, draw: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The values of red and green uint8 [N, 2] and labels int64 [N] of `points` points on each line, in order on it."""
    lines = []
    for number, (start, end) in enumerate((*TRAIN_LINES, *TEST_LINES)):
        first, last = (np.rint(np.multiply(corner, UNIT)).astype(int) for corner in (start, end))
        steps = int(np.abs(last - first).max())
        chance = np.random.default_rng(seed_for(draw, "toy_lines", number))
        taken = np.sort(chance.choice(steps + 1, points, replace=False))
        lines.append(first + taken[:, None] * np.sign(last - first))
    return np.concatenate(lines).astype(np.uint8), np.repeat(np.arange(len(lines)), points)
