"""Exhaustive hard mining over the whole training set."""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor

from harness.geometry import squared_distances
from harness.miners._embeddings import usable_rows
from harness.miners._members import Ints, Members
from harness.miners._planned import Plan, Planned
from harness.miners._selection import IN_LIST
from harness.registry import MINERS

TILE_BYTES = 1 << 24
LEAST_ROWS = 32
"""Of distances that are looked at at a time, but so many rows at least. MEASURED on a CPU at 60,000 samples: with eight
times as much it takes twice as long, because nothing stays in the cache."""


@MINERS.register("exhaustive")
class Exhaustive(Planned):
    """Per anchor the farthest of its class and the nearest of all others, of the whole training set, before each epoch.

    Sampler and miner in one: the naive hard mining that Smart Mining is held against (equations 4 and 5 of Harwood et
    al., 2017, FOUND in a translation), exact, in N^2 distances. RECONSTRUCTED: it begins after `warmup_epochs` of
    random triplets, as `smart` does, and every triplet is a mined one with `share` 1.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        share: Annotated[float, Field(gt=0, le=1)] = 1.0,
        warmup_epochs: NonNegativeInt = 2,
        margin: PositiveFloat = 0.2,
    ) -> None:
        super().__init__(labels, batch_size, 1, share, margin)
        self.warmup_epochs = warmup_epochs

    @property
    def needs_embeddings(self) -> bool:
        """From the first mined epoch on."""
        return self.epoch_number >= self.warmup_epochs

    def plan(self, generator: torch.Generator, embeddings: Tensor | None) -> Plan:
        """The hardest triplet of every anchor. Raises NonFiniteEmbeddings."""
        if self.epoch_number <= self.warmup_epochs:
            return self.chance(self.everybody)
        rows, samples = usable_rows(embeddings, self.everybody)
        anchors = Members.by(self.labels[samples]).anchors
        begin = time.perf_counter()
        positive, negative = hardest(rows, self.labels[samples], anchors)
        self.seconds["search"] = time.perf_counter() - begin
        kind = np.full((len(anchors), 1), IN_LIST, dtype=np.uint8)
        return Plan(samples, samples[anchors], samples[positive][:, None], samples[negative][:, None], kind)


def hardest(rows: Tensor, labels: Ints, anchors: Ints) -> tuple[Ints, Ints]:
    """The farthest of the own class and the nearest of the others: rows [n, D], labels [n], anchors [m] -> [m], [m]."""
    classes = torch.from_numpy(labels).to(rows.device)
    positives, negatives = [], []
    for some in torch.split(torch.from_numpy(anchors).to(rows.device), max(LEAST_ROWS, TILE_BYTES // (4 * len(rows)))):
        distances = squared_distances(rows[some], rows)
        same = classes[some, None] == classes[None, :]
        own = distances.masked_fill(~same, -1.0)
        own[torch.arange(len(some), device=rows.device), some] = -1.0  # even where all of its class are at its place
        positives.append(own.argmax(1))
        negatives.append(distances.masked_fill_(same, torch.inf).argmin(1))
    return torch.cat(positives).cpu().numpy(), torch.cat(negatives).cpu().numpy()
