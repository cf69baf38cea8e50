"""Views carried out: boxes of images sampled to one size, turned grey, jittered in color; batched, on the device.

Resampling is separable, so a batch of boxes is two batched matrix products, which CPUs and GPUs are both good at. The
numbers are those of torchvision's own transforms of tensors.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.training.views import ORDERS, Plan


def apply_view(images: Tensor, plan: Plan) -> Tensor:
    """uint8 images [B, S, S, C] -> float32 [B, C, size, size] in [0, 1], in channels-last memory."""
    views = sample_boxes(images, plan.boxes, plan.size, plan.flip)
    if plan.grey is not None and views.shape[1] == 3:
        rows = _rows(plan.grey, views.device)
        views[rows] = _luminance(views[rows]).expand(-1, 3, -1, -1)
    if plan.jitter is not None and plan.order is not None:
        jitter_colors(views, plan.jitter, plan.order)
    return views


def sample_boxes(
    images: Tensor, boxes: NDArray[np.float64], size: int, flip: NDArray[np.bool_] | None = None
) -> Tensor:
    """Each image's box, bilinear and antialiased, at `size` x `size`: uint8 [B, S, S, C] -> float32 [B, C, size, size].

    Resampling is separable, so it is two batched matrix products with the weights of each row and column of the output;
    the weights are those of torchvision's antialiased bilinear Resize for that box. Beyond the edge the edge goes on.
    Values are rounded to whole 255ths, as an 8-bit image would have them.
    """
    side, edges = images.shape[1], np.rint(boxes * images.shape[1])
    if (edges[:, 2:] == size).all() and np.allclose(edges, boxes * side, atol=1e-6):
        return _cut(images, edges, size, flip)
    left, top, width, height = boxes.T
    across = _weights(left, width, side, size, flip).to(images.device)
    down = _weights(top, height, side, size, None).to(images.device)
    views = torch.empty(len(images), size, size, images.shape[3], device=images.device)
    few = 8 if images.device.type == "cpu" else 128  # what is worked on at a time stays in the cache
    for first in range(0, len(images), few):
        part = slice(first, first + few)
        pixels = images[part].transpose(2, 3).float()  # [b, S, C, S]: both products are large ones
        rows = (down[part] @ pixels.flatten(2)).view(-1, size * images.shape[3], side)
        crops = (rows @ across[part].transpose(1, 2)).view(-1, size, images.shape[3], size)
        views[part] = crops.round_().clamp_(0, 255).div_(255).transpose(2, 3)
    return views.permute(0, 3, 1, 2)


def _cut(images: Tensor, edges: NDArray[np.float64], size: int, flip: NDArray[np.bool_] | None) -> Tensor:
    """The case without resampling: whole pixels are picked."""
    side, steps = images.shape[1], np.arange(size)
    across, down = (np.clip(edges[:, axis, None].astype(np.int64) + steps, 0, side - 1) for axis in (0, 1))
    if flip is not None:
        across = np.where(flip[:, None], across[:, ::-1], across)
    x, y = (torch.from_numpy(np.ascontiguousarray(way)).to(images.device) for way in (across, down))
    number = torch.arange(len(images), device=images.device)
    picked = images[number[:, None, None], y[:, :, None], x[:, None, :]]
    return picked.permute(0, 3, 1, 2).float().div_(255)


def _weights(
    start: NDArray[np.float64], extent: NDArray[np.float64], side: int, size: int, flip: NDArray[np.bool_] | None
) -> Tensor:
    """Triangle filter, at least one input pixel wide, for each of `size` outputs along one axis: [B, size, side]."""
    scale = extent * side / size
    centers = start[:, None] * side + (np.arange(size) + 0.5) * scale[:, None]
    if flip is not None:
        centers = np.where(flip[:, None], centers[:, ::-1], centers)
    centers = np.clip(centers, 0.5, side - 0.5)
    support = np.maximum(scale, 1.0)[:, None, None]
    distance = np.abs(centers[:, :, None] - (np.arange(side) + 0.5)) / support
    weights = np.maximum(0.0, 1.0 - distance)
    return torch.from_numpy((weights / weights.sum(2, keepdims=True)).astype(np.float32))


# Color ----------------------------------------------------------------------------------------------------------------


def jitter_colors(views: Tensor, jitter: NDArray[np.float64], order: NDArray[np.int64]) -> None:
    """ColorJitter in place: each image in its own order of the four changes. views [B, C, H, W] in [0, 1]."""
    changes = (_brightness, _contrast, _saturation, _hue) if views.shape[1] == 3 else (_brightness, _contrast)
    for step in range(4):
        for number, change in enumerate(changes):
            mine = ORDERS[order, step] == number
            if mine.any():
                rows = _rows(mine, views.device)
                amount = torch.from_numpy(jitter[mine, number].astype(np.float32)).to(views.device)
                views[rows] = change(views[rows], amount.view(-1, 1, 1, 1))


def _rows(mask: NDArray[np.bool_], device: torch.device) -> Tensor:
    # Positions are found on the host: a boolean index on the device would wait for the device.
    return torch.from_numpy(np.flatnonzero(mask)).to(device)


def _luminance(views: Tensor) -> Tensor:
    red, green, blue = views.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def _blend(views: Tensor, other: Tensor | float, amount: Tensor) -> Tensor:
    return (amount * views + (1 - amount) * other).clamp_(0, 1)


def _brightness(views: Tensor, amount: Tensor) -> Tensor:
    return _blend(views, 0.0, amount)


def _contrast(views: Tensor, amount: Tensor) -> Tensor:
    grey = _luminance(views) if views.shape[1] == 3 else views
    return _blend(views, grey.mean((1, 2, 3), keepdim=True), amount)


def _saturation(views: Tensor, amount: Tensor) -> Tensor:
    return _blend(views, _luminance(views), amount)


def _hue(views: Tensor, amount: Tensor) -> Tensor:
    """Turns the hue of HSV by `amount` of a full circle."""
    value, low = views.amax(1), views.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    red, green, blue = views.unbind(1)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = (hue / 6 + amount.squeeze(1)).remainder(1.0) * 6
    # Back: each channel falls from `value` to `low` around the circle, two sixths after the one before.
    phase = torch.stack([(hue + offset).remainder(6.0) for offset in (5.0, 3.0, 1.0)], dim=1)
    fall = torch.minimum(phase, 4 - phase).clamp_(0, 1)
    return value.unsqueeze(1) - chroma.unsqueeze(1) * fall
