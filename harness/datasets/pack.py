"""A whole data set in one file: `.npz` with arrays, or `.zip` with image files and `labels.csv`."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.arrays import read_arrays, reason
from harness.errors import DataError
from harness.images import (
    ImageSource,
    OnBadImage,
    Progress,
    checked,
    decode_image,
    first_half,
    relabel,
    silent,
)
from harness.photos import find_in
from harness.registry import DATASETS

MAX_MEMBER_BYTES = 256 * 2**20
MAX_LABELS_BYTES = 32 * 2**20
MAX_IMAGES = 1_000_000
"""Of a `.zip`. Stanford Online Products, the largest data set known here, lists 120,000 images in 7 MB."""


@DATASETS.register("pack")
class Pack:
    """`file` is relative to the data folder. Where nothing says what trains, the first half of the sorted labels does.

    `.npz`: `images` uint8 [N, H, W] or [N, H, W, 1 or 3], `labels` [N]; optional `is_train` bool [N], `class_names`.
    `.zip`: `labels.csv` with the columns `file,label` and optionally `class_name`, `split` (train or test).
    `side`, `resize` and `crop` default to the side of the images: the bank keeps them as they are.
    """

    revision = 1

    def __init__(
        self,
        data_root: Path,
        *,
        file: str,
        side: Annotated[int, Field(ge=1)] | None = None,
        resize: Annotated[int, Field(ge=1)] | None = None,
        crop: Annotated[int, Field(ge=1)] | None = None,
        on_bad_image: OnBadImage = "error",
    ) -> None:
        self.data_root, self.file = Path(data_root), file
        self.side, self.resize, self.crop = side, resize, crop
        self.on_bad_image = on_bad_image

    def source(self, progress: Progress = silent) -> ImageSource:
        """Reads the labels; of a `.zip`, it decodes one image to learn the side."""
        readers = {".npz": self._from_arrays, ".zip": self._from_zip}
        place = find_in(self.data_root, [self.file], "pack")
        if place.suffix.lower() not in readers or not place.is_file():
            raise DataError(f"pack: {place} is not a .npz or .zip file")
        try:
            return checked(readers[place.suffix.lower()](place))
        except DataError as error:
            raise DataError(f"pack {place}: {error}") from error

    def _sizes(self, native: int) -> dict[str, Any]:
        side = self.side or native
        resize = self.resize or self.crop or side
        return {"side": side, "resize": resize, "crop": self.crop or resize}

    def _from_arrays(self, place: Path) -> ImageSource:
        content = _read_npz(place)
        images, labels = _images_of(content), content["labels"]
        if labels.shape != (len(images),):
            raise DataError(f"there are {len(images)} images, but `labels` has the shape {labels.shape}")
        is_train = _split_of(content.get("is_train"), labels)
        numbers, keys = relabel(labels.tolist(), is_train)
        sizes = self._sizes(max(images.shape[1:3]))
        return ImageSource(
            labels=numbers,
            is_train=is_train,
            class_names=_names_of(keys, content.get("class_names")),
            names=[f"{place}[{i}]" for i in range(len(images))],
            digest=_digest_of(place),
            channels=images.shape[3],
            read=lambda i: images[i],
            array=images if images.shape[1:3] == (sizes["side"], sizes["side"]) else None,
            **sizes,
        )

    def _from_zip(self, place: Path) -> ImageSource:
        try:
            archive = zipfile.ZipFile(place)
        except Exception as error:  # a damaged directory makes zipfile raise more than BadZipFile
            raise DataError(f"not a readable zip file ({reason(error)})") from error
        rows = _read_rows(archive)
        files = [row["file"] for row in rows]
        labels = [_number_or_text(row["label"]) for row in rows]
        is_train = _split_of_rows(rows, labels)
        numbers, keys = relabel(labels, is_train)
        given = {label: row.get("class_name") or row["label"] for label, row in zip(labels, rows, strict=True)}
        return ImageSource(
            labels=numbers,
            is_train=is_train,
            class_names=tuple(given[key] for key in keys),
            names=[f"{place}:{file}" for file in files],
            digest=_digest_of_members(archive),
            channels=3,
            read=lambda i: decode_image(_member(archive, files[i]), f"{place}:{files[i]}"),
            on_bad_image=self.on_bad_image,
            **self._sizes(self.side or _first_side(archive, files)),
        )


# .npz -----------------------------------------------------------------------------------------------------------------


def _read_npz(place: Path) -> dict[str, NDArray[Any]]:
    content = read_arrays(place, ("images", "labels", "is_train", "class_names"))
    missing = {"images", "labels"} - set(content)
    if missing:
        raise DataError(f"it holds no array named {min(missing)!r}; `images` and `labels` are needed")
    return content


def _images_of(content: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """[N, H, W, C] with C 1 or 3."""
    images = content["images"]
    if images.dtype != np.uint8:
        raise DataError(f"`images` must be uint8, not {images.dtype}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(f"`images` must be [N, H, W] or [N, H, W, 1 or 3], not of the shape {content['images'].shape}")
    return images


def _split_of(given: NDArray[Any] | None, labels: NDArray[Any]) -> NDArray[np.bool_]:
    if given is None:
        return np.isin(labels, sorted(first_half(labels.tolist())))
    if given.shape != labels.shape or given.dtype != np.bool_:
        raise DataError(f"`is_train` must be bool of the shape {labels.shape}, not {given.dtype} of {given.shape}")
    return given


def _names_of(keys: tuple[Any, ...], given: NDArray[Any] | None) -> tuple[str, ...]:
    """`class_names` is indexed by the file's own labels, where it is there."""
    if given is None:
        return tuple(str(key) for key in keys)
    if not all(isinstance(key, int) and 0 <= key < len(given) for key in keys):
        raise DataError(f"`class_names` has {len(given)} entries, which do not cover the labels")
    return tuple(str(given[key]) for key in keys)


