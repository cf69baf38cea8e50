"""Index tuples inside a batch: what miners give and tuple objectives take."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import OptionError
from harness.geometry import at_least_float32, log_inverse_distance_density, squared_distances


class Triplets(NamedTuple):
    """Batch positions of anchors, positives and negatives: three int64 tensors [T] on the embeddings' device.

    A row that names one position three times is absent: it counts for nothing (see `found_rows`).
    """

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
    cumulative = weights.to(torch.float64).cumsum(1).contiguous()
    total = cumulative[:, -1:]
    uniform = torch.rand(len(weights), 1, dtype=torch.float64, device=weights.device, generator=generator)
    # `right=True` steps over columns of zero weight, also when the uniform number is exactly 0.
    column = torch.searchsorted(cumulative, uniform * total, right=True).squeeze(1)
    # A product with a number below 1 is rounded to less than the total, unless that is subnormal: no weight then.
    return torch.where(total.squeeze(1) >= torch.finfo(torch.float64).tiny, column, -1)


def prefer(wanted: Tensor, otherwise: Tensor) -> Tensor:
    """Row by row the wanted positions, or the others where none is wanted: two bool [R, C] -> bool [R, C]."""
    return torch.where(wanted.any(1, keepdim=True), wanted, otherwise)


def found_rows(anchor: Tensor, positive: Tensor, negative: Tensor) -> Triplets:
    """The triplets of which every member was found: three int64 [R] with -1 for "none" -> Triplets.

    On a CPU the other rows are dropped. On an accelerator that would make the host wait for the device, as a shape
    would depend on a result; there they stay as absent rows (0, 0, 0).
    """
    found = (anchor >= 0) & (positive >= 0) & (negative >= 0)
    if found.device.type == "cpu":
        return Triplets(anchor[found], positive[found], negative[found])
    return Triplets(*(torch.where(found, position, 0) for position in (anchor, positive, negative)))


def present(tuples: Triplets) -> Tensor:
    """Which rows count: bool [T]."""
    return (tuples.anchor != tuples.positive) | (tuples.anchor != tuples.negative)


def needed(tuples: Triplets | None) -> Triplets:
    """The tuples of an objective that cannot do without; raises OptionError when there are none."""
    if tuples is None:
        raise OptionError("this objective takes triplets, but got None; give it what a miner found")
    return tuples


def members(embeddings: Tensor, tuples: Triplets) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of anchors, positives and negatives: [B, D] -> three [T, D], in float32 or better."""
    embeddings = at_least_float32(embeddings)
    # Same as embeddings[index], but with a faster gradient that is also deterministic on a GPU.
    anchor, positive, negative = (functional.embedding(index, embeddings) for index in tuples)
    return anchor, positive, negative


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask holds; 0 with a gradient of 0 where it holds nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp_min(1)


def pair_weights(labels: Tensor, tuples: Triplets | None, dtype: torch.dtype) -> Tensor:
    """How much each (anchor, positive) pair counts, so that every anchor counts 1: [B] -> [B, B].

    The pairs are the distinct ones of the triplets or, where none are given, all of the batch.
    """
    pairs = partner_mask(labels)
    if tuples is not None:
        named = torch.zeros_like(pairs)
        named[tuples.anchor, tuples.positive] = True
        pairs &= named
    return pairs.to(dtype) / pairs.sum(1, keepdim=True).clamp_min(1)


def inverse_density_weights(embeddings: Tensor, allowed: Tensor, lower: float, upper: float | None) -> Tensor:
    """Weights of distance-weighted sampling, at most 1: embeddings [B, D], allowed [B, B] -> float64 [B, B].

    Distances below `lower` count as `lower`; from `upper` on nothing is drawn, unless a row has nothing nearer, which
    is then uniform over all that is allowed. Computed by logarithms, so that it is finite in any dimension.
    """
    squared = squared_distances(embeddings, embeddings)
    within = allowed if upper is None else allowed & (squared < upper**2)
    logs = log_inverse_distance_density(squared.clamp_min(lower**2), embeddings.shape[1])
    logs = logs.masked_fill(~within, -torch.inf)
    # A row without any entry would be -inf - -inf.
    highest = logs.amax(1, keepdim=True).nan_to_num(neginf=0.0)
    # What is not a number is drawn like anything, so that it comes to the loss and is seen there.
    weights = (logs - highest).exp().nan_to_num(1.0) * allowed
    return torch.where(within.any(1, keepdim=True), weights, allowed.double())
