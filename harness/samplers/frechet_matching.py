"""Batches whose mean and covariance are like those of a larger pool ("FRD", Roth et al., 2020)."""

from __future__ import annotations

import math

import torch
from pydantic import PositiveInt
from torch import Tensor

from harness.registry import SAMPLERS
from harness.samplers._matching import Matching


@SAMPLERS.register("frechet_matching")
class FrechetMatching:
    """Of several class-balanced candidates from a class-balanced pool, the one with the lowest Fréchet distance to it.

    The distance is that of Gaussians of the same means and covariances. The published sampler cannot be selected (its
    name is not defined where it is looked up), and would take the square root of a singular matrix; here the root is
    formed so that fewer samples than dimensions do no harm.
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
        candidates: PositiveInt = 10,
    ) -> None:
        self.matching = Matching.by(labels, batch_size, samples_per_class, pool_size, candidates)

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None = None) -> Tensor:
        """All batches of one epoch: embeddings [N, D] -> int64 [steps, batch_size]."""
        return self.matching.epoch(generator, embeddings, frechet_distances)


def frechet_distances(points: Tensor, candidates: Tensor) -> Tensor:
    """|m - m*|^2 + tr S + tr S* - 2 tr (S S*)^(1/2) for each candidate: [P, D], int64 [candidates, B] -> [candidates].

    With centered members X [B, D], S = X'X / (B - 1), and the eigenvalues of S S* that are not 0 are those of
    X S* X' / (B - 1), symmetric and of the size of the batch, so that neither covariance needs an inverse or a root.
    """
    points = points.double()
    members = points[candidates]
    location = (members.mean(1) - points.mean(0)).square().sum(1)
    spread, pool = centered(members), centered(points[None])[0]
    eigenvalues: Tensor = torch.linalg.eigvalsh(spread @ (pool.T @ pool) @ spread.transpose(1, 2))
    # Beyond the rank there are only rounding errors, whose roots would add up.
    rank = max(min(members.shape[1] - 1, len(points) - 1, points.shape[1]), 1)
    root_traces = eigenvalues[:, -rank:].clamp_min(0).sqrt().sum(1)
    return location + spread.square().sum((1, 2)) + pool.square().sum() - 2 * root_traces


def centered(x: Tensor) -> Tensor:
    """Deviations from the mean, scaled so that x'x is the covariance: x [..., n, d] -> [..., n, d]."""
    return (x - x.mean(-2, keepdim=True)) / math.sqrt(max(x.shape[-2] - 1, 1))
