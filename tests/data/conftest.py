"""Tiny images and data sets, made by the tests that need them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.images import ImageSource


def noise(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Pixels that differ everywhere, smooth enough for JPEG: uint8 [h, w, channels]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    planes = [
        Image.fromarray(coarse[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[[Mapping[str, int] | list[str]], Path]:
    """Writes small JPEGs, each with its own content, at the given paths below the test's folder."""

    def write(paths: list[str]) -> Path:
        for number, path in enumerate(paths):
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(encoded(Image.fromarray(noise(12, 16, number)), "JPEG"))
        return tmp_path

    return write


@pytest.fixture
def array_source() -> Callable[..., ImageSource]:
    """A source of random images of one size: `classes` train and test classes, `each` images a class."""

    def make(
        height: int = 8, width: int = 8, channels: int = 1, each: int = 3, classes: int = 2, **changes
    ) -> ImageSource:
        count = 2 * classes * each
        images = [noise(height, width, seed, channels) for seed in range(count)]
        labels = np.repeat(np.arange(2 * classes), each)
        values = {
            "labels": labels,
            "is_train": labels < classes,
            "class_names": tuple(f"class {label}" for label in range(2 * classes)),
            "names": [f"image {i}" for i in range(count)],
            "digest": f"{height}/{width}/{channels}/{each}/{classes}",
            "side": height,
            "channels": channels,
            "resize": height,
            "crop": height,
            "read": lambda i: images[i],
        }
        return ImageSource(**(values | changes))

    return make
