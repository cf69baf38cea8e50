"""What the large backbones share: normalization, pooling of feature maps, frozen batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from harness.backbones._weights import with_digest

Pooling = Literal["avg", "max", "avg+max"]
FrozenBatchNorm = bool | Literal["all"]
"""True: statistics stay as they are and are always used, weight and bias learn on (Roth et al., 2020); "all": they do
not learn either."""

Channels = tuple[float, float, float]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PooledBackbone(nn.Module):
    """Feature maps of `trunk` on normalized RGB images, pooled to [B, features]; `avg+max` is the sum of both."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        features: int,
        pooling: str,
        frozen_batchnorm: FrozenBatchNorm,
        mean: Channels = IMAGENET_MEAN,
        std: Channels = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.features = features
        self.pooling = pooling
        self.frozen_batchnorm = frozen_batchnorm
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.train().requires_grad_()

    @classmethod
    def completed(cls, options: Mapping[str, Any], data_root: Path) -> Mapping[str, Any]:
        """What the options leave to the data folder, written in: the digest of a file of weights."""
        return with_digest(options, data_root)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [0, 1] -> features [B, F]."""
        return self.pooled(self.trunk((images.expand(-1, 3, -1, -1) - self.mean) / self.std))

    def pooled(self, maps: Tensor) -> Tensor:
        """Feature maps [B, F, h, w] -> features [B, F]."""
        if self.pooling == "avg+max":
            return _average(maps) + _largest(maps)
        return _average(maps) if self.pooling == "avg" else _largest(maps)

    def train(self, mode: bool = True) -> PooledBackbone:
        """Set the mode of everything but frozen batch norms."""
        super().train(mode)
        if self.frozen_batchnorm:
            for norm in self._norms():
                norm.eval()
        return self

    def requires_grad_(self, requires_grad: bool = True) -> PooledBackbone:
        """Let everything learn or not, but for batch norms that are frozen as a whole."""
        super().requires_grad_(requires_grad)
        if self.frozen_batchnorm == "all":
            for norm in self._norms():
                norm.requires_grad_(False)
        return self

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]


def _average(maps: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps, 1).flatten(1)


def _largest(maps: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(maps, 1).flatten(1)
