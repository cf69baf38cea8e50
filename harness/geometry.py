"""Distances and similarities between embeddings, with gradients that stay finite."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32, so that squares and exponentials neither overflow nor lose their digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances, clipped at 0: x [n, d], y [m, d] -> [n, m]."""
    products = x @ y.T
    return (x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - 2 * products).clamp_min(0)


def row_distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances row by row, exact also for near points: x [n, d], y [n, d] -> [n]."""
    return safe_sqrt((x - y).square().sum(1))


def safe_sqrt(squared: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 instead of infinite. What is not a number stays so."""
    zero = squared <= 0
    return torch.where(zero, 1, squared).sqrt() * ~zero


def row_norms(x: Tensor) -> Tensor:
    """Euclidean length of each row, with a gradient of 0 for a zero row: x [n, d] -> [n]."""
    return safe_sqrt(x.square().sum(1))


def normalized(x: Tensor) -> Tensor:
    """Rows of unit length; a zero row stays zero with a gradient of 0: x [n, d] -> [n, d]."""
    norms = row_norms(x)[:, None]
    return x / torch.where(norms > 0, norms, 1)


def masked_logsumexp(values: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """log sum exp over the masked entries; very negative, with a gradient of 0, where the mask holds nowhere."""
    # Not -inf: the gradient of an empty sum would be nan - nan on its way to being masked.
    lowest = torch.finfo(values.dtype).min / 4
    return values.masked_fill(~mask, lowest).logsumexp(dim)


def log1p_sum_exp(values: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """log(1 + sum exp) over the masked entries; 0 with a gradient of 0 where the mask holds nowhere."""
    return log1p_exp(masked_logsumexp(values, mask, dim))


def log1p_exp(x: Tensor) -> Tensor:
    """log(1 + e^x) of any x, without overflow."""
    # From 20 on, where torch stops by default, float64 would still see the difference to x.
    return functional.softplus(x, threshold=40.0)


def log_inverse_distance_density(squared: Tensor, dim: int) -> Tensor:
    """-log q(d) up to a constant, q the density of the distance of two random points of the unit sphere in `dim`
    dimensions, q(d) ~ d^(dim - 2) (1 - d^2/4)^((dim - 3)/2) (Wu et al., 2017, equation 3): squared distances of any
    shape -> float64 of that shape.

    Finite for any input: squared distances are kept within [1e-8, 4 - 4e-8].
    """
    squared = squared.double().clamp(1e-8, 4 - 4e-8)
    return -((dim - 2) / 2 * squared.log() + (dim - 3) / 2 * torch.log1p(-squared / 4))
