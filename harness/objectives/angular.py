"""Angular loss combined with the N-pair loss (Wang et al., 2017)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from harness.geometry import at_least_float32, log1p_exp, masked_logsumexp, normalized, row_norms
from harness.registry import OBJECTIVES
from harness.tuples import Triplets, negative_mask, pair_weights


@OBJECTIVES.register("angular")
class Angular(nn.Module):
    """N-pair loss + angular_weight * mean of log(1 + sum_n e^f(a,p,n)) + l2_weight * mean |z|, with
    f = 4 t (a + p).n - 2 (1 + t) a.p on unit vectors and t = tan^2 alpha (equations 8 and 9 of the paper).

    Which pairs and negatives: as in `n_pair`. Defaults are those of the consistent comparison (Roth et al., 2020),
    whose code clips the exponents of the N-pair part at 50 in absolute value, which is left out here. With its
    negatives of other classes, that code cannot run when a class occurs four times in a batch; its published rows can
    only come from negatives that are all samples but the anchor and the positive, of whatever class:
    `as_published=True`.
    """

    takes = "batch"
    normalize = False
    proxy_table: str | None = None
    revision = 1

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(gt=0, le=60)] = 45.0,
        angular_weight: NonNegativeFloat = 2.0,
        l2_weight: NonNegativeFloat = 0.005,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.slope = math.tan(math.radians(alpha)) ** 2
        self.angular_weight = angular_weight
        self.l2_weight = l2_weight
        self.as_published = as_published

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B], triplets or None -> loss."""
        embeddings = at_least_float32(embeddings)
        weights = pair_weights(labels, tuples, embeddings.dtype)
        terms = self._n_pair(embeddings, labels) + self.angular_weight * self._angular(embeddings, labels)
        anchors = weights.sum()
        penalty = self.l2_weight * row_norms(embeddings).mean()
        return (terms * weights).sum() / anchors.clamp_min(1) + torch.where(anchors > 0, penalty, 0)

    def _n_pair(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """log(1 + sum_n e^(a.n - a.p)) for every pair: [B, B]."""
        products = embeddings @ embeddings.T
        if self.as_published:
            # The positive's own term is the 1 of the logarithm.
            others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
            return masked_logsumexp(products, others)[:, None] - products
        return log1p_exp(masked_logsumexp(products, negative_mask(labels))[:, None] - products)

    def _angular(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """log(1 + sum_n e^f) for every pair: [B, B].

        The sum over n of e^(4t a.n) e^(4t p.n) is a product of two matrices. Each row is scaled to a maximum of 1; at
        60 degrees the smallest summand is then e^-48, which float32 still holds.
        """
        unit = normalized(embeddings)
        cosines = unit @ unit.T
        exponents = 4 * self.slope * cosines
        apart = negative_mask(labels)
        if self.as_published:
            apart = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        highest = exponents.detach().masked_fill(~apart, -torch.inf).amax(1, keepdim=True).nan_to_num(neginf=0.0)
        scaled = (exponents - highest).exp() * apart
        sums = scaled @ scaled.T
        some = sums > 0
        logs = torch.where(some, sums, 1).log() + highest + highest.T
        return log1p_exp(logs - 2 * (1 + self.slope) * cosines) * some
