"""The conditional normalizing flow of non-isotropy regularization, put together from the transforms of zuko."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import UnconditionalTransform
from zuko.nn import MLP
from zuko.transforms import CouplingTransform, MonotonicAffineTransform, PermutationTransform

Mode = Literal["none", "start", "mid", "end", "dense", "dense_embed", "dense_embed_multi", "dense_embed_multi_stacked"]


class ConditionalFlow(nn.Module):
    """x [B, D] -> latent [B, D] and log|det| of that map [B], given a condition p [B, D] for each sample.

    `blocks` times: a fixed permutation (the same for all seeds), then an affine coupling of both halves (Kingma and
    Dhariwal, 2018, in the two-sided form of Ardizzone et al., 2018). The first half, of round(D / 2) coordinates, moves
    by what the second and the condition say, then the second by what the new first and the condition say. Who says it
    is an MLP of `depth` linear layers, `width` wide. A logarithmic scale a is held within +-clamp by
    clamp * 0.636 * atan(a).

    Which condition a block gets, by `mode`: none; p in the first, middle or last one alone (start, mid, end); p in all
    (dense); p through one MLP for all blocks (dense_embed), through one for each (dense_embed_multi), or through as
    many of a chain as there are blocks before (dense_embed_multi_stacked).
    """

    def __init__(self, dim: int, blocks: int, depth: int, width: int, clamp: float, mode: Mode, init: str) -> None:
        super().__init__()
        self.mode = mode
        conditioned = {"none": [], "start": [0], "mid": [blocks // 2], "end": [blocks - 1]}.get(mode, range(blocks))
        self.blocks = nn.ModuleList(
            block(dim, number, number in conditioned, depth, width, clamp) for number in range(blocks)
        )
        embeddings = {"dense_embed": 1, "dense_embed_multi": blocks, "dense_embed_multi_stacked": blocks}.get(mode, 0)
        self.embeddings = nn.ModuleList(MLP(dim, dim, hidden_features=[dim]) for _ in range(embeddings))
        self.conditioned = [number in conditioned for number in range(blocks)]
        if init == "xavier":
            draw_again(self.blocks)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Samples [B, D] and conditions [B, D] -> latents [B, D], log-determinants [B]."""
        logdet: Tensor | float = 0.0
        for transforms, given in zip(self.blocks, self._conditions(condition), strict=True):
            for transform in transforms:  # type: ignore[attr-defined]
                x, ladj = transform(given).call_and_ladj(x)
                logdet = logdet + ladj
        assert isinstance(logdet, Tensor)
        return x, logdet

    def inverse(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Latents [B, D] and conditions [B, D] -> samples [B, D]."""
        for transforms, given in reversed(list(zip(self.blocks, self._conditions(condition), strict=True))):
            for transform in reversed(transforms):  # type: ignore[call-overload]
                latent = transform(given).inv(latent)
        return latent

    def _conditions(self, condition: Tensor) -> list[Tensor | None]:
        """What each block gets."""
        given: list[Tensor] = [condition] * len(self.blocks)
        if self.mode == "dense_embed":
            given = [self.embeddings[0](condition)] * len(self.blocks)
        elif self.mode == "dense_embed_multi":
            given = [embed(condition) for embed in self.embeddings]
        elif self.mode == "dense_embed_multi_stacked":
            for number, embed in enumerate(self.embeddings):
                condition = given[number] = embed(condition)
        return [one if wanted else None for one, wanted in zip(given, self.conditioned, strict=True)]


def block(dim: int, number: int, conditioned: bool, depth: int, width: int, clamp: float) -> nn.ModuleList:
    """One permutation and the two halves of one coupling."""
    order = torch.from_numpy(np.random.RandomState(number).permutation(dim))
    second = torch.arange(dim) >= round(dim / 2)
    options = {
        "context": dim if conditioned else 0,
        "univariate": partial(ClampedAffineTransform, clamp=clamp),
        "hidden_features": [width] * (depth - 1),
    }
    return nn.ModuleList(
        [
            UnconditionalTransform(PermutationTransform, order, buffer=True),
            HalfCoupling(dim, mask=second, **options),
            HalfCoupling(dim, mask=~second, **options),
        ]
    )


class ClampedAffineTransform(MonotonicAffineTransform):  # type: ignore[misc]
    """x -> exp(s) x + shift with s = clamp * 0.636 * atan(scale), which lies within +-clamp (0.636 is about 2 / pi)."""

    def __init__(self, shift: Tensor, scale: Tensor, clamp: float) -> None:
        super(MonotonicAffineTransform, self).__init__()  # not that of zuko, which computes a scale of its own
        self.shift = shift
        self.log_scale = clamp * 0.636 * scale.atan()
        self.scale = self.log_scale.exp()


class HalfCoupling(GeneralCouplingTransform):  # type: ignore[misc]
    """zuko's coupling where the masked coordinates, which stay as they are, are the first or the last ones."""

    def __init__(self, dim: int, mask: Tensor, **options: object) -> None:
        super().__init__(dim, mask=mask, **options)
        self.kept_first = bool(mask[0])
        self.border = int((mask == mask[0]).sum())

    def forward(self, c: Tensor | None = None) -> CouplingTransform:
        """The transform under a condition [B, D], or none."""
        return CutCouplingTransform(partial(self.meta, c), self.border, self.kept_first)


class CutCouplingTransform(CouplingTransform):  # type: ignore[misc]
    """zuko's coupling transform with slices; from a mask it would look up places in each step and wait for a GPU."""

    def __init__(self, meta: object, border: int, kept_first: bool) -> None:
        super(CouplingTransform, self).__init__()
        self.meta = meta
        self.border = border
        self.kept_first = kept_first

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, D] -> what is kept, what is moved."""
        first, second = x[..., : self.border], x[..., self.border :]
        return (first, second) if self.kept_first else (second, first)

    def merge(self, x_a: Tensor, x_b: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `split`."""
        return torch.cat((x_a, x_b) if self.kept_first else (x_b, x_a), dim=-1)


def draw_again(blocks: nn.ModuleList) -> None:
    """Xavier-uniform weights and biases of 0 in all but the first linear layer of each MLP, as the published option."""
    for module in blocks.modules():
        if isinstance(module, MLP):
            for layer in [layer for layer in module if hasattr(layer, "weight")][1:]:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
