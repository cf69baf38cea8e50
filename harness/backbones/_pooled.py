"""What the large backbones share: normalization, pooling of feature maps, frozen batch norm, ready weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic_core import PydanticCustomError
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import DataError, EnvironmentLacks

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


# Ready weights --------------------------------------------------------------------------------------------------------


def named_or_file(names: tuple[str, ...]) -> Callable[[str], str]:
    """A check of the option `weights`: one of torchvision's names, said explicitly, or a `.npz` file."""

    def check(weights: str) -> str:
        if weights not in names and not weights.endswith(".npz"):
            known = ", ".join(names)
            raise PydanticCustomError("weights", f"must be {known} or a .npz file in the data folder")
        return weights

    return check


def ready_model(build: Callable[..., Any], kinds: Any, weights: str, data_root: Path | None = None) -> Any:
    """A model of torchvision with no weights, with downloaded ones, or with those of a file.

    Raises EnvironmentLacks when they cannot be fetched, DataError when the file is not what the model needs.
    """
    model = build(weights=None)
    if weights.endswith(".npz"):
        _load_file(model, (data_root or Path()) / weights)
    elif weights != "none":
        model.load_state_dict(_fetched(kinds[weights]))
    return model


def _fetched(weights: Any) -> Any:
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # whatever the network, the disk or the hash has to say
        raise EnvironmentLacks(
            f"the weights {weights} could not be fetched from {weights.url} ({error}); put that file into "
            f"{torch.hub.get_dir()}/checkpoints, or use `weights: none`"
        ) from error


def _load_file(model: nn.Module, file: Path) -> None:
    """Arrays named like the model's parameters and buffers; executes nothing, unlike a pickle."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            state = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
    except Exception as error:  # a damaged archive makes numpy raise nearly anything
        raise DataError(f"the weights {file} cannot be read ({error})") from error
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise DataError(f"the weights {file} do not fit {type(model).__name__}: {error}") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise DataError(
            f"the weights {file} do not fit {type(model).__name__}: {len(missing)} arrays are missing "
            f"({', '.join(missing[:3])}), {len(unexpected)} are unknown ({', '.join(unexpected[:3])})"
        )
