"""Batches chosen from several candidates by how well they match a larger pool: what the matching samplers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import StudyError
from harness.geometry import at_least_float32
from harness.samplers._classes import Classes, check_batch, check_embeddings

Cost = Callable[[Tensor, Tensor], Tensor]
"""Points of a pool [P, D] and candidate batches, int64 [candidates, B] positions in it -> costs [candidates]."""


@dataclass(frozen=True)
class Matching:
    """How batches are chosen: per batch a class-balanced pool, and of some class-balanced candidates inside it the one
    with the lowest cost. Nothing but the tables of the classes depends on the size of the training set.
    """

    classes: Classes
    steps: int
    batch_size: int
    samples_per_class: int
    pool_size: int
    candidates: int

    @classmethod
    def by(cls, labels: Tensor, batch_size: int, samples_per_class: int, pool_size: int, candidates: int) -> Matching:
        """Checks the options against each other; raises StudyError or DataError."""
        check_batch(labels, batch_size, samples_per_class)
        if pool_size < batch_size:
            raise StudyError(
                f"a pool_size of {pool_size} holds no batch of {batch_size}; right would be {4 * batch_size} or more"
            )
        steps = len(labels) // batch_size
        return cls(Classes.by(labels), steps, batch_size, samples_per_class, pool_size, candidates)

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None, cost: Cost) -> Tensor:
        """All batches of one epoch, classes side by side: embeddings [N, D] -> int64 [steps, batch_size]."""
        embeddings = check_embeddings(embeddings, self.classes.of)
        return torch.stack([self._batch(generator, embeddings, cost) for _ in range(self.steps)])

    def _batch(self, generator: torch.Generator, embeddings: Tensor, cost: Cost) -> Tensor:
        pool = self._draw_pool(generator)
        candidates = self._draw_candidates(pool, generator)
        points = at_least_float32(embeddings[pool.to(embeddings.device)])
        best = cost(points, candidates.to(points.device)).argmin().cpu()
        return pool[candidates[best]]

    def _draw_pool(self, generator: torch.Generator) -> Tensor:
        """Distinct samples, at most pool_size: int64 [P]."""
        draws = self.pool_size // self.samples_per_class
        classes = torch.randint(len(self.classes.sizes), (draws,), generator=generator)
        drawn: Tensor = torch.unique(self.classes.draw(classes, self.samples_per_class, generator))
        return drawn

    def _draw_candidates(self, pool: Tensor, generator: torch.Generator) -> Tensor:
        """Positions in the pool, in groups of distinct samples of one of its classes: int64 [candidates, B]."""
        inside = Classes.by(self.classes.of[pool])
        draws = self.candidates * self.batch_size // self.samples_per_class
        classes = torch.randint(len(inside.sizes), (draws,), generator=generator)
        return inside.draw(classes, self.samples_per_class, generator).view(self.candidates, self.batch_size)
