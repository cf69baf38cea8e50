"""SqueezeNet 1.0 (Iandola et al., 2016), of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from torchvision.models import SqueezeNet1_0_Weights, squeezenet1_0

from harness.backbones._pooled import PooledBackbone, Pooling, named_or_file, ready_model
from harness.registry import BACKBONES

WEIGHTS = ("none", "IMAGENET1K_V1")


@BACKBONES.register("squeezenet")
class SqueezeNet(PooledBackbone):
    """Pooled feature maps before the classifier. `weights` may also name a `.npz` file in the data folder."""

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, AfterValidator(named_or_file(WEIGHTS))] = "none",
        pooling: Pooling = "avg",
    ) -> None:
        model = ready_model(squeezenet1_0, SqueezeNet1_0_Weights, weights, data_root)
        super().__init__(model.features, 512, pooling, frozen_batchnorm=False)
