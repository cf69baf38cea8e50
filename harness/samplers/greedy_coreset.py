"""Batches that spread over the embedding space: greedy coresets (Sinha et al., 2020; Roth et al., 2020)."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor

from harness.errors import StudyError
from harness.geometry import at_least_float32, squared_distances
from harness.registry import SAMPLERS
from harness.samplers._classes import Classes, check_batch, check_embeddings, distinct_below


@SAMPLERS.register("greedy_coreset")
class GreedyCoreset:
    """Per batch, batch_size / samples_per_class samples of a random pool by k-center greedy selection (first one at
    random, then always the sample farthest from all that are chosen), each followed by other samples of its class.

    In the published code of Roth et al. (2020) the choice is made in one pool but taken from another, drawn once an
    epoch: what it trains on is a random part of 512 samples an epoch. `as_published=True` is that, without embeddings'
    influence.
    """

    needs_embeddings = True
    revision = 1

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        samples_per_class: PositiveInt = 2,
        pool_size: PositiveInt = 512,
        as_published: bool = False,
    ) -> None:
        check_batch(labels, batch_size, samples_per_class)
        self.classes = Classes.by(labels)
        self.steps = len(labels) // batch_size
        self.picks = batch_size // samples_per_class
        self.samples_per_class = samples_per_class
        self.pool_size = min(pool_size, len(labels))
        self.as_published = as_published
        if self.picks > self.pool_size:
            raise StudyError(
                f"{self.picks} samples cannot be chosen from a pool of {self.pool_size}; right would be a pool_size of "
                f"several times {self.picks}"
            )

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None = None) -> Tensor:
        """All batches of one epoch, classes side by side: embeddings [N, D] -> int64 [steps, batch_size]."""
        embeddings = check_embeddings(embeddings, self.classes.of)
        chosen = self._misplaced(generator) if self.as_published else self._spread(embeddings, generator)
        partners = self.classes.draw_partners(chosen.flatten(), self.samples_per_class - 1, generator)
        return torch.cat((chosen.view(-1, 1), partners), dim=1).view(self.steps, -1)

    def _spread(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        """Samples that are far from each other: int64 [steps, picks]."""
        everything = torch.full((self.steps,), len(embeddings))
        pools = distinct_below(everything, self.pool_size, generator)
        firsts = torch.randint(self.pool_size, (self.steps,), generator=generator)
        return torch.stack(
            [
                pool[k_center_greedy(embeddings[pool.to(embeddings.device)], self.picks, first).cpu()]
                for pool, first in zip(pools, firsts, strict=True)
            ]
        )

    def _misplaced(self, generator: torch.Generator) -> Tensor:
        """What the published code chooses: random places of one pool an epoch."""
        pool = torch.randint(len(self.classes.of), (self.pool_size,), generator=generator)
        return pool[distinct_below(torch.full((self.steps,), self.pool_size), self.picks, generator)]


def k_center_greedy(points: Tensor, picks: int, first: Tensor) -> Tensor:
    """Positions of points, each the farthest from those before it: points [P, D], first int64 [] -> int64 [picks]."""
    points = at_least_float32(points)
    distances = squared_distances(points, points)
    chosen = torch.empty(picks, dtype=torch.int64, device=points.device)
    nearest = torch.full_like(distances[0], torch.inf)
    latest = first.to(points.device)
    for place in range(picks):
        chosen[place] = latest
        nearest = torch.minimum(nearest, distances[latest])
        nearest[latest] = -1.0  # Not again, even where all others coincide with chosen ones.
        latest = nearest.argmax()
    return chosen
