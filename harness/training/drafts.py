"""Folders that take long to make: drafted by one process at a time, published by one rename.

A draft lies beside its place under a fixed name, so that whoever comes after a builder that was killed goes on with it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import StoreError
from harness.images import Progress

POLL_S = 0.1


@contextmanager
def drafted(folder: Path, waiting: str, progress: Progress) -> Iterator[Path]:
    """Where the draft of `folder` is, for one builder at a time; the system frees the lock of one that dies.

    While another builds, `progress` is told so again and again, and may raise to give up.
    """
    with folder.with_suffix(".lock").open("w") as lock:
        if not _locked(lock.fileno(), waiting, progress):
            # A file system without locks: each builds a draft of its own, and the rename decides.
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as own:
                yield Path(own) / "draft"
            return
        for leftover in folder.parent.glob(f".{folder.name}-*"):  # of such a one that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        yield folder.parent / f".{folder.name}.draft"


def _locked(lock: int, waiting: str, progress: Progress) -> bool:
    """Take the lock; False where the file system has none."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            progress(0, 1, waiting)
            time.sleep(POLL_S)
        except OSError:
            return False


def publish(draft: Path, folder: Path, *, instead: bool) -> None:
    """Make everything in the draft safe on the disk, then let the folder appear.

    With `instead`, one that is there was found damaged and makes room; else somebody was quicker, and ours is dropped.
    """
    for file in (*draft.iterdir(), draft):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    if instead and folder.exists():  # whoever has it open keeps it
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
            os.rename(folder, Path(aside) / "damaged")
    try:
        os.rename(draft, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(draft, ignore_errors=True)


def allocated(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """A mapped .npy file whose space is taken now: a disk that fills up later would kill the process by a signal.

    Raises StoreError when there is no room for it, in words that begin with `what`.
    """
    needed, free = int(np.prod(shape)) * dtype.itemsize, shutil.disk_usage(file.parent).free
    if free < needed * 1.02 + 2**20:
        needs, has = (f"{size / 2**20:,.0f} MiB" for size in (needed, free))
        raise StoreError(f"{what} need {needs} in {file.parent.parent}, but only {has} are free there")
    array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            try:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
            except OSError as error:  # a file system that cannot promise room
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
    return array
