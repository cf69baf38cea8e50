"""Drawing samples class by class: what the batch samplers share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import DataError, StudyError


@dataclass(frozen=True)
class Classes:
    """The samples of a training set by class. Classes are numbered 0 to C - 1 in the order of their labels.

    `order` int64 [N]: samples sorted by class; `starts`, `sizes` int64 [C]: where each class begins in it and how many
    it has; `of` int64 [N]: the class of each sample; `rank` int64 [N]: its position inside the class.
    """

    order: Tensor
    starts: Tensor
    sizes: Tensor
    of: Tensor
    rank: Tensor

    @classmethod
    def by(cls, labels: Tensor) -> Classes:
        """Labels int64 [N] -> Classes."""
        _, of, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
        order, starts = of.argsort(stable=True), sizes.cumsum(0) - sizes
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order)) - starts[of[order]]
        return cls(order, starts, sizes, of, rank)

    def draw(self, classes: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """`count` samples of each class, distinct where it has enough: classes int64 [G] -> int64 [G, count]."""
        positions = distinct_below(self.sizes[classes], count, generator)
        return self.order[self.starts[classes, None] + positions]

    def draw_partners(self, samples: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """`count` other samples of the class of each sample, distinct where it has enough (only a sample alone in its
        class is its own partner): samples int64 [G] -> int64 [G, count].
        """
        classes = self.of[samples]
        steps = 1 + distinct_below((self.sizes[classes] - 1).clamp_min(1), count, generator)
        positions = (self.rank[samples, None] + steps) % self.sizes[classes, None]
        return self.order[self.starts[classes, None] + positions]


def distinct_below(sizes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A uniform subset of `count` numbers below each size: sizes int64 [G] -> int64 [G, count], in no uniform order.

    Floyd's algorithm for all rows at once. Where the size is below `count`, independent draws.
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


def check_batch(labels: Tensor, batch_size: int, samples_per_class: int = 1) -> None:
    """Raise DataError unless the training set has at least one batch, StudyError unless a batch is whole groups."""
    if len(labels) < batch_size:
        raise DataError(
            f"the training set has {len(labels)} samples, fewer than one batch of {batch_size}; "
            f"right would be a batch_size of at most {len(labels)}"
        )
    if batch_size % samples_per_class:
        near = batch_size // samples_per_class * samples_per_class
        right = f"{near} or {near + samples_per_class}" if near else str(samples_per_class)
        raise StudyError(
            f"batch_size {batch_size} is not a multiple of samples_per_class {samples_per_class}; "
            f"right would be {right}"
        )


def check_embeddings(embeddings: Tensor | None, labels: Tensor) -> Tensor:
    """The embeddings of the whole training set; raises StudyError when they are not there."""
    if embeddings is None or len(embeddings) != len(labels):
        given = "none" if embeddings is None else str(len(embeddings))
        raise StudyError(f"this sampler needs the embeddings of all {len(labels)} training samples, but got {given}")
    return embeddings
