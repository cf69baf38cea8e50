"""The pixels of an image bank on their way: a draft that knows which images it holds already.

The draft is two mapped files, `images.npy` and `ledger.npy`. An image counts as decoded when its line of the ledger
says so and its checksum is right, so that a builder may be killed at any moment, or the machine lose its power, and the
next one decodes only what is missing.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import DataError
from harness.images import ImageSource, Progress
from harness.provenance import usable_cores
from harness.training.drafts import allocated

LINE = np.dtype([("width", "<i8"), ("height", "<i8"), ("checksum", "<u4")])
"""What is noted of an image: its original size (width 0: not decoded yet) and the checksum of its pixels."""

BLOCK = 256
"""Images between two pieces of news about the progress."""


@dataclass(frozen=True, eq=False)
class Draft:
    """The arrays of an unfinished bank, mapped from its folder."""

    images: NDArray[np.uint8]  # [N, S, S, C]
    ledger: NDArray[Any]  # [N] of LINE

    def has(self, i: int) -> bool:
        """Whether image i is decoded and undamaged."""
        return bool(self.ledger[i]["width"]) and self.ledger[i]["checksum"] == checksum(self.images[i])


def opened_draft(folder: Path, shape: tuple[int, ...]) -> Draft | None:
    """What an interrupted builder left; None when it did not get as far as a ledger."""
    try:
        images = np.lib.format.open_memmap(folder / "images.npy", mode="r+")
        ledger = np.lib.format.open_memmap(folder / "ledger.npy", mode="r+")
    except (FileNotFoundError, ValueError):
        return None
    fits = images.shape == shape and images.dtype == np.uint8 and ledger.shape == shape[:1] and ledger.dtype == LINE
    return Draft(images, ledger) if fits else None


def new_draft(folder: Path, shape: tuple[int, ...]) -> Draft:
    """An empty one, with all its room on the disk taken now. Raises StoreError or OSError where there is too little."""
    images = allocated(folder / "images.npy", shape, np.dtype(np.uint8), "the images")
    # The ledger comes last: whoever finds it finds the images.
    return Draft(images, allocated(folder / "ledger.npy", shape[:1], LINE, "the images"))


def decode_missing(source: ImageSource, draft: Draft, progress: Progress) -> dict[int, str]:
    """Fills the draft; gives the reason of each image that cannot be decoded. Stops early unless such are skipped."""

    def decode(i: int) -> str | None:
        if draft.has(i):
            return None
        try:
            image = source.read(i)
        except DataError as error:
            return str(error)
        draft.images[i] = squared(image, source.side)
        draft.ledger[i]["checksum"] = checksum(draft.images[i])
        draft.ledger[i]["height"] = image.shape[0]
        draft.ledger[i]["width"] = image.shape[1]  # last: now it counts
        return None

    bad: dict[int, str] = {}
    # Threads: Pillow decodes and resizes without the interpreter lock. What it warns of (odd metadata) costs no pixel.
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        warnings.filterwarnings("ignore", module="PIL")
        for block in _blocks(len(source)):
            bad |= {i: reason for i, reason in zip(block, pool.map(decode, block), strict=True) if reason}
            progress(block.stop, len(source), "decoding images")
            if bad and source.on_bad_image == "error":
                break
    return bad


def squared(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """[h, w, C] -> [side, side, C], squashed and antialiased.

    Bilinear as torchvision's Resize, but bicubic where both directions shrink: a view resamples once more, and what
    bilinear blurs away here brings it a fifth further from the same crop of the original photo.
    """
    if image.shape[:2] == (side, side):
        return image
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    shrinks = min(image.shape[:2]) >= side
    resized = picture.resize((side, side), Image.Resampling.BICUBIC if shrinks else Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(side, side, image.shape[2])


def checksum(pixels: NDArray[np.uint8]) -> int:
    """Finds damage by disks and by dying builders, not by malice; quick beside decoding."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _blocks(number: int) -> Iterator[range]:
    return (range(start, min(start + BLOCK, number)) for start in range(0, number, BLOCK))
