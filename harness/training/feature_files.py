"""Features of one view on disk: `features.npy` (float32 [n, F]) and `ledger.npy`, which knows what is computed.

A batch counts as computed when its line of the ledger says so and its checksum is right, so that a pass may be killed
at any moment and the next one computes only what is missing. The same check finds damage whenever features are opened.
"""

from __future__ import annotations

import shutil
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import StoreError
from harness.images import Progress
from harness.training.drafts import allocated, drafted, publish
from harness.training.feature_pass import FeaturePass, View

LINE = np.dtype([("done", "?"), ("checksum", "<u4")])
"""What is noted of a batch."""

WAITING = "waiting for another process that computes the features"

Arrays = tuple[NDArray[np.float32], NDArray[Any]]
"""Features [n, F] and ledger [batches of n]."""


def kept_features(cache: Path, passing: FeaturePass, view: View, what: str, progress: Progress) -> Tensor:
    """The features float32 [n, F] of a view, mapped from the cache, where they are computed if they are not there.

    Raises StoreError when there is no room for them, and whatever the building of the backbone raises.
    """
    folder = Path(cache) / f"features-{passing.key(view)}"
    found = opened(folder, len(view.index), passing.batch_size)
    if found is not None:
        return found
    with drafted(folder, WAITING, progress) as draft:
        found = opened(folder, len(view.index), passing.batch_size)
        if found is None:
            damaged = folder.exists()
            if damaged:
                progress(0, len(view.index), f"features are damaged; {what}")
            compute_missing(draft, passing, view, what, progress)
            publish(draft, folder, instead=damaged)
            found = opened(folder, len(view.index), passing.batch_size)
    if found is None:
        raise StoreError(f"the features in {folder} are damaged as soon as they are written; is the disk in order?")
    return found


def compute_missing(draft: Path, passing: FeaturePass, view: View, what: str, progress: Progress) -> None:
    """Fill a draft, going on where an earlier pass was stopped."""
    size, number = passing.batch_size, len(view.index)
    features, ledger = _begun(draft, (number, passing.width), size)
    missing = [i for i in range(len(ledger)) if not _is_whole(features, ledger, i, size)]
    for i, computed in zip(missing, passing.run(view, missing), strict=True):
        features[i * size : (i + 1) * size] = computed
        ledger[i] = (True, zlib.crc32(computed.data))
        progress(min((i + 1) * size, number), number, what)
    for array in (features, ledger):
        if isinstance(array, np.memmap):
            array.flush()


def opened(folder: Path, number: int, size: int) -> Tensor | None:
    """The features of `number` images, mapped; None when they are not there, not complete or damaged."""
    try:
        stamps = tuple((folder / name).stat().st_mtime_ns for name in ("features.npy", "ledger.npy"))
    except FileNotFoundError:
        return None
    return _opened(folder, number, size, stamps)


# Checking reads everything: a worker does so once for all its runs.
@lru_cache(maxsize=64)
def _opened(folder: Path, number: int, size: int, stamps: tuple[int, ...]) -> Tensor | None:
    # Copy-on-write: torch wants a writable array; nothing ever writes to it.
    found = _mapped(folder, "c", number, size)
    if found is None or not all(_is_whole(*found, i, size) for i in range(len(found[1]))):
        return None
    return torch.from_numpy(found[0])


def _begun(draft: Path, shape: tuple[int, int], size: int) -> Arrays:
    """What an earlier pass left, or an empty draft with all its room on the disk taken."""
    found = _mapped(draft, "r+", shape[0], size)
    if found is not None and found[0].shape == shape:
        return found
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        features = allocated(draft / "features.npy", shape, np.dtype(np.float32), "the features")
        # The ledger comes last: whoever finds it finds the features.
        return features, allocated(draft / "ledger.npy", (-(-shape[0] // size),), LINE, "the features")
    except (StoreError, OSError):
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _mapped(folder: Path, mode: Any, number: int, size: int) -> Arrays | None:
    try:
        features = np.load(folder / "features.npy", mmap_mode=mode)
        ledger = np.load(folder / "ledger.npy", mmap_mode=mode)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    fits = features.ndim == 2 and len(features) == number and features.dtype == np.float32
    return (features, ledger) if fits and ledger.shape == (-(-number // size),) and ledger.dtype == LINE else None


def _is_whole(features: NDArray[np.float32], ledger: NDArray[Any], i: int, size: int) -> bool:
    return bool(ledger[i]["done"]) and zlib.crc32(features[i * size : (i + 1) * size].data) == ledger[i]["checksum"]
