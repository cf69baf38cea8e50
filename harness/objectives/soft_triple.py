"""SoftTriple: several centers per class (Qian et al., 2019)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from harness.geometry import at_least_float32, normalized
from harness.registry import OBJECTIVES
from harness.tuples import Triplets


@OBJECTIVES.register("soft_triple")
class SoftTriple(nn.Module):
    """Cross-entropy of scale * (S_c - margin [c = y]) + merge_weight * (mean distance of a class's centers) / 2, where
    S_c = sum_k softmax_k(s_ck / gamma) s_ck over the similarities s_ck of the embedding to the unit-norm centers of
    class c (equations 6 to 8 of the paper and its regularizer, with the divisor of the authors' code).

    Two centers and scale 8 are those of the consistent comparison (Roth et al., 2020); the paper has 10 and 20, and
    centers at 100 times the network's learning rate. Which rate the comparison used is not certain; 50 times is that
    of the authors' later code. Its published code normalizes each coordinate over all centers instead of each center,
    takes the softmax over the classes, and multiplies by gamma: `as_published=True`, behind the SoftTriple rows of
    that paper.
    """

    takes = "batch"
    normalize = True
    proxy_table: str | None = "centers"
    revision = 1

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        centers_per_class: PositiveInt = 2,
        scale: PositiveFloat = 8.0,
        gamma: PositiveFloat = 0.1,
        margin: NonNegativeFloat = 0.01,
        merge_weight: NonNegativeFloat = 0.2,
        lr_multiplier: NonNegativeFloat = 50.0,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        bound = (num_classes * centers_per_class) ** -0.5
        self.centers = nn.Parameter(torch.empty(num_classes, centers_per_class, embedding_dim).uniform_(-bound, bound))
        self.scale = scale
        self.gamma = gamma
        self.margin = margin
        self.merge_weight = merge_weight
        self.as_published = as_published
        self.lr_multipliers = {"centers": lr_multiplier}

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss; tuples are not looked at."""
        embeddings = at_least_float32(embeddings)
        centers = self._normalized(self.centers.flatten(0, 1).to(embeddings.dtype)).view(self.centers.shape)
        # [B, K, C], not [B, C, K]: a softmax over a last dimension of two or three is slow.
        classes, per_class, _ = centers.shape
        similarities = (embeddings @ centers.transpose(0, 1).flatten(0, 1).T).view(-1, per_class, classes)
        if self.as_published:
            assignment = (self.gamma * similarities).softmax(2)
        else:
            assignment = (similarities / self.gamma).softmax(1)
        logits = (assignment * similarities).sum(1)
        own = functional.one_hot(labels, len(centers)).to(logits)
        loss = functional.cross_entropy(self.scale * (logits - self.margin * own), labels)
        return loss + self.merge_weight * self._spread(centers)

    def _normalized(self, centers: Tensor) -> Tensor:
        """[C * K, D] -> [C * K, D]."""
        return normalized(centers.T).T if self.as_published else normalized(centers)

    def _spread(self, centers: Tensor) -> Tensor:
        """Half the mean distance of two centers of a class, 0 with a single one: [C, K, D] -> scalar."""
        classes, per_class, _ = centers.shape
        products = centers @ centers.transpose(1, 2)
        # 1e-5 is the authors' guard of the square root; the published normalization can leave its argument negative.
        distances = (2 + 1e-5 - 2 * products).clamp_min(1e-12).sqrt()
        return distances.triu(1).sum() / max(classes * per_class * (per_class - 1), 1)
