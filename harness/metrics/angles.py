"""Angles: where embeddings lie on the circle, for toys whose embedding is a plane."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from harness.errors import DataError
from harness.measured import Measured, checked
from harness.registry import METRICS


@METRICS.register("angles")
class Angles:
    """Directions in the plane of the first two coordinates, in radians.

    arc        length of the shortest arc of the circle that holds all directions (Roth et al., 2020, toy experiment)
    angle_<k>  direction of sample k, counted from 0, between -pi and pi

    `count` samples tell their angle: with all of them in the database, a report draws the embedding.
    """

    names: tuple[str, ...] = ("arc", "angle_0")
    revision = 1
    definitions: ClassVar[dict[str, str]] = {
        "arc": "2 pi - the widest gap between neighboring directions; Roth et al., 2020, toy experiment",
        "angle_<k>": "atan2(z_1, z_0) of the sample at position k; ours",
    }

    def __init__(self, *, count: PositiveInt = 1) -> None:
        self.count = count
        self.names = ("arc", *(f"angle_{k}" for k in range(count)))

    def __call__(self, embeddings: Tensor, labels: Tensor, seed: int) -> Measured:
        """Measures embeddings [N, D] with D >= 2; labels and seed play no part."""
        embeddings, labels = checked(embeddings, labels)
        if embeddings.shape[1] < 2:
            raise DataError("angles need embeddings of two dimensions or more, not of one")
        if self.count > len(embeddings):
            raise DataError(f"the angles of {self.count} samples are asked for, but there are {len(embeddings)}")
        angles = torch.atan2(embeddings[:, 1], embeddings[:, 0]).double()
        told = {f"angle_{k}": angle for k, angle in enumerate(angles[: self.count].tolist())}
        return Measured({"arc": arc(angles), **told})


def arc(angles: Tensor) -> float:
    """Length of the shortest arc that holds all angles [N], in radians."""
    ordered = angles.sort().values
    gaps = torch.cat((ordered.diff(), (ordered[0] + 2 * math.pi - ordered[-1]).view(1)))
    return 2 * math.pi - float(gaps.max())
