"""Distances and similarities between embeddings, with gradients that stay finite."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances, clipped at 0: x [n, d], y [m, d] -> [n, m]."""
    products = x @ y.T
    return (x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - 2 * products).clamp_min(0)


def safe_sqrt(squared: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 instead of infinite."""
    positive = squared > 0
    return torch.where(positive, squared, 1).sqrt() * positive


def normalized(x: Tensor) -> Tensor:
    """Rows of unit length; a zero row stays zero with a gradient of 0: x [n, d] -> [n, d]."""
    norms = safe_sqrt(x.square().sum(1, keepdim=True))
    return x / torch.where(norms > 0, norms, 1)
