"""Contrastive loss (Hadsell, Chopra and LeCun, 2006) with linear hinges, on mined triplets."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from harness.geometry import row_norms
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, masked_mean, members, needed, present


@OBJECTIVES.register("contrastive")
class Contrastive(nn.Module):
    """mean over triplets of [d(a,p) - positive_margin]+ + [negative_margin - d(a,n)]+, d Euclidean.

    Inactive triplets count in the mean. This is the form of the consistent comparison (Roth et al., 2020); the paper of
    2006 squares both hinges and takes pairs as they come. The published code adds 1e-6 to every coordinate difference
    (torch's PairwiseDistance): `as_published=True`.
    """

    takes = "triplets"
    normalize = True
    proxy_table: str | None = None
    revision = 1

    def __init__(
        self,
        *,
        positive_margin: NonNegativeFloat = 0.0,
        negative_margin: PositiveFloat = 1.0,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.shift = 1e-6 if as_published else 0.0

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B], triplets -> loss."""
        tuples = needed(tuples)
        anchor, positive, negative = members(embeddings, tuples)
        pull = (row_norms(anchor - positive + self.shift) - self.positive_margin).relu()
        push = (self.negative_margin - row_norms(anchor - negative + self.shift)).relu()
        return masked_mean(pull + push, present(tuples))
