"""N-pair loss (Sohn, 2016)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from harness.geometry import at_least_float32, log1p_exp, masked_logsumexp, row_norms
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, negative_mask, pair_weights


@OBJECTIVES.register("n_pair")
class NPair(nn.Module):
    """mean over anchors of log(1 + sum_n e^(z_a.z_n - z_a.z_p)) + l2_weight * mean |z|, on embeddings of any length.

    An anchor is every sample with another one of its class in the batch; its negatives are all samples of other
    classes. Without tuples, the mean over its positives is taken: the expectation of drawing one at random, as the
    published code does. With triplets, their distinct (anchor, positive) pairs are used (again with every negative of
    the batch), first averaged per anchor. Form and l2_weight are those of the consistent comparison (Roth et al.,
    2020); the paper takes one negative per class and penalizes the squared length. A batch without a pair gives 0.
    """

    takes = "batch"
    normalize = False
    proxy_table: str | None = None
    revision = 1

    def __init__(self, *, l2_weight: NonNegativeFloat = 0.005) -> None:
        super().__init__()
        self.l2_weight = l2_weight

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B], triplets or None -> loss."""
        embeddings = at_least_float32(embeddings)
        products = embeddings @ embeddings.T
        negatives = negative_mask(labels)
        against = masked_logsumexp(products, negatives)
        terms = log1p_exp(against[:, None] - products)
        weights = pair_weights(labels, tuples, terms.dtype)
        anchors = weights.sum()
        penalty = self.l2_weight * row_norms(embeddings).mean()
        return (terms * weights).sum() / anchors.clamp_min(1) + torch.where(anchors > 0, penalty, 0)
