"""MobileNetV2 (Sandler et al., 2018), of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from harness.backbones._pooled import FrozenBatchNorm, PooledBackbone, Pooling
from harness.backbones._weights import Sha256, Source, named_or_file, ready_model
from harness.registry import BACKBONES


@BACKBONES.register("mobilenet_v2")
class MobileNetV2(PooledBackbone):
    """Pooled feature maps before the classifier."""

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, named_or_file("none", "IMAGENET1K_V1", "IMAGENET1K_V2")] = "none",
        weights_sha256: Sha256 = "",
        frozen_batchnorm: FrozenBatchNorm = False,
        pooling: Pooling = "avg",
    ) -> None:
        model = ready_model(
            mobilenet_v2, MobileNet_V2_Weights, Source(weights, weights_sha256, data_root), ("classifier.",)
        )
        super().__init__(model.features, 1280, pooling, frozen_batchnorm)
