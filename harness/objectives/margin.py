"""Margin loss with a learnt boundary per class (Wu et al., 2017)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import row_distances
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, members, needed, present


@OBJECTIVES.register("margin")
class Margin(nn.Module):
    """Sum over triplets of [d(a,p) - b + margin]+ + [b - d(a,n) + margin]+, b the boundary of the anchor's class,
    divided by the number of terms above 0 (equation 6 of the paper and the normalization of its code).

    `beta` is where all boundaries start (the consistent comparison has 0.6 and 1.2); they are learnt at 50 times the
    network's rate (5e-4 against 1e-5). Defaults are those of Roth et al. (2020), whose code divides by the number of
    triplets with at least one such term instead, up to twice the gradient: `as_published=True`, behind the Margin and
    R-Margin rows of that paper.
    """

    takes = "triplets"
    normalize = True
    proxy_table: str | None = None
    revision = 1

    def __init__(
        self,
        num_classes: int,
        *,
        beta: float = 1.2,
        margin: NonNegativeFloat = 0.2,
        learn_beta: bool = True,
        lr_multiplier: NonNegativeFloat = 50.0,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.full((num_classes,), float(beta)), requires_grad=learn_beta)
        self.margin = margin
        self.as_published = as_published
        self.lr_multipliers = {"beta": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B], triplets -> loss."""
        tuples = needed(tuples)
        anchor, positive, negative = members(embeddings, tuples)
        boundary = functional.embedding(labels[tuples.anchor], self.beta[:, None].to(anchor.dtype)).squeeze(1)
        counts = present(tuples)
        pull = (row_distances(anchor, positive) - boundary + self.margin).relu() * counts
        push = (boundary - row_distances(anchor, negative) + self.margin).relu() * counts
        pulling, pushing = pull > 0, push > 0
        active = (pulling | pushing).sum() if self.as_published else pulling.sum() + pushing.sum()
        return (pull + push).sum() / active.clamp_min(1)
