"""ResNet-18 (He et al., 2016), of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from harness.backbones._pooled import FrozenBatchNorm, PooledBackbone, Pooling
from harness.backbones._weights import Sha256, Source, named_or_file, ready_model
from harness.registry import BACKBONES


@BACKBONES.register("resnet18")
class ResNet18(PooledBackbone):
    """Pooled feature maps of the last block. The published comparisons started from IMAGENET1K_V1."""

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, named_or_file("none", "IMAGENET1K_V1")] = "none",
        weights_sha256: Sha256 = "",
        frozen_batchnorm: FrozenBatchNorm = False,
        pooling: Pooling = "avg",
    ) -> None:
        model = ready_model(resnet18, ResNet18_Weights, Source(weights, weights_sha256, data_root), ("fc.",))
        trunk = nn.Sequential(*list(model.children())[:-2])
        super().__init__(trunk, 512, pooling, frozen_batchnorm)
