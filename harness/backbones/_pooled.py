"""What the large backbones share: normalization, pooling of feature maps, frozen batch norm, ready weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import EnvironmentLacks

Pooling = Literal["avg", "max", "avg+max"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PooledBackbone(nn.Module):
    """Feature maps of `trunk` on normalized RGB images, pooled to [B, features].

    With `frozen_batchnorm` the statistics of every batch norm stay as they are and are always used, while its weight
    and bias are trained on (Roth et al., 2020).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, features: int, pooling: Pooling, frozen_batchnorm: bool) -> None:
        super().__init__()
        self.trunk = trunk
        self.features = features
        self.pooling = pooling
        self.frozen_batchnorm = frozen_batchnorm
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [0, 1] -> features [B, F]."""
        maps = self.trunk((images.expand(-1, 3, -1, -1) - self.mean) / self.std)
        average, largest = F.adaptive_avg_pool2d(maps, 1).flatten(1), F.adaptive_max_pool2d(maps, 1).flatten(1)
        if self.pooling == "avg+max":
            return average + largest
        return average if self.pooling == "avg" else largest

    def train(self, mode: bool = True) -> PooledBackbone:
        """Set the mode of everything but frozen batch norms."""
        super().train(mode)
        if self.frozen_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def torchvision_model(build: Callable[..., nn.Module], weights: Any | None) -> nn.Module:
    """A model of torchvision, with its downloaded weights where they are named. Raises EnvironmentLacks."""
    if weights is None:
        return build(weights=None)
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # whatever the network, the disk or the hash has to say
        raise EnvironmentLacks(
            f"the weights {weights} could not be fetched from {weights.url} ({error}); put that file into "
            f"{torch.hub.get_dir()}/checkpoints, or use `weights: none`"
        ) from error
    model = build(weights=None)
    model.load_state_dict(state)
    return model
