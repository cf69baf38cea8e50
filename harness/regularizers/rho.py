"""rho-regularization: now and then a sample of the anchor's own class is pushed away (Roth et al., 2020, section 5)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.registry import REGULARIZERS
from harness.tuples import Triplets, choose, partner_mask, present


@REGULARIZERS.register("rho")
class Rho(nn.Module):
    """With `probability`, a triplet (a, p, n) becomes (a, a, j), j uniform among the other samples of a's class.

    The objective then pushes j away and, as the anchor is its own positive, pulls nothing. This keeps classes from
    collapsing and more directions of the embedding in use. The published probabilities are 0.3 to 0.4 on CUB200-2011,
    0.35 on CARS196 and 0.15 on Stanford Online Products; the default is that of the published code.
    """

    needs = frozenset({"tuples"})
    revision = 1

    def __init__(self, *, probability: Annotated[float, Field(ge=0, le=1)] = 0.2) -> None:
        super().__init__()
        self.probability = probability

    @torch.no_grad()
    def on_tuples(self, tuples: Triplets, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Triplets [T] of a batch with labels [B] -> triplets [T]."""
        anchor, positive, negative = tuples
        drawn = torch.rand(len(anchor), device=anchor.device, generator=generator) < self.probability
        partner = choose(partner_mask(labels)[anchor], generator)
        swap = drawn & (partner >= 0) & present(tuples)
        return Triplets(anchor, torch.where(swap, anchor, positive), torch.where(swap, partner, negative))

    def on_loss(self, loss: Tensor, embeddings: Tensor, labels: Tensor, objective: nn.Module) -> Tensor:
        """The loss as it is: all that this regularizer does, it does to the tuples."""
        return loss
