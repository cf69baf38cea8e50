"""Class-balanced batches: some classes, the same number of samples of each ("SPC-n")."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor

from harness.errors import StudyError
from harness.registry import SAMPLERS
from harness.samplers._classes import Classes, check_batch


@SAMPLERS.register("class_balanced")
class ClassBalanced:
    """batch_size / samples_per_class times a class uniform over all, and samples_per_class of its samples.

    With `replace_classes` (the published protocol, Roth et al., 2020, SPC-n) a class can be drawn twice for one batch,
    and then has twice the samples; without, the classes of a batch are distinct. The samples of one draw are distinct
    where the class has enough; a smaller class is drawn from with replacement. (The published code always draws with
    replacement, so that a sample can be its own positive: in half of the draws from a class of two.)
    """

    needs_embeddings = False
    revision = 1

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        samples_per_class: PositiveInt = 2,
        replace_classes: bool = True,
    ) -> None:
        check_batch(labels, batch_size, samples_per_class)
        self.classes = Classes.by(labels)
        self.steps = len(labels) // batch_size
        self.draws = batch_size // samples_per_class
        self.samples_per_class = samples_per_class
        self.replace_classes = replace_classes
        known = len(self.classes.sizes)
        if not replace_classes and self.draws > known:
            raise StudyError(
                f"a batch of {batch_size} with {samples_per_class} samples a class needs {self.draws} classes, but "
                f"there are {known}; right would be a batch_size of at most {known * samples_per_class}, more "
                "samples_per_class, or replace_classes: true"
            )

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None = None) -> Tensor:
        """All batches of one epoch: int64 [steps, batch_size], the samples of one class draw side by side."""
        classes = self._draw_classes(generator).flatten()
        return self.classes.draw(classes, self.samples_per_class, generator).view(self.steps, -1)

    def _draw_classes(self, generator: torch.Generator) -> Tensor:
        """Which classes each batch takes: int64 [steps, draws]."""
        known = len(self.classes.sizes)
        if self.replace_classes:
            return torch.randint(known, (self.steps, self.draws), generator=generator)
        return torch.rand(self.steps, known, generator=generator).topk(self.draws, dim=1).indices
