"""CosFace: softmax with an additive cosine margin (Wang et al., 2018)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, normalized
from harness.registry import OBJECTIVES
from harness.tuples import Triplets


@OBJECTIVES.register("cosface")
class CosFace(nn.Module):
    """Cross-entropy of scale * (cos(theta_c) - margin [c = y]), theta_c the angle between embedding and class weight
    (equation 4 of the paper).

    Margin 0.35 and scale 64 are the paper's for faces; start and learning rate of the weights are those of `arcface`.
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
        margin: NonNegativeFloat = 0.35,
        scale: PositiveFloat = 64.0,
        lr_multiplier: NonNegativeFloat = 50.0,
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.empty(num_classes, embedding_dim))
        nn.init.uniform_(self.proxies, -(embedding_dim**-0.5), embedding_dim**-0.5)
        self.margin = margin
        self.scale = scale
        self.lr_multipliers = {"proxies": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        cosines = normalized(embeddings) @ normalized(self.proxies.to(embeddings.dtype)).T
        own = functional.one_hot(labels, len(self.proxies)).to(cosines)
        return functional.cross_entropy(self.scale * (cosines - self.margin * own), labels)
