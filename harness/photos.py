"""Data sets of image files: where they lie, and how a list of files becomes an `ImageSource`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.images import ImageSource, OnBadImage, checked, decode_image, relabel

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Photos:
    """How photos are kept and viewed: the options that all data sets of files share.

    Without `resize`, images are resized to 8/7 of the crop: 256 for 224, as the papers do.
    """

    side: int = 256
    resize: int | None = None
    crop: int = 224
    on_bad_image: OnBadImage = "error"


def photo_source(
    root: Path,
    paths: Sequence[str],
    classes: Sequence[Hashable],
    is_train: Sequence[bool],
    photos: Photos,
    **fields: Any,
) -> ImageSource:
    """Image files under `root`, one class key each, as a checked source in RGB; `fields` are further ones of it.

    Raises DataError that names a file that is listed but not there.
    """
    split = np.array(is_train, dtype=np.bool_)
    labels, keys = relabel(classes, split)
    given: dict[str, Any] = {
        "labels": labels,
        "is_train": split,
        "class_names": tuple(str(key) for key in keys),
        "names": [str(root / path) for path in paths],
        "digest": _digest_of_files(root, paths),
        "side": photos.side,
        "channels": 3,
        "resize": photos.resize or round(photos.crop * 8 / 7),
        "crop": photos.crop,
        "read": lambda i: decode_image(root / paths[i], str(root / paths[i])),
        "on_bad_image": photos.on_bad_image,
    }
    return checked(ImageSource(**(given | fields)))


def _digest_of_files(root: Path, paths: Sequence[str]) -> str:
    """Of path, size and time of change of every file: reading the content of all would take longer than a short run."""
    digest = hashlib.sha256()
    lost: list[str] = []
    for path in paths:
        try:
            stat = (root / path).stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte, of a damaged list
            lost.append(
                f"{root / path}: the image is listed but cannot be read ({getattr(error, 'strerror', None) or error})"
            )
    if lost:
        raise DataError(lost[0] + (f"; so are {len(lost) - 1:,} more of {len(paths):,}" if len(lost) > 1 else ""))
    return digest.hexdigest()


def image_files(folder: Path) -> list[str]:
    """The names of the images right in a folder, sorted; hidden files and macOS's `._` doubles are not images."""
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if not entry.name.startswith(".") and Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file()
    )


def find_in(data_root: Path, candidates: Sequence[str], what: str, hint: str = "") -> Path:
    """The first of the candidates that exists under the data folder. Raises DataError that lists where it looked."""
    for candidate in candidates:
        if (data_root / candidate).exists():
            return data_root / candidate
    if not data_root.is_dir():
        raise DataError(f"{what}: the data folder {data_root} does not exist; name it by --data DIR or HARNESS_DATA")
    tried = " or ".join(candidates)
    there = ", ".join(sorted(entry.name for entry in data_root.iterdir())[:10]) or "nothing"
    raise DataError(f"{what}: there is no {tried} in the data folder {data_root}, which holds {there}{hint}")


def check_counts(what: str, where: Path, found: dict[str, int], right: dict[str, int], missing: str = "") -> None:
    """Raises DataError unless there are as many images of each kind as the literature counts."""
    if found != right:
        told = " and ".join(f"{number:,} {kind}" for kind, number in found.items())
        wanted = " and ".join(f"{number:,}" for number in right.values())
        raise DataError(f"{what}: {where} holds {told} images; right would be {wanted}{missing}")
