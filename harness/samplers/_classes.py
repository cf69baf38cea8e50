"""Drawing samples class by class: what several batch samplers share."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import DataError, StudyError


def members_by_class(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Samples sorted by class, and where each class starts and how many it has: [N] -> int64 [N], [C], [C]."""
    order = labels.argsort(stable=True)
    sizes = torch.unique(labels, return_counts=True)[1]
    return order, sizes.cumsum(0) - sizes, sizes


def positions_in_class(sizes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` positions below each size, distinct where the size allows it: int64 [G] -> int64 [G, count].

    Floyd's algorithm for a random subset, for all groups at once; a size below `count` draws with replacement.
    """
    enough = sizes >= count
    chosen = torch.full((len(sizes), count), -1)
    for column in range(count):
        last = torch.where(enough, sizes - count + column, sizes - 1)
        drawn = uniform_below(last + 1, generator)
        taken = (chosen == drawn[:, None]).any(1) & enough
        chosen[:, column] = torch.where(taken, last, drawn)
    return chosen


def uniform_below(sizes: Tensor, generator: torch.Generator) -> Tensor:
    """One uniform integer in [0, size) each: int64 [G] -> int64 [G]."""
    # In float64 the product never rounds up to the size.
    return (torch.rand(len(sizes), dtype=torch.float64, generator=generator) * sizes).long()


def check_batch(samples: int, batch_size: int) -> None:
    """Raise DataError unless the training set has at least one batch."""
    if samples < batch_size:
        raise DataError(
            f"the training set has {samples} samples, fewer than one batch of {batch_size}; "
            f"right would be a batch_size of at most {samples}"
        )


def check_groups(batch_size: int, samples_per_class: int) -> None:
    """Raise StudyError unless a batch is a whole number of class draws."""
    if batch_size % samples_per_class:
        near = batch_size // samples_per_class * samples_per_class
        right = f"{near} or {near + samples_per_class}" if near else str(samples_per_class)
        raise StudyError(
            f"batch_size {batch_size} is not a multiple of samples_per_class {samples_per_class}; "
            f"right would be {right}"
        )
