"""GoogLeNet (Szegedy et al., 2015), of torchvision: with batch norm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from torch import nn
from torchvision.models import GoogLeNet_Weights, googlenet

from harness.backbones._pooled import FrozenBatchNorm, PooledBackbone, Pooling
from harness.backbones._weights import Sha256, Source, named_or_file, ready_model
from harness.registry import BACKBONES

HALF = (0.5, 0.5, 0.5)


@BACKBONES.register("googlenet")
class GoogLeNet(PooledBackbone):
    """Pooled feature maps of the last inception block, without the auxiliary classifiers.

    Its weights come from TensorFlow, so images go from -1 to 1. The early papers of metric learning (Song et al., 2016;
    Harwood et al., 2017) used the original network, which has no batch norm.
    """

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
        build = partial(googlenet, aux_logits=False, init_weights=weights == "none")
        source = Source(weights, weights_sha256, data_root)
        model = ready_model(build, GoogLeNet_Weights, source, ("fc.", "aux1.", "aux2."))
        trunk = nn.Sequential(*list(model.children())[:-3])
        super().__init__(trunk, 1024, pooling, frozen_batchnorm, HALF, HALF)
