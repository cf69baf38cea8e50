"""MobileNetV2 (Sandler et al., 2018), of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from harness.backbones._pooled import PooledBackbone, Pooling, named_or_file, ready_model
from harness.registry import BACKBONES

WEIGHTS = ("none", "IMAGENET1K_V1", "IMAGENET1K_V2")


@BACKBONES.register("mobilenet_v2")
class MobileNetV2(PooledBackbone):
    """Pooled feature maps before the classifier. `weights` may also name a `.npz` file in the data folder."""

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, AfterValidator(named_or_file(WEIGHTS))] = "none",
        frozen_batchnorm: bool = False,
        pooling: Pooling = "avg",
    ) -> None:
        model = ready_model(mobilenet_v2, MobileNet_V2_Weights, weights, data_root)
        super().__init__(model.features, 1280, pooling, frozen_batchnorm)
