"""The folder of an image bank: drafted beside it, published by one rename, checked whenever it is opened.

A bank holds `images.npy` (uint8 [n, S, S, C]), `table.npy` (of each image its row in the source, original size and
checksum) and `about.json`. Its draft lies beside it and outlives a builder that is interrupted or killed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, StoreError
from harness.images import ImageSource, Progress
from harness.training.bank_decoding import LINE, Draft, checksum, decode_missing, new_draft, opened_draft
from harness.training.drafts import allocated, drafted, publish

WAITING = "waiting for another process that decodes the images"

ROW = np.dtype([("row", "<i8"), *((name, LINE[name]) for name in LINE.names or ())])
"""A line of a bank's table: which image of the source it is, and what the ledger of the draft says of it."""

CHECKED_BYTES = 2**29
"""What is read of a large bank to check it when it is opened; reading all of it could take longer than a short run."""


def make_bank(source: ImageSource, folder: Path, progress: Progress) -> None:
    """Decodes a source into `folder`, alone, going on where an earlier builder was stopped.

    Returns at once when another process has done it meanwhile. Raises DataError when an image cannot be decoded (unless
    the source says to skip such), StoreError or OSError when the disk is full or refuses; then no draft is left.
    """
    with drafted(folder, WAITING, progress) as place:
        if is_whole(folder, source):
            return
        damaged = folder.exists()
        if damaged:
            progress(0, len(source), "the image bank is damaged; decoding again")
        try:
            draft = _begun(place, source)
            bad = decode_missing(source, draft, progress)
            _finish(source, draft, bad, place)
            publish(place, folder, instead=damaged)
        except (DataError, StoreError, OSError):
            shutil.rmtree(place, ignore_errors=True)
            raise
        (folder / "ledger.npy").unlink(missing_ok=True)


def is_whole(folder: Path, source: ImageSource) -> bool:
    """Whether the bank is there, of the right shape, and all that is looked at is undamaged.

    Looked at are the table, and as many images as `CHECKED_BYTES` hold, spread evenly: all of those of a small bank.
    """
    try:
        about = json.loads((folder / "about.json").read_text())
        said = about["listed"], about["table"]
        table = np.load(folder / "table.npy")
        images = np.load(folder / "images.npy", mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError, KeyError, TypeError):
        return False
    shape = (len(table), source.side, source.side, source.channels)
    if said != (len(source), _digest(table)) or images.shape != shape or images.dtype != np.uint8:
        return False
    some = min(len(table), max(2, CHECKED_BYTES // images[0].nbytes))
    return all(
        checksum(images[i]) == table[i]["checksum"] for i in np.unique(np.linspace(0, len(table) - 1, some).astype(int))
    )


def refusal(reason: str, number: int) -> str:
    """The message about images that cannot be decoded, with the way around them."""
    more = f" (and {number - 1} more like it)" if number > 1 else ""
    return f"{reason}{more}; the data set's option `on_bad_image: skip` leaves such images out"


# Building -------------------------------------------------------------------------------------------------------------


def _begun(place: Path, source: ImageSource) -> Draft:
    shape = (len(source), source.side, source.side, source.channels)
    draft = opened_draft(place, shape)
    (place / "kept.npy").unlink(missing_ok=True)
    if draft is None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        draft = new_draft(place, shape)
    return draft


def _finish(source: ImageSource, draft: Draft, bad: dict[int, str], place: Path) -> None:
    """From a draft whose images are all decoded to a bank; raises DataError when the bad ones may not be left out."""
    if bad and source.on_bad_image == "error":
        raise DataError(refusal(bad[min(bad)], len(bad)))
    rows = np.array([i for i in range(len(source)) if i not in bad], dtype=np.int64)
    source.checked_rows(rows)
    table = np.empty(len(rows), dtype=ROW)
    table["row"] = rows
    for name in LINE.names or ():
        table[name] = draft.ledger[name][rows]
    np.save(place / "table.npy", table)
    skipped = {source.names[i]: reason for i, reason in sorted(bad.items())}
    about = {"listed": len(source), "skipped": skipped, "table": _digest(table)}
    (place / "about.json").write_text(json.dumps(about))
    images = _compacted(draft.images, rows, place / "images.npy")
    if isinstance(images, np.memmap):
        images.flush()


def _compacted(images: NDArray[np.uint8], rows: NDArray[np.int64], file: Path) -> NDArray[np.uint8]:
    """Only the kept rows, in the same file."""
    if len(rows) == len(images):
        return images
    kept = file.with_name("kept.npy")
    smaller = allocated(kept, (len(rows), *images.shape[1:]), images.dtype, "the images")
    for new, old in enumerate(rows):
        smaller[new] = images[old]
    kept.replace(file)
    return smaller


def _digest(table: NDArray[Any]) -> str:
    return hashlib.sha256(table.tobytes()).hexdigest()