def _digest_of(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# .zip -----------------------------------------------------------------------------------------------------------------


def _read_rows(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    try:
        text = _member(archive, "labels.csv", MAX_LABELS_BYTES).decode("utf-8-sig")
        rows = list(islice(csv.DictReader(io.StringIO(text, newline=""), strict=True), MAX_IMAGES + 1))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"labels.csv is not readable as UTF-8 comma-separated text ({reason(error)})") from error
    if not rows:
        raise DataError("labels.csv lists no images")
    if len(rows) > MAX_IMAGES:
        raise DataError(f"labels.csv lists more than {MAX_IMAGES:,} images")
    known = set(archive.namelist())
    for line, row in enumerate(rows, start=2):
        if not row.get("file") or not row.get("label"):
            raise DataError(f"labels.csv, row {line}: needs `file` and `label`, but has {_shown(row)}")
        if row["file"] not in known:
            raise DataError(f"labels.csv, row {line}: {row['file']!r} is not in the archive")
    return rows


def _shown(row: dict[str, str]) -> str:
    return reason(", ".join(f"{key}={value!r}" for key, value in row.items()))


def _split_of_rows(rows: list[dict[str, str]], labels: list[Any]) -> NDArray[np.bool_]:
    if not any(row.get("split") for row in rows):
        train = first_half(labels)
        return np.array([label in train for label in labels])
    for line, row in enumerate(rows, start=2):
        if row.get("split") not in ("train", "test"):
            raise DataError(f"labels.csv, row {line}: split must be 'train' or 'test', not {row.get('split')!r}")
    return np.array([row["split"] == "train" for row in rows])


def _number_or_text(label: str) -> tuple[int, str]:
    """Sorts as a number where it is one, so that 10 comes after 9."""
    return (int(label), "") if label.isdecimal() and len(label) < 19 else (-1, label)


def _member(archive: zipfile.ZipFile, name: str, largest: int = MAX_MEMBER_BYTES) -> bytes:
    try:
        if archive.getinfo(name).file_size > largest:
            raise DataError(f"{name} is larger than {largest:,} bytes")
        return archive.read(name)
    except KeyError as error:
        raise DataError(f"it holds no {name}") from error
    except Exception as error:  # a damaged member raises what its decompressor stumbles over
        if isinstance(error, DataError):
            raise
        raise DataError(f"{archive.filename}:{name}: cannot be read ({reason(error)})") from error


def _first_side(archive: zipfile.ZipFile, files: list[str]) -> int:
    """The longer side of the first image that can be decoded, at most 256."""
    for file in files:
        try:
            height, width, _ = decode_image(_member(archive, file), file).shape
            return min(256, int(max(height, width)))
        except DataError:
            continue
    raise DataError("none of its images can be decoded")


def _digest_of_members(archive: zipfile.ZipFile) -> str:
    """Of name, size and checksum of every member, as the archive's own directory has them."""
    members = sorted((info.filename, info.file_size, info.CRC) for info in archive.infolist())
    return hashlib.sha256(repr(members).encode()).hexdigest()
