"""ProxyNCA++ (Teh, DeVries and Taylor, 2020)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, normalized
from harness.registry import OBJECTIVES
from harness.tuples import Triplets


@OBJECTIVES.register("proxy_nca_plus_plus")
class ProxyNCAPlusPlus(nn.Module):
    """Cross-entropy of -|z - p_c|^2 / temperature over all proxies, embeddings and proxies of unit length.

    Against Proxy-NCA, the own proxy is in the sum, so that the loss is a probability's (equation 6 of the paper), and
    the temperature is 1/9. Proxies learn at 50 times the network's rate as in `proxy_nca`; the paper's code has 1e5
    times, with an epsilon of 1 in Adam. Its other changes (max pooling, layer normalization) belong to the backbone.
    Normalizes the embeddings.
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
        temperature: PositiveFloat = 1 / 9,
        lr_multiplier: NonNegativeFloat = 50.0,
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(num_classes, embedding_dim) / 8)
        self.temperature = temperature
        self.lr_multipliers = {"proxies": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        cosines = normalized(embeddings) @ normalized(self.proxies.to(embeddings.dtype)).T
        # |z - p|^2 = 2 - 2 cos, and the softmax does not see the constant.
        return functional.cross_entropy(2 / self.temperature * cosines, labels)
