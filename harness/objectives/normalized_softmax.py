"""Normalized softmax: classification with unit-norm class weights (Zhai and Wu, 2019)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, normalized
from harness.registry import OBJECTIVES
from harness.tuples import Triplets


@OBJECTIVES.register("normalized_softmax")
class NormalizedSoftmax(nn.Module):
    """Cross-entropy of z.w_c / temperature over all training classes, w_c of unit length, without bias.

    Defaults are those of the consistent comparison (Roth et al., 2020): temperature 0.05 and weights at the network's
    learning rate (Stanford Online Products: `lr_multiplier` 200). Zhai and Wu also use layer normalization.
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
        temperature: PositiveFloat = 0.05,
        lr_multiplier: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.empty(num_classes, embedding_dim))
        nn.init.uniform_(self.proxies, -(embedding_dim**-0.5), embedding_dim**-0.5)
        self.temperature = temperature
        self.lr_multipliers = {"proxies": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        weights = normalized(self.proxies.to(embeddings.dtype))
        return functional.cross_entropy(embeddings @ weights.T / self.temperature, labels)
