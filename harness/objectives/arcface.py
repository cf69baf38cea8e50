"""ArcFace: softmax with an additive angular margin (Deng et al., 2019)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, normalized
from harness.registry import OBJECTIVES
from harness.tuples import Triplets


@OBJECTIVES.register("arcface")
class ArcFace(nn.Module):
    """Cross-entropy of scale * cos(theta_c), where the own class has cos(theta_y + margin) instead (equation 3).

    theta_c is the angle between embedding and class weight. Beyond theta_y + margin = pi the own logit goes on falling
    as cos(theta_y) - margin sin(margin), as in the authors' code. Margin 0.5 rad, scale 16 and weights at 50 times the
    network's learning rate are those of the consistent comparison (Roth et al., 2020); the paper has scale 64.
    Normalizes the embeddings.

    The code behind the ArcFace rows of that comparison added the margin's effect to every logit of a row, where it
    cancels, and cut cosines below 0: `as_published=True` is that softmax (without normalizing the embeddings again).
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
        margin: Annotated[float, Field(ge=0, lt=math.pi / 2)] = 0.5,
        scale: PositiveFloat = 16.0,
        lr_multiplier: NonNegativeFloat = 50.0,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.empty(num_classes, embedding_dim))
        nn.init.uniform_(self.proxies, -(embedding_dim**-0.5), embedding_dim**-0.5)
        self.margin = margin
        self.scale = scale
        self.as_published = as_published
        self.lr_multipliers = {"proxies": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        weights = normalized(self.proxies.to(embeddings.dtype))
        if self.as_published:
            return functional.cross_entropy(self.scale * (embeddings @ weights.T).clamp(1e-10, 1 - 1e-10), labels)
        cosines = normalized(embeddings) @ weights.T
        own = cosines.gather(1, labels[:, None])
        return functional.cross_entropy(self.scale * cosines.scatter(1, labels[:, None], self._moved(own)), labels)

    def _moved(self, cosine: Tensor) -> Tensor:
        """cos(theta + margin) from cos(theta), going on to fall where that would rise again."""
        # The sine's gradient has no bound at 0; a square below the rounding of the cosine counts as none.
        square = (1 - cosine.square()).clamp_min(torch.finfo(cosine.dtype).eps)
        moved = cosine * math.cos(self.margin) - square.sqrt() * math.sin(self.margin)
        beyond = cosine - self.margin * math.sin(self.margin)
        return torch.where(cosine >= -math.cos(self.margin), moved, beyond)
