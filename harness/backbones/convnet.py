"""A small convolutional network for small images."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from harness.registry import BACKBONES


@BACKBONES.register("convnet")
class ConvNet(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and pooling, then the average over the image."""

    revision = 1

    def __init__(
        self, *, embedding_dim: Annotated[int, Field(ge=1)] = 64, width: Annotated[int, Field(ge=1)] = 32
    ) -> None:
        super().__init__()
        widths = (width, 2 * width, 2 * width, 4 * width)
        self.features = widths[-1]
        blocks: list[nn.Module] = []
        for before, wide in pairwise((3, *widths)):
            blocks += [
                nn.Conv2d(before, wide, 3, padding=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> features [B, F]."""
        features: Tensor = self.blocks((images.expand(-1, 3, -1, -1) - 0.5) / 0.5).mean((2, 3))
        return features
