"""The folder of an image bank: decoded in parallel into a draft beside it, checked, and published by one rename."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import DataError, StoreError
from harness.images import ImageSource, Progress
from harness.provenance import usable_cores


def decode_bank(source: ImageSource, folder: Path, progress: Progress) -> None:
    """Makes the bank's folder: `images.npy`, `sizes.npy`, `rows.npy` (which images of the source) and `about.json`."""
    shape = (len(source), source.side, source.side, source.channels)
    _check_room(folder.parent, int(np.prod(shape)))
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        draft = Path(temporary) / "bank"
        draft.mkdir()
        images = _allocated(draft / "images.npy", shape)
        sizes = np.zeros((len(source), 2), dtype=np.int64)
        bad = _decode_all(source, images, sizes, progress)
        rows = _kept_rows(source, bad)
        images = _compacted(images, rows, draft / "images.npy")
        np.save(draft / "rows.npy", rows)
        np.save(draft / "sizes.npy", sizes[rows])
        skipped = {source.names[i]: reason for i, reason in sorted(bad.items())}
        _flush(images, draft)
        about = {"listed": len(source), "skipped": skipped, "checksum": checksum(draft)}
        (draft / "about.json").write_text(json.dumps(about))
        _publish(draft, folder)


def _decode_all(
    source: ImageSource, images: NDArray[np.uint8], sizes: NDArray[np.int64], progress: Progress
) -> dict[int, str]:
    """Fills the arrays; gives the reason of each image that cannot be decoded. Stops early unless such are skipped."""

    def decode(i: int) -> str | None:
        try:
            image = source.read(i)
        except DataError as error:
            return str(error)
        sizes[i] = image.shape[1], image.shape[0]
        images[i] = squared(image, source.side)
        return None

    bad: dict[int, str] = {}
    # Threads: Pillow decodes and resizes without the interpreter lock. What it warns of (odd metadata) costs no pixel.
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(source), 256):
            block = range(start, min(start + 256, len(source)))
            bad |= {i: reason for i, reason in zip(block, pool.map(decode, block), strict=True) if reason}
            progress(block.stop, len(source), "decoding images")
            if bad and source.on_bad_image == "error":
                break
    return bad


def squared(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """[h, w, C] -> [side, side, C], squashed; bilinear and antialiased like torchvision's Resize."""
    if image.shape[:2] == (side, side):
        return image
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    resized = picture.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(side, side, image.shape[2])


def _kept_rows(source: ImageSource, bad: dict[int, str]) -> NDArray[np.int64]:
    if bad and source.on_bad_image == "error":
        raise DataError(refusal(bad[min(bad)], len(bad)))
    rows = np.array([i for i in range(len(source)) if i not in bad], dtype=np.int64)
    source.checked_rows(rows)
    return rows


def refusal(reason: str, number: int) -> str:
    """The message about images that cannot be decoded, with the way around them."""
    more = f" (and {number - 1} more like it)" if number > 1 else ""
    return f"{reason}{more}; the data set's option `on_bad_image: skip` leaves such images out"


def _allocated(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A mapped .npy file whose space is taken now: a disk that fills up later would kill the process by a signal."""
    images = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return images


def _compacted(images: NDArray[np.uint8], rows: NDArray[np.int64], file: Path) -> NDArray[np.uint8]:
    """Only the kept rows, in the same file."""
    if len(rows) == len(images):
        return images
    smaller = np.lib.format.open_memmap(
        file.with_name("kept.npy"), mode="w+", dtype=np.uint8, shape=(len(rows), *images.shape[1:])
    )
    for new, old in enumerate(rows):
        smaller[new] = images[old]
    os.replace(file.with_name("kept.npy"), file)
    return smaller


def _flush(images: NDArray[np.uint8], draft: Path) -> None:
    if isinstance(images, np.memmap):
        images.flush()
    for file in draft.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def _publish(draft: Path, folder: Path) -> None:
    if folder.exists():  # we were called because it is damaged; whoever has it open keeps it
        os.rename(folder, draft.with_name("damaged"))
    try:
        os.rename(draft, folder)
    except OSError as error:
        # Somebody else published the same bank first; it has the same content, and ours is dropped.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


# The folder -----------------------------------------------------------------------------------------------------------


@contextmanager
def alone(folder: Path, progress: Progress) -> Iterator[None]:
    """One builder of a bank at a time."""
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(0, 1, "waiting for another process that decodes the images")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: two may build, and the rename decides
            yield
            return
        for leftover in folder.parent.glob(f".{folder.name}-*"):  # of a builder that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _check_room(cache: Path, needed: int) -> None:
    free = shutil.disk_usage(cache).free
    if free < needed * 1.02 + 2**20:
        needs, has = (f"{size / 2**20:,.0f} MiB" for size in (needed, free))
        raise StoreError(f"the image bank needs {needs} in {cache}, but only {has} are free there")


def checksum(folder: Path) -> str:
    """Of the small arrays, and of 64 images spread over the large one: to read all of it would take too long."""
    images = np.load(folder / "images.npy", mmap_mode="r")
    digest = hashlib.sha256(repr((images.shape, images.dtype.str)).encode())
    for row in np.unique(np.linspace(0, len(images) - 1, 64).astype(int)):
        digest.update(np.ascontiguousarray(images[row]).tobytes())
    for name in ("rows.npy", "sizes.npy"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
