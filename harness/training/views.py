"""Views of images: where each is cropped and how it is changed, with chance by sample.

A view is planned here, on the host, as plain numbers (`plan_view`), and carried out on the device (`pixels`): one box
of the original image a sample, sampled to the output size, then flipped, turned grey, jittered. What is planned is
distributed as by torchvision's RandomResizedCrop, RandomCrop, RandomHorizontalFlip, RandomGrayscale and ColorJitter.

Chance comes from a hash of (run seed, epoch, sample index, number of the draw), not from a stream: a sample's view is
the same in whatever batch, order or process it is asked for, and on every machine.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.seeding import seed_for

AUGMENTATIONS = ("none", "shift", "base", "big", "adv", "red")
"""none: the test view. shift: the test view moved by up to 2 pixels either way, for small drawings. base, big, adv,
red: the four of Roth et al. (2020); `big` crops as large as it resizes, in training and test alike."""

MAX_SHIFT = 2
CROP_ATTEMPTS = 10
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
GREY_PROBABILITY = 0.2
JITTER = 0.2
ORDERS = np.array(list(itertools.permutations(range(4))))
"""The orders in which brightness (0), contrast (1), saturation (2) and hue (3) may be applied."""


@dataclass(frozen=True)
class Plan:
    """What is done to each of B images; None where nothing is done to any of them."""

    size: int
    boxes: NDArray[np.float64]  # [B, 4]: left, top, width, height as fractions of the image
    flip: NDArray[np.bool_] | None = None  # [B]
    grey: NDArray[np.bool_] | None = None  # [B]
    jitter: NDArray[np.float64] | None = None  # [B, 4]: factors of brightness, contrast, saturation; shift of hue
    order: NDArray[np.int64] | None = None  # [B]: row of ORDERS


def plan_view(
    augmentation: str,
    resize: int,
    crop: int,
    sizes: NDArray[np.int64],
    indices: NDArray[np.int64],
    seed: int,
    epoch: int,
    train: bool = True,
) -> Plan:
    """The views of the images `indices` [B] of original (width, height) `sizes` [B, 2]; chance from the arguments."""
    if augmentation == "big":
        crop = resize
    if not train or augmentation == "none":
        return Plan(crop, center_boxes(sizes, resize, crop))
    chance = uniforms(seed_for(seed, "augment", epoch), indices, 2 * CROP_ATTEMPTS + 9)
    corner, flip, grey = chance[:, :2], chance[:, 2] < 0.5, chance[:, 3] < GREY_PROBABILITY
    if augmentation == "shift":
        return Plan(crop, shifted_boxes(sizes, resize, crop, corner))
    if augmentation == "red":
        return Plan(crop, random_crop_boxes(sizes, resize, crop, corner), flip)
    boxes = resized_crop_boxes(sizes, chance[:, 9:], corner)
    if augmentation != "adv":
        return Plan(crop, boxes, flip)
    jitter = np.concatenate([1 + JITTER * (2 * chance[:, 4:7] - 1), JITTER * (2 * chance[:, 7:8] - 1)], axis=1)
    return Plan(crop, boxes, flip, grey, jitter, (chance[:, 8] * len(ORDERS)).astype(np.int64))


# Chance ---------------------------------------------------------------------------------------------------------------


def uniforms(key: int, indices: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) [B, draws]: the top 53 bits of a counter-based hash of (key, index, draw).

    The hash is the finalizer of SplitMix64 (Steele et al., 2014), once over the index and once over the draw, each
    spread by the golden ratio; all of it wraps at 64 bits.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    samples = _mix(np.asarray(indices).astype(np.uint64) * golden + np.uint64(key))
    counters = np.arange(1, draws + 1, dtype=np.uint64) * golden
    bits = _mix(samples[:, None] + counters[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# Where: boxes [B, 4] as fractions of the image ------------------------------------------------------------------------


def center_boxes(sizes: NDArray[np.int64], resize: int, crop: int) -> NDArray[np.float64]:
    """Resize(resize) and CenterCrop(crop), with torchvision's rounding."""
    resized = _resized(sizes, resize)
    return _boxes(np.rint((resized - crop) / 2.0), np.full_like(resized, crop), resized)


def shifted_boxes(sizes: NDArray[np.int64], resize: int, crop: int, chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """`center_boxes` moved by whole output pixels, uniform in -MAX_SHIFT..MAX_SHIFT for each axis."""
    resized = _resized(sizes, resize)
    shift = np.floor(chance * (2 * MAX_SHIFT + 1)) - MAX_SHIFT
    return _boxes(np.rint((resized - crop) / 2.0) + shift, np.full_like(resized, crop), resized)


def random_crop_boxes(
    sizes: NDArray[np.int64], resize: int, crop: int, chance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Resize(resize) and RandomCrop(crop)."""
    resized = _resized(sizes, resize)
    return _boxes(np.floor(chance * (resized - crop + 1)), np.full_like(resized, crop), resized)


def resized_crop_boxes(
    sizes: NDArray[np.int64], attempts: NDArray[np.float64], corner: NDArray[np.float64]
) -> NDArray[np.float64]:
    """RandomResizedCrop: the first of ten random (area, ratio) that fits into the image, else the largest center crop.

    `attempts` [B, 20] decides areas and ratios, `corner` [B, 2] where the crop lies.
    """
    low, high = CROP_AREA
    pixels = sizes.prod(1, keepdims=True).astype(np.float64)
    area = pixels * (low + (high - low) * attempts[:, :CROP_ATTEMPTS])
    log_low, log_high = math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])
    ratio = np.exp(log_low + (log_high - log_low) * attempts[:, CROP_ATTEMPTS:])
    tried = np.stack([np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))], axis=2)
    fits = np.asarray(((tried > 0) & (tried <= sizes[:, None, :])).all(axis=2))
    any_fits = fits.any(axis=1, keepdims=True)
    first = tried[np.arange(len(sizes)), fits.argmax(axis=1)]
    extent = np.where(any_fits, first, _largest_crop(sizes))
    random_corner = np.floor(corner * (sizes - extent + 1))
    center_corner = np.floor((sizes - extent) / 2.0)
    return _boxes(np.where(any_fits, random_corner, center_corner), extent, sizes)


def _resized(sizes: NDArray[np.int64], resize: int) -> NDArray[np.float64]:
    """Width and height after the shorter side became `resize`."""
    shorter = sizes.min(1, keepdims=True)
    resized: NDArray[np.float64] = np.floor(resize * sizes / shorter)
    return resized


def _largest_crop(sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    width, height = sizes[:, 0].astype(np.float64), sizes[:, 1].astype(np.float64)
    low, high = CROP_RATIO
    fitted_width = np.minimum(width, np.rint(height * high))
    fitted_height = np.minimum(height, np.rint(width / low))
    return np.stack([fitted_width, fitted_height], axis=1)


def _boxes(corner: NDArray[np.float64], extent: NDArray[np.float64], sizes: NDArray[Any]) -> NDArray[np.float64]:
    return np.concatenate([corner / sizes, extent / sizes], axis=1)
