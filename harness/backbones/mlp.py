"""A perceptron with hidden layers on the pixels, for toys."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from harness.registry import BACKBONES


@BACKBONES.register("mlp")
class MLP(nn.Module):
    """Linear layers of `hidden` units, each with ReLU, on the image averaged down to `side` x `side`, times `scale`."""

    revision = 1

    def __init__(
        self,
        *,
        side: PositiveInt = 8,
        hidden: Annotated[list[PositiveInt], Field(min_length=1)] = [30, 30],  # noqa: B006 - the signature is the schema
        scale: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.side, self.scale, self.features = side, scale, hidden[-1]
        sizes = pairwise([3 * side * side, *hidden])
        self.layers = nn.Sequential(
            *(part for before, after in sizes for part in (nn.Linear(before, after), nn.ReLU()))
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [0, 1] -> features [B, F]."""
        pixels = F.adaptive_avg_pool2d(images, self.side).expand(-1, 3, -1, -1)
        features: Tensor = self.layers(self.scale * pixels.flatten(1))
        return features
