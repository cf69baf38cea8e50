"""Images on their way in: what a data set offers (`ImageSource`) and the one function that decodes (`decode_image`).

A data set lists its images without decoding them; the image bank of `training` decodes them all once. What every data
set must satisfy is checked here: class-disjoint train and test, two classes or more a side, two images or more a class.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.errors import DataError

DECODER = 2
"""Revision of `decode_image` and of the resizing to the bank's side; part of the key of every image bank."""

MAX_PIXELS = 120_000_000
"""Larger images are refused: a header of a few bytes can ask for terabytes."""

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done); called often, so it should return at once."""

OnBadImage = Literal["error", "skip"]


def silent(done: int, total: int, what: str) -> None:
    """The progress callback that shows nothing."""


@dataclass(frozen=True, eq=False)
class ImageSource:
    """What a data set offers: N images, of which `read(i)` gives one; nothing is decoded before it is asked for.

    Labels are 0..C-1; the training classes come first, so that proxy tables can be indexed by label. `side` is the
    side of the squares that the bank keeps. The test view is Resize(shorter side -> `resize`) and CenterCrop(`crop`).

    Without `gallery`, each test image is compared with all others. With it, the test images outside of the gallery are
    the queries, and retrieval ranks the gallery for each; all other metrics measure all test images together.
    """

    labels: NDArray[np.int64]  # [N]
    is_train: NDArray[np.bool_]  # [N]
    class_names: tuple[str, ...]  # [C]
    names: Sequence[str]  # [N], how a message calls an image
    digest: str  # of everything that decides the pixels, except `side`
    side: int
    channels: int  # 1 or 3
    resize: int
    crop: int
    read: Callable[[int], NDArray[np.uint8]]  # i -> [h, w, channels]
    array: NDArray[np.uint8] | None = None  # [N, side, side, channels] when the pixels are there already
    on_bad_image: OnBadImage = "error"
    gallery: NDArray[np.bool_] | None = None  # [N]: the test images in which queries search
    lonely_training_classes: bool = False  # whether a training class may have one image

    def __len__(self) -> int:
        return len(self.labels)

    def checked_rows(self, rows: NDArray[np.int64]) -> ImageSource:
        """What remains where only these images could be decoded: labels and roles of them, checked."""
        gallery = None if self.gallery is None else self.gallery[rows]
        return checked(replace(self, labels=self.labels[rows], is_train=self.is_train[rows], gallery=gallery))

    @property
    def split_digest(self) -> str:
        """SHA-256 of the names of the training and of the test classes: the same wherever the split is."""
        train = set(self.labels[self.is_train].tolist())
        sides = (sorted(n for i, n in enumerate(self.class_names) if (i in train) == side) for side in (True, False))
        return hashlib.sha256("\n\n".join("\n".join(names) for names in sides).encode()).hexdigest()


def checked(source: ImageSource) -> ImageSource:
    """The source itself, when train and test can be used. Raises DataError that names the class or side in question."""
    for side, mask in (("training", source.is_train), ("test", ~source.is_train)):
        labels, counts = np.unique(source.labels[mask], return_counts=True)
        if len(labels) < 2:
            raise DataError(
                f"there are {len(labels)} {side} classes with {mask.sum()} images; at least 2 classes are needed"
            )
        lonely = [source.class_names[label] for label in labels[counts < 2]]
        if lonely and not (side == "training" and source.lonely_training_classes):
            more = f" (and {len(lonely) - 1} more such classes)" if len(lonely) > 1 else ""
            raise DataError(
                f"{side} class {lonely[0]!r} has only one image{more}; every class needs 2 or more, because an image "
                "is compared with the others of its class"
            )
    if source.gallery is not None:
        _check_gallery(source, source.gallery)
    if source.crop > source.resize:
        raise DataError(f"crop ({source.crop}) is larger than resize ({source.resize}), from which it is cut")
    return source


def _check_gallery(source: ImageSource, gallery: NDArray[np.bool_]) -> None:
    if (gallery & source.is_train).any():
        raise DataError("training images are in the gallery; it must be test images alone")
    queries = ~source.is_train & ~gallery
    if not np.isin(source.labels[queries], source.labels[gallery]).any():
        raise DataError(
            f"none of the {queries.sum()} queries has an image of its class among the {gallery.sum()} of the gallery"
        )


def relabel(classes: Sequence[Hashable], is_train: NDArray[np.bool_]) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    """One class key an image -> labels [N] and the key of each label: training classes first, in order of appearance.

    Raises DataError where a class is in both train and test.
    """
    train = dict.fromkeys(key for key, inside in zip(classes, is_train, strict=True) if inside)
    test = dict.fromkeys(key for key, inside in zip(classes, is_train, strict=True) if not inside)
    shared = [key for key in train if key in test]
    if shared:
        raise DataError(
            f"class {shared[0]!r} has images in both train and test ({len(shared)} such classes); the classes must be "
            "disjoint, because retrieval is measured on classes that were never trained on"
        )
    keys = (*train, *test)
    label_of = {key: label for label, key in enumerate(keys)}
    return np.array([label_of[key] for key in classes], dtype=np.int64), keys


def first_half(classes: Sequence[Any]) -> set[Any]:
    """The training classes of the literature's split: the first half of the sorted classes."""
    ordered = sorted(set(classes))
    return set(ordered[: len(ordered) // 2])


def decode_image(content: bytes | Path, name: str, channels: int = 3) -> NDArray[np.uint8]:
    """A file or its bytes -> uint8 [h, w, channels], upright by its EXIF orientation.

    Alpha is dropped, as `convert("RGB")` of the published codes does. Raises DataError that names the image when it is
    empty, truncated, corrupt or of a kind that has no plain reading as 8-bit grey or RGB.
    """
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name}: {image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
            image.load()
            return _plain_pixels(_upright(image), name, channels)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{name}: the image does not exist") from error
    except PermissionError as error:
        raise DataError(f"{name}: the image cannot be read (permission denied)") from error
    # Pillow's readers of damaged files raise whatever the damage makes them stumble over.
    except Exception as error:
        raise DataError(f"{name}: the image cannot be decoded ({_reason(content, error)})") from error


def _reason(content: bytes | Path, error: Exception) -> str:
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"{size} bytes that are no known image format"
    return str(error) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block does not make the pixels unusable
        return image


def _plain_pixels(image: Image.Image, name: str, channels: int) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image), image.mode, name))
    elif image.mode in ("P", "PA"):
        # By way of RGBA: palettes may carry their transparency as bytes, which RGB cannot take over.
        image = image.convert("RGBA")
    pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    return pixels.reshape(*pixels.shape[:2], channels)


def _eight_bits(values: NDArray[Any], mode: str, name: str) -> NDArray[np.uint8]:
    """16-bit grey keeps its full range; 32-bit and float grey are taken where their range is plain."""
    low, high = float(values.min()), float(values.max())
    if mode == "F":
        full = 1.0 if high <= 1 else 255.0
    elif mode == "I":
        full = 255.0 if high <= 255 else 65535.0
    else:
        full = 65535.0
    if not (low >= 0 and high <= full):
        raise DataError(f"{name}: grey values from {low:g} to {high:g} have no plain meaning in mode {mode!r}")
    return np.rint(values.astype(np.float64) * (255.0 / full)).astype(np.uint8)
