"""What measuring embeddings gives, and what embeddings must be to be measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.errors import DataError


@dataclass(frozen=True)
class Measured:
    """The numbers of one or several families of metrics on one set of embeddings."""

    values: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, dict[int, float]] = field(default_factory=dict)  # metric -> label -> value
    per_query: dict[str, np.ndarray[Any, np.dtype[np.float16]]] = field(default_factory=dict)  # nan: not a query
    spectrum: list[float] | None = None  # singular values, largest first, normalized to sum 1


class Family(Protocol):
    """A family of metrics: several numbers from one shared pass over the embeddings."""

    names: tuple[str, ...]

    def __call__(self, embeddings: Tensor, labels: Tensor, seed: int) -> Measured:
        """Measures embeddings [N, D] with labels int64 [N]."""


def merged(parts: Iterable[Measured]) -> Measured:
    """The numbers of several families as one."""
    values: dict[str, float] = {}
    per_class: dict[str, dict[int, float]] = {}
    per_query: dict[str, np.ndarray[Any, np.dtype[np.float16]]] = {}
    spectrum = None
    for part in parts:
        values |= part.values
        per_class |= part.per_class
        per_query |= part.per_query
        spectrum = part.spectrum if part.spectrum is not None else spectrum
    return Measured(values, per_class, per_query, spectrum)


def classes_of(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Labels [N] -> the labels that occur [C], ascending; the place of each sample's label there [N]; counts [C]."""
    classes, index, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    return classes, index, counts


def checked(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings [N, D] in float32 or float64 and labels int64 [N], without gradient, on the embeddings' device.

    Raises DataError for wrong shapes or types, for fewer than two samples, and for rows that are not finite.
    """
    if embeddings.ndim != 2 or labels.ndim != 1 or len(embeddings) != len(labels):
        raise DataError(
            f"embeddings of shape {tuple(embeddings.shape)} with labels of shape {tuple(labels.shape)} cannot be "
            "measured; right would be [N, D] with [N]"
        )
    if len(labels) < 2 or embeddings.shape[1] < 1:
        raise DataError(f"embeddings of shape {tuple(embeddings.shape)} cannot be measured: two samples are needed")
    if not embeddings.is_floating_point() or labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"embeddings of type {embeddings.dtype} with labels of type {labels.dtype} cannot be measured; right "
            "would be floating-point embeddings and integer labels"
        )
    embeddings = embeddings.detach()
    bad = int((~embeddings.isfinite()).any(1).sum())
    if bad:
        raise DataError(f"{bad} of {len(embeddings)} embeddings hold nan or infinite values and cannot be measured")
    if embeddings.dtype != torch.float64:
        embeddings = embeddings.float()
    return embeddings, labels.to(embeddings.device, torch.int64)
