"""Proxy-NCA (Movshovitz-Attias et al., 2017)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, masked_logsumexp, normalized
from harness.registry import OBJECTIVES
from harness.tuples import Triplets


@OBJECTIVES.register("proxy_nca")
class ProxyNCA(nn.Module):
    """mean over samples of d(z, p_y) + log sum_{c != y} e^(-d(z, p_c)), d the squared distance of vectors brought to
    length `scale`, p_c one learnt proxy a class.

    As in the paper (equation 5), the own proxy is not in the sum, so the loss can be negative. `scale` 3 and proxies
    at 50 times the network's learning rate are those of the consistent comparison (Roth et al., 2020); the paper has
    scale 1. Normalizes the embeddings.
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
        scale: PositiveFloat = 3.0,
        lr_multiplier: NonNegativeFloat = 50.0,
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(num_classes, embedding_dim) / 8)
        self.scale = scale
        self.lr_multipliers = {"proxies": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        cosines = normalized(embeddings) @ normalized(self.proxies.to(embeddings.dtype)).T
        # d = scale^2 (2 - 2 cos), and the constant of the pulling term cancels that of the pushing one.
        closeness = 2 * self.scale**2 * cosines
        own = functional.one_hot(labels, len(self.proxies)).bool()
        pull = closeness.gather(1, labels[:, None]).squeeze(1)
        return (masked_logsumexp(closeness, ~own) - pull).mean()
