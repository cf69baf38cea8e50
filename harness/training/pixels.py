"""Views carried out: boxes of images sampled to one size, turned grey, jittered in color; batched, on the device.

The numbers are those of torchvision's own transforms: of 8-bit images where boxes are resampled, of float tensors where
colors change.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.training.resampling import sample_boxes, to_device
from harness.training.views import ORDERS, Plan


def apply_view(images: Tensor, plan: Plan, rows: NDArray[np.int64] | None = None) -> Tensor:
    """uint8 images [N, S, S, C] -> views of those at `rows` [B], float32 [B, C, size, size] in [0, 1], channels last.

    Without `rows`, of all of them in turn.
    """
    views = sample_boxes(images, plan.boxes, plan.size, plan.flip, rows)
    if plan.grey is not None and views.shape[1] == 3:
        grey = _rows(plan.grey, views.device)
        views[grey] = _luminance(views[grey]).expand(-1, 3, -1, -1)
    if plan.jitter is not None and plan.order is not None:
        few = 8 if views.device.type == "cpu" else len(views)  # what stays in a CPU's cache
        for part in (slice(first, first + few) for first in range(0, len(views), few)):
            jitter_colors(views[part], plan.jitter[part], plan.order[part])
    return views


# Color ----------------------------------------------------------------------------------------------------------------


def jitter_colors(views: Tensor, jitter: NDArray[np.float64], order: NDArray[np.int64]) -> None:
    """ColorJitter in place: each image in its own order of the four changes. views [B, C, H, W] in [0, 1]."""
    changes = (_brightness, _contrast, _saturation, _hue) if views.shape[1] == 3 else (_brightness, _contrast)
    for step in range(4):
        for number, change in enumerate(changes):
            mine = ORDERS[order, step] == number
            if mine.any():
                rows = _rows(mine, views.device)
                amount = to_device(jitter[mine, number].astype(np.float32), views.device)
                views[rows] = change(views[rows], amount.view(-1, 1, 1, 1))


def _rows(mask: NDArray[np.bool_], device: torch.device) -> Tensor:
    # Positions are found on the host: a boolean index on the device would wait for the device.
    return to_device(np.flatnonzero(mask), device)


def _luminance(views: Tensor) -> Tensor:
    red, green, blue = views.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def _blend(views: Tensor, other: Tensor | float, amount: Tensor) -> Tensor:
    return (amount * views + (1 - amount) * other).clamp_(0, 1)


def _brightness(views: Tensor, amount: Tensor) -> Tensor:
    return _blend(views, 0.0, amount)


def _contrast(views: Tensor, amount: Tensor) -> Tensor:
    grey = _luminance(views) if views.shape[1] == 3 else views
    # Rows first: the sum of one large block would depend, in its last bits, on the number of threads.
    return _blend(views, grey.mean(3, keepdim=True).mean(2, keepdim=True), amount)


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
