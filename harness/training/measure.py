"""Measuring embeddings: every family of metrics that was asked for, on one set of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import DataError
from harness.measured import Family, Measured, checked, merged
from harness.registry import METRICS

ALL = ("retrieval", "clustering", "density", "spectrum")


def measure(embeddings: Any, labels: Any, metrics: Sequence[str] = ALL, seed: int = 0) -> dict[str, float]:
    """Every number of the named families, with their default options.

    Embeddings [N, D] and integer labels [N] are tensors or arrays. Raises DataError for embeddings that cannot be
    measured and OptionError for a family that is not known.
    """
    families = [METRICS.build(METRICS.check(name)) for name in metrics]
    return measure_all(as_tensor(embeddings), as_tensor(labels), families, seed).values


def measure_all(embeddings: Tensor, labels: Tensor, families: Sequence[Family], seed: int) -> Measured:
    """What all families say about embeddings [N, D] with labels int64 [N], merged into one."""
    embeddings, labels = checked(embeddings, labels)
    return merged(family(embeddings, labels, seed) for family in families)


def as_tensor(values: Any) -> Tensor:
    """A tensor as it is; anything else by way of numpy."""
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"values of type {array.dtype} cannot be measured; right would be numbers")
    return torch.as_tensor(array if array.flags.writeable else array.copy())  # torch warns of what it could write to
