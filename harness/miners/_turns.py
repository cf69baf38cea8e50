"""Which anchors have their turn in an epoch that is a part of a pass over the training set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from harness.errors import OptionError
from harness.miners._members import Bools, Ints


@dataclass
class Turns:
    """A pass of some epochs: each sample has its turn in one of them. With one epoch a pass it is everybody's turn."""

    epochs: int
    order: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def begin(self, epoch: int, samples: int, generator: torch.Generator) -> None:
        """An epoch begins, counted from 1; at the beginning of a pass the samples 0 to `samples` are dealt anew."""
        if self.epochs > 1 and (epoch - 1) % self.epochs == 0:
            self.order = torch.randperm(samples, generator=generator).numpy()

    def has(self, samples: Ints, epoch: int) -> Bools:
        """Whose turn it is: samples [n] -> [n]."""
        if self.epochs == 1:
            return np.ones(len(samples), dtype=bool)
        return np.isin(samples, self.order[(epoch - 1) % self.epochs :: self.epochs])


def epochs_a_pass(refresh: float) -> int:
    """How many epochs a pass over the training set has where the lists are refreshed so often.

    Raises OptionError where it is not a whole number.
    """
    epochs = max(1, round(1 / refresh))
    if refresh < 1 and abs(epochs * refresh - 1) > 0.01:
        message = (
            f"refresh: {refresh:g} of a pass is no whole number of epochs a pass; right would be 1/2, 1/3, 1/4 and so "
            f"on, such as {1 / epochs:.4g}"
        )
        raise OptionError(message, {("refresh",): message})
    return epochs
