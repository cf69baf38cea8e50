"""Index tuples inside a batch: what miners give and tuple objectives take."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Triplets(NamedTuple):
    """Batch positions of anchors, positives and negatives: three int64 tensors [T] on the embeddings' device."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


def partner_mask(labels: Tensor) -> Tensor:
    """Other positions of the same class: labels [B] -> bool [B, B], False on the diagonal."""
    same = labels[:, None] == labels[None, :]
    return same.fill_diagonal_(False)


def negative_mask(labels: Tensor) -> Tensor:
    """Positions of another class: labels [B] -> bool [B, B]."""
    return labels[:, None] != labels[None, :]


def choose(weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One column a row, drawn in proportion to the row's weights [R, C] >= 0 -> int64 [R].

    A row without weight gives -1. Vectorized inverse transform: no host sync and no Python loop, and one uniform
    number a row whatever the weights are, so that draws of different miners can be compared.
    """
    cumulative = weights.to(torch.float64).cumsum(1)
    total = cumulative[:, -1:]
    uniform = torch.rand(len(weights), 1, dtype=torch.float64, device=weights.device, generator=generator)
    # `right=True` steps over columns of zero weight, also when the uniform number is exactly 0.
    column = torch.searchsorted(cumulative, uniform * total, right=True).squeeze(1)
    # Rounding can give uniform * total == total; the last column of positive weight is then the answer.
    last = (cumulative < total).sum(1)
    return torch.where(total.squeeze(1) > 0, torch.minimum(column, last), -1)
