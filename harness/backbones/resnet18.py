"""ResNet-18 (He et al., 2016), of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from harness.backbones._pooled import PooledBackbone, Pooling, named_or_file, ready_model
from harness.registry import BACKBONES

WEIGHTS = ("none", "IMAGENET1K_V1")


@BACKBONES.register("resnet18")
class ResNet18(PooledBackbone):
    """Pooled feature maps of the last block. The published comparisons started from IMAGENET1K_V1.

    `weights` may also name a `.npz` file in the data folder.
    """

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, AfterValidator(named_or_file(WEIGHTS))] = "none",
        frozen_batchnorm: bool = False,
        pooling: Pooling = "avg",
    ) -> None:
        model = ready_model(resnet18, ResNet18_Weights, weights, data_root)
        trunk = nn.Sequential(*list(model.children())[:-2])
        super().__init__(trunk, 512, pooling, frozen_batchnorm)
