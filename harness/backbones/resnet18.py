"""ResNet-18 (He et al., 2016), of torchvision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from harness.backbones._pooled import PooledBackbone, Pooling, torchvision_model
from harness.registry import BACKBONES


@BACKBONES.register("resnet18")
class ResNet18(PooledBackbone):
    """Pooled feature maps of the last block. The published comparisons started from IMAGENET1K_V1."""

    revision = 1

    def __init__(
        self,
        *,
        embedding_dim: Annotated[int, Field(ge=1)] = 128,
        weights: Literal["none", "IMAGENET1K_V1"] = "none",
        frozen_batchnorm: bool = False,
        pooling: Pooling = "avg",
    ) -> None:
        ready = None if weights == "none" else ResNet18_Weights[weights]
        trunk = nn.Sequential(*list(torchvision_model(resnet18, ready).children())[:-2])
        super().__init__(trunk, 512, pooling, frozen_batchnorm)
