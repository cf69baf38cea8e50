"""Boxes of images at one size: bilinear and antialiased as torchvision resizes, rounded to whole 255ths.

The same resampling in two forms. On a CPU each image goes through Pillow, whose integer arithmetic gives the same bits
in any batch, on any number of threads and on any machine, and is six times as fast there as the other form: two
batched matrix products, which is what a GPU is good at. The forms differ by at most one 255th, because Pillow rounds
between the two directions, too; where TF32 is allowed, by at most two. Neither snaps a box to whole pixels of the
bank: its pixels stand for two of the photo, and a crop moved by half of one is another picture at every sharp edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

ALIGNED = 1e-6
"""Fraction of a pixel of the bank within which a box counts as one of whole pixels, or as inside the image."""

PIXELS_OF_A_THREAD = 250_000
"""A thread is worth its start from about five views of 224 pixels on."""


def sample_boxes(
    images: Tensor,
    boxes: NDArray[np.float64],
    size: int,
    flip: NDArray[np.bool_] | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Tensor:
    """Boxes of images at `size` x `size`: uint8 [N, S, S, C] -> float32 [B, C, size, size], channels last in memory.

    `boxes` [B, 4] are left, top, width, height as fractions of the image; `rows` [B] are the images they are of, which
    may be left out where that is all of them. Beyond an image its edge goes on.
    """
    pixels = boxes * images.shape[1]
    mirrored = np.zeros(len(boxes), dtype=np.bool_) if flip is None else flip
    rows = np.arange(len(boxes)) if rows is None else rows
    if (np.rint(pixels[:, 2:]) == size).all() and np.allclose(np.rint(pixels), pixels, atol=ALIGNED, rtol=0):
        return _picked(images, rows, np.rint(pixels).astype(np.int64), size, mirrored)
    if images.device.type == "cpu":
        return sample_one_by_one(images, rows, pixels, size, mirrored).permute(0, 3, 1, 2)
    return sample_by_products(images[to_device(rows, images.device)], pixels, size, mirrored).permute(0, 3, 1, 2)


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """A small array on the device; a GPU fetches it when it comes to it, and nobody waits."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _picked(
    images: Tensor, rows: NDArray[np.int64], boxes: NDArray[np.int64], size: int, flip: NDArray[np.bool_]
) -> Tensor:
    """The case without resampling: whole pixels are picked."""
    side, channels = images.shape[1], images.shape[3]
    if size == side and not boxes[:, :2].any() and not flip.any():
        return images[to_device(rows, images.device)].permute(0, 3, 1, 2).float().div_(255)
    across, down = (np.clip(boxes[:, axis, None] + np.arange(size), 0, side - 1) for axis in (0, 1))
    across = np.where(flip[:, None], across[:, ::-1], across)
    if images.device.type == "cpu":  # where one index of each pixel is three times as quick as three
        places = (rows[:, None, None] * side + down[:, :, None]) * side + across[:, None, :]
        picked = torch.from_numpy(images.numpy().reshape(-1, channels).take(places, axis=0))
    else:
        x, y = to_device(np.stack([across, down]), images.device)
        picked = images[to_device(rows, images.device)[:, None, None], y[:, :, None], x[:, None, :]]
    return picked.permute(0, 3, 1, 2).float().div_(255)


# On a CPU: image by image, in integers --------------------------------------------------------------------------------


def sample_one_by_one(
    images: Tensor, rows: NDArray[np.int64], boxes: NDArray[np.float64], size: int, flip: NDArray[np.bool_]
) -> Tensor:
    """`boxes` [B, 4] in pixels of the bank -> float32 [B, size, size, C] on the CPU, on torch's number of threads."""
    sources, side = images.numpy(), images.shape[1]
    views = np.empty((len(rows), size, size, images.shape[3]), dtype=np.float32)

    def sample(number: int) -> None:
        left, top, width, height = boxes[number]
        edges = np.array([left, top, left + width, top + height])
        if edges.min() < -ALIGNED or edges.max() > side + ALIGNED:  # Pillow knows no box beyond the edge
            part = slice(number, number + 1)
            views[number] = sample_by_products(images[rows[part]], boxes[part], size, flip[part])[0].numpy()
            return
        views[number] = _resized(sources[rows[number]], np.clip(edges, 0, side), size, flip[number])
        views[number] /= np.float32(255)

    _on_threads(sample, len(rows), size * size)
    return torch.from_numpy(views)


def _resized(image: NDArray[np.uint8], edges: NDArray[np.float64], size: int, flip: np.bool_) -> NDArray[np.uint8]:
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    resized = picture.resize((size, size), Image.Resampling.BILINEAR, box=tuple(edges.tolist()))
    if flip:
        resized = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(resized).reshape(size, size, image.shape[2])


def _on_threads(work: Callable[[int], None], number: int, pixels: int) -> None:
    """Pillow and NumPy work without the interpreter lock, which small images hold longer than they leave it."""

    def in_turn(part: Iterable[int]) -> None:
        for i in part:
            work(i)

    threads = min(torch.get_num_threads(), number * pixels // PIXELS_OF_A_THREAD)
    if threads < 2:
        return in_turn(range(number))
    parts = np.array_split(np.arange(number), min(number, 4 * threads))
    with ThreadPoolExecutor(threads) as pool:  # made anew each time: threads do not survive a fork
        list(pool.map(in_turn, parts))


# On a GPU: two batched matrix products --------------------------------------------------------------------------------


def sample_by_products(images: Tensor, boxes: NDArray[np.float64], size: int, flip: NDArray[np.bool_]) -> Tensor:
    """`boxes` [B, 4] in pixels of the bank -> float32 [B, size, size, C] on the device of the images.

    Resampling is separable: weights of the rows times image times weights of the columns.
    """
    side, channels = images.shape[1], images.shape[3]
    down, across = _weights(boxes, side, size, flip, images.device)
    pixels = images.transpose(2, 3).float()  # [B, S, C, S]: both products are large ones
    rows = torch.bmm(down, pixels.flatten(2)).view(-1, size * channels, side)
    crops = torch.bmm(rows, across.transpose(1, 2)).view(-1, size, channels, size)
    return crops.round_().clamp_(0, 255).div_(255).transpose(2, 3).contiguous()


def _weights(
    boxes: NDArray[np.float64], side: int, size: int, flip: NDArray[np.bool_], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Of each row and each column of the output, over those of the image: twice [B, size, side].

    A triangle as wide as an output pixel, but at least as an input pixel, cut off at the edge of the image.
    """
    scale = boxes[:, 2:].T / size  # [2, B]: across, down
    centers = boxes[:, :2].T[:, :, None] + (np.arange(size) + 0.5) * scale[:, :, None]
    centers[0] = np.where(flip[:, None], centers[0, :, ::-1], centers[0])
    centers = np.clip(centers, 0.5, side - 0.5)
    support = np.maximum(scale, 1.0)[:, :, None]
    packed = to_device(np.concatenate([centers, support], axis=2).astype(np.float32), device)
    places = torch.arange(side, device=device, dtype=torch.float32) + 0.5
    distance = (packed[:, :, :size, None] - places).abs_().div_(packed[:, :, size:, None])
    weights = distance.neg_().add_(1).clamp_min_(0)
    across, down = weights.div_(weights.sum(3, keepdim=True))
    return down, across
