"""What can be wrong with the embeddings that an epoch is planned from, and which samples may be planned with."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import Diverged, StudyError
from harness.geometry import at_least_float32, normalized
from harness.miners._members import Ints

MAX_NOT_FINITE = 0.01
PAIRS = 4096
COLLAPSED_MEAN, COLLAPSED_NEAR, COLLAPSED_SHARE = 1e-4, 1e-6, 0.05


class NonFiniteEmbeddings(Diverged):
    """More than 1% of the training set has embeddings that are not numbers."""


def usable_rows(embeddings: Tensor | None, pool: Ints) -> tuple[Tensor, Ints]:
    """The embeddings of the samples of a pool that are finite, of length 1 and float32 [m, D], and these samples [m].

    Raises NonFiniteEmbeddings where more than 1% are not: faiss would hide them. A few are left out, with a warning.
    """
    if embeddings is None:
        raise StudyError("this epoch is planned from the embeddings of the training set, but got none")
    chosen = at_least_float32(embeddings)[torch.from_numpy(pool).to(embeddings.device)].float()
    finite = chosen.isfinite().all(1)
    lost = len(finite) - int(finite.sum())
    if lost > MAX_NOT_FINITE * len(finite):
        raise NonFiniteEmbeddings(
            f"the embeddings of {lost} of {len(finite)} training images are nan or infinite, so that nothing can be "
            "mined; a smaller optimizer.lr or a training.gradient_clip may help"
        )
    if lost:
        warnings.warn(f"{lost} training images with nan or infinite embeddings are left out of mining", stacklevel=2)
    return normalized(chosen[finite]).contiguous(), pool[finite.cpu().numpy()]


def is_collapsed(rows: Tensor, generator: torch.Generator) -> bool:
    """Whether random pairs of rows [m, D] are as good as at one place."""
    first, second = (torch.randint(len(rows), (PAIRS,), generator=generator).to(rows.device) for _ in range(2))
    return float((rows[first] - rows[second]).square().sum(1).mean()) < COLLAPSED_MEAN


def lists_collapsed(farthest: NDArray[np.float32]) -> bool:
    """Whether too many anchors have their k-th neighbor at their own place: squared distances [m]."""
    return float((farthest < COLLAPSED_NEAR).mean()) > COLLAPSED_SHARE
