"""ResNet-50 (He et al., 2016), of torchvision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn
from torchvision.models import ResNet50_Weights, resnet50

from harness.backbones._pooled import PooledBackbone, Pooling, torchvision_model
from harness.registry import BACKBONES


@BACKBONES.register("resnet50")
class ResNet50(PooledBackbone):
    """Pooled feature maps of the last block. The published comparisons started from IMAGENET1K_V1."""

    revision = 1

    def __init__(
        self,
        *,
        embedding_dim: Annotated[int, Field(ge=1)] = 128,
        weights: Literal["none", "IMAGENET1K_V1", "IMAGENET1K_V2"] = "none",
        frozen_batchnorm: bool = False,
        pooling: Pooling = "avg",
    ) -> None:
        ready = None if weights == "none" else ResNet50_Weights[weights]
        trunk = nn.Sequential(*list(torchvision_model(resnet50, ready).children())[:-2])
        super().__init__(trunk, 2048, pooling, frozen_batchnorm)
