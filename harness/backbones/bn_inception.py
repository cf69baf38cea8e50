"""BN-Inception (Ioffe and Szegedy, 2015): the Inception of the metric-learning literature before ResNet-50."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.backbones._pooled import FrozenBatchNorm, PooledBackbone, Pooling
from harness.backbones._weights import Sha256, Source, adopt, named_or_file, read_state
from harness.registry import BACKBONES

MEAN = (128 / 255, 117 / 255, 104 / 255)  # red, green, blue
STD = (1 / 255, 1 / 255, 1 / 255)


@dataclass(frozen=True)
class Block:
    """Channels of the branches of an inception block: 1x1; reduced, then 3x3; reduced, then 3x3 twice; pooled.

    Without a 1x1 branch, the block halves the maps and its pool branch has no projection.
    """

    single: int
    reduce: int
    three: int
    double_reduce: int
    double: int
    projection: int
    pool: Literal["avg", "max"] = "avg"

    @property
    def stride(self) -> int:
        """Of the last layer of each branch."""
        return 1 if self.single else 2

    def channels(self, before: int) -> int:
        """How many maps it gives."""
        return self.single + self.three + self.double + (self.projection or before)


BLOCKS = {
    "3a": Block(64, 64, 64, 64, 96, 32),
    "3b": Block(64, 64, 96, 64, 96, 64),
    "3c": Block(0, 128, 160, 64, 96, 0, "max"),
    "4a": Block(224, 64, 96, 96, 128, 128),
    "4b": Block(192, 96, 128, 96, 128, 128),
    "4c": Block(160, 128, 160, 128, 160, 128),
    "4d": Block(96, 128, 192, 160, 192, 128),
    "4e": Block(0, 128, 192, 192, 256, 0, "max"),
    "5a": Block(352, 192, 320, 160, 224, 128),
    "5b": Block(352, 192, 320, 192, 224, 128, "max"),
}
"""Figure 5 of the paper. Its column of output sizes says 576 where the filters of 4c and 4d sum to 608, and 1024 where
those of 4e sum to 1056; the published weights have the sums."""


@BACKBONES.register("bn_inception")
class BNInception(PooledBackbone):
    """Pooled feature maps of the last block.

    A file of weights has the names of the Caffe model and its ports to PyTorch (`inception_3a_1x1.weight`,
    `inception_3a_1x1_bn.running_mean`, ...). Images are what those were trained on: blue, green, red from 0 to 255,
    less the means 104, 117, 128.
    """

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, named_or_file("none")] = "none",
        weights_sha256: Sha256 = "",
        frozen_batchnorm: FrozenBatchNorm = False,
        pooling: Pooling = "avg",
    ) -> None:
        trunk, source = InceptionMaps(), Source(weights, weights_sha256, data_root)
        if source.file is not None:
            state = read_state(source.file, source.sha256)
            # The oldest port keeps the vectors of batch norm as [1, C].
            flat = {
                name: value.squeeze(0) if value.ndim == 2 and "_bn." in name else value for name, value in state.items()
            }
            adopt(trunk, flat, f"the weights {source.file}", ("last_linear.", "fc."))
        super().__init__(trunk, 1024, pooling, frozen_batchnorm, MEAN, STD)


class InceptionMaps(nn.Module):
    """Images [B, 3, H, W], red first, minus the means -> maps [B, 1024, H/32, W/32]. Layers have their Caffe names."""

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", 3, 64, 7, 2)
        self._add("conv2_3x3_reduce", 64, 64)
        self._add("conv2_3x3", 64, 192, 3)
        channels = 192
        for name, block in BLOCKS.items():
            self._add_block(f"inception_{name}", block, channels)
            channels = block.channels(channels)

    def forward(self, images: Tensor) -> Tensor:
        """The maps of the last block."""
        maps = _halved(self._apply_layer("conv1_7x7_s2", images.flip(1)))
        maps = _halved(self._apply_layer("conv2_3x3", self._apply_layer("conv2_3x3_reduce", maps)))
        for name, block in BLOCKS.items():
            maps = self._apply_block(f"inception_{name}", block, maps)
        return maps

    def _add(self, name: str, before: int, after: int, size: int = 1, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(before, after, size, stride, padding=size // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(after))

    def _add_block(self, name: str, block: Block, before: int) -> None:
        if block.single:
            self._add(f"{name}_1x1", before, block.single)
        self._add(f"{name}_3x3_reduce", before, block.reduce)
        self._add(f"{name}_3x3", block.reduce, block.three, 3, block.stride)
        self._add(f"{name}_double_3x3_reduce", before, block.double_reduce)
        self._add(f"{name}_double_3x3_1", block.double_reduce, block.double, 3)
        self._add(f"{name}_double_3x3_2", block.double, block.double, 3, block.stride)
        if block.projection:
            self._add(f"{name}_pool_proj", before, block.projection)

    def _apply_layer(self, name: str, maps: Tensor) -> Tensor:
        convolution, norm = self.get_submodule(name), self.get_submodule(f"{name}_bn")
        return F.relu(norm(convolution(maps)), inplace=True)

    def _apply_block(self, name: str, block: Block, maps: Tensor) -> Tensor:
        branches = [self._apply_layer(f"{name}_1x1", maps)] if block.single else []
        for path in (("3x3_reduce", "3x3"), ("double_3x3_reduce", "double_3x3_1", "double_3x3_2")):
            branch = maps
            for layer in path:
                branch = self._apply_layer(f"{name}_{layer}", branch)
            branches.append(branch)
        if block.projection:
            branches.append(self._apply_layer(f"{name}_pool_proj", _smoothed(maps, block.pool)))
        else:
            branches.append(_halved(maps))
        return torch.cat(branches, 1)


def _halved(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 3, stride=2, ceil_mode=True)


def _smoothed(maps: Tensor, pool: Literal["avg", "max"]) -> Tensor:
    pooled: Tensor = (F.avg_pool2d if pool == "avg" else F.max_pool2d)(maps, 3, stride=1, padding=1)
    return pooled
