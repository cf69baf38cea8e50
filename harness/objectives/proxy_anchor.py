"""Proxy-Anchor (Kim et al., 2020)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, log1p_sum_exp, normalized
from harness.registry import OBJECTIVES
from harness.tuples import Triplets


@OBJECTIVES.register("proxy_anchor")
class ProxyAnchor(nn.Module):
    """mean over classes in the batch of log(1 + sum_{own samples} e^(-alpha (s - delta))) + mean over all classes of
    log(1 + sum_{other samples} e^(alpha (s + delta))), s the cosine of sample and proxy (equation 4 of the paper).

    Defaults are the paper's, with proxies at 100 times the network's learning rate. The code of Roth et al. (2022, NIR)
    weighs a class in the first mean by its number of samples in the batch and starts proxies from N(0, 1) / 8:
    `as_published=True`, behind the Proxy-Anchor rows of that paper. Normalizes the embeddings.
    """

    takes = "batch"
    normalize = True
    proxy_table: str | None = "proxies"
    revision = 1

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        alpha: PositiveFloat = 32.0,
        delta: NonNegativeFloat = 0.1,
        lr_multiplier: NonNegativeFloat = 100.0,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(num_classes, embedding_dim) / 8)
        if not as_published:
            nn.init.kaiming_normal_(self.proxies, mode="fan_out")
        self.alpha = alpha
        self.delta = delta
        self.as_published = as_published
        self.lr_multipliers = {"proxies": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        cosines = normalized(embeddings) @ normalized(self.proxies.to(embeddings.dtype)).T
        own = functional.one_hot(labels, len(self.proxies)).bool()
        pull = log1p_sum_exp(-self.alpha * (cosines - self.delta), own, dim=0)
        push = log1p_sum_exp(self.alpha * (cosines + self.delta), ~own, dim=0)
        samples = own.sum(0)
        weights = samples if self.as_published else samples > 0
        return (pull * weights).sum() / weights.sum() + push.mean()
