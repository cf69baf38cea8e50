"""SqueezeNet 1.0 (Iandola et al., 2016), of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from torchvision.models import SqueezeNet1_0_Weights, squeezenet1_0

from harness.backbones._pooled import PooledBackbone, Pooling
from harness.backbones._weights import Sha256, Source, named_or_file, ready_model
from harness.registry import BACKBONES


@BACKBONES.register("squeezenet")
class SqueezeNet(PooledBackbone):
    """Pooled feature maps before the classifier."""

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, named_or_file("none", "IMAGENET1K_V1")] = "none",
        weights_sha256: Sha256 = "",
        pooling: Pooling = "avg",
    ) -> None:
        model = ready_model(
            squeezenet1_0, SqueezeNet1_0_Weights, Source(weights, weights_sha256, data_root), ("classifier.",)
        )
        super().__init__(model.features, 512, pooling, frozen_batchnorm=False)
