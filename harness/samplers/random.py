"""Random batches with at least one positive pair ("SPC-R")."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.registry import SAMPLERS
from harness.samplers._classes import Classes, check_batch


@SAMPLERS.register("random")
class Random:
    """Every sample is drawn alone: a class uniform over all, a sample uniform inside it (Roth et al., 2020, SPC-R).

    The last place goes to another sample of the class of a random member, so that every batch has a positive pair; only
    where that class has a single sample is it the same sample again.
    """

    needs_embeddings = False
    revision = 1

    def __init__(self, labels: Tensor, batch_size: int) -> None:
        check_batch(labels, batch_size)
        self.classes = Classes.by(labels)
        self.steps = len(labels) // batch_size
        self.batch_size = batch_size

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None = None) -> Tensor:
        """All batches of one epoch: int64 [steps, batch_size]."""
        alone = self.batch_size - 1
        classes = torch.randint(len(self.classes.sizes), (self.steps * alone,), generator=generator)
        samples = self.classes.draw(classes, 1, generator).view(self.steps, alone)
        member = torch.randint(alone, (self.steps, 1), generator=generator)
        partner = self.classes.draw_partners(samples.gather(1, member).flatten(), 1, generator)
        return torch.cat((samples, partner), dim=1)
