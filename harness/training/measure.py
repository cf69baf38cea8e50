"""Measuring embeddings: every family of metrics that was asked for, on one set of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import DataError
from harness.measured import Family, Measured, checked, merged
from harness.registry import METRICS
from harness.training.precision import tensorfloat32

ALL = ("retrieval", "clustering", "density", "spectrum")


def measure(embeddings: Any, labels: Any, metrics: Sequence[str] = ALL, seed: int = 0) -> dict[str, float]:
    """Every number of the named families, with their default options.

    Embeddings [N, D] and integer labels [N] are tensors or arrays. Raises DataError for embeddings that cannot be
    measured and OptionError for a family that is not known.
    """
    families = [METRICS.build(METRICS.check(name)) for name in metrics]
    return measure_all(as_tensor(embeddings), as_tensor(labels), families, seed).values


def measure_all(
    embeddings: Tensor, labels: Tensor, families: Sequence[Family], seed: int, gallery: Tensor | None = None
) -> Measured:
    """What all families say about embeddings [N, D] with labels int64 [N], merged into one.

    Where `gallery`, bool [N], splits the samples into queries and gallery, a family that has the method `between` (that
    is retrieval) ranks the gallery for each query; all other families measure all samples together.
    """
    embeddings, labels = checked(embeddings, labels)
    with tensorfloat32(False):  # however a run was trained, its numbers are exact
        return merged(measured_by(family, embeddings, labels, seed, gallery) for family in families)


def measured_by(family: Any, embeddings: Tensor, labels: Tensor, seed: int, gallery: Tensor | None) -> Measured:
    """What one family says."""
    if gallery is not None and hasattr(family, "between"):
        return searched(family, embeddings, labels, gallery)
    measured: Measured = family(embeddings, labels, seed)
    return measured


def searched(family: Any, embeddings: Tensor, labels: Tensor, gallery: Tensor) -> Measured:
    """Queries in a gallery, told by sample [N] as everywhere: nan for a sample of the gallery, which is no query."""
    queries = ~gallery
    measured: Measured = family.between(embeddings[queries], labels[queries], embeddings[gallery], labels[gallery])
    rows = queries.cpu().numpy()
    per_query = {}
    for metric, scores in measured.per_query.items():
        per_query[metric] = np.full(len(rows), np.nan, dtype=scores.dtype)
        per_query[metric][rows] = scores
    return replace(measured, per_query=per_query)


def as_tensor(values: Any) -> Tensor:
    """A tensor as it is; anything else by way of numpy."""
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"values of type {array.dtype} cannot be measured; right would be numbers")
    return torch.as_tensor(array if array.flags.writeable else array.copy())  # torch warns of what it could write to
