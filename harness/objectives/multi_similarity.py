"""Multi-similarity loss with its own pair mining (Wang et al., 2019)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from harness.geometry import at_least_float32, log1p_sum_exp
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, masked_mean, negative_mask, partner_mask


@OBJECTIVES.register("multi_similarity")
class MultiSimilarity(nn.Module):
    """Per anchor, log(1 + sum_p e^(-alpha (s_p - threshold))) / alpha + log(1 + sum_n e^(beta (s_n - threshold))) /
    beta with inner products s (equation 11 of the paper).

    Only hard pairs are kept: negatives with s_n + margin > the least similar positive, positives with s_p - margin <
    the most similar negative (equations 7 and 8). An anchor that keeps no positive or no negative is not active.
    `average` over "active" anchors is what the consistent comparison (Roth et al., 2020) and its published numbers
    have; over the whole "batch" is the form of the paper.
    """

    takes = "batch"
    normalize = True
    proxy_table: str | None = None
    revision = 1

    def __init__(
        self,
        *,
        alpha: PositiveFloat = 2.0,
        beta: PositiveFloat = 40.0,
        threshold: float = 0.5,
        margin: NonNegativeFloat = 0.1,
        average: Literal["active", "batch"] = "active",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.threshold = threshold
        self.margin = margin
        self.average = average

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        similarities = embeddings @ embeddings.T
        positives, negatives = self._hard_pairs(similarities.detach(), labels)
        active = positives.any(1) & negatives.any(1)
        shifted = similarities - self.threshold
        pull = log1p_sum_exp(-self.alpha * shifted, positives) / self.alpha
        push = log1p_sum_exp(self.beta * shifted, negatives) / self.beta
        mean = masked_mean(pull + push, active)
        return mean if self.average == "active" else mean * active.sum() / len(labels)

    def _hard_pairs(self, similarities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The positives and the negatives that are kept: two bool [B, B]. Both tests look at all pairs."""
        positives, negatives = partner_mask(labels), negative_mask(labels)
        least_positive = similarities.masked_fill(~positives, torch.inf).amin(1, keepdim=True)
        most_negative = similarities.masked_fill(~negatives, -torch.inf).amax(1, keepdim=True)
        # Said by what is dropped, so that what is not a number stays and makes the loss none.
        return (
            positives & ~(similarities - self.margin >= most_negative),
            negatives & ~(similarities + self.margin <= least_positive),
        )
