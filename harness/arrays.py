"""Named arrays in an `.npz` file, read as if it were hostile: no pickle is executed, no bomb unpacked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

LARGEST = 64 * 2**30
"""Bytes of all arrays of a file; more than any machine here could hold, and what a bomb of zeros claims to have."""


def read_arrays(file: Path, wanted: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by their names: all, or those of the wanted ones that it has.

    Raises DataError with the reason, which does not name the file, where it cannot be read as such.
    """
    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError("not a readable .npz file (it is a single array without a name)")
            with loaded:
                _refuse_bombs(loaded)
                names = loaded.files if wanted is None else [name for name in wanted if name in loaded.files]
                found = {name: loaded[name] for name in names}
    except DataError:
        raise
    except Exception as error:  # damaged archives make numpy and its decompressors raise nearly anything
        raise DataError(f"not a readable .npz file ({reason(error)})") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise DataError(f"not a readable .npz file ({name!r} in it is no array)")
    return found


def reason(error: object) -> str:
    """What is said of a damaged file, without the bytes of the file that it may quote at any length."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _refuse_bombs(loaded: Any) -> None:
    size = sum(info.file_size for info in loaded.zip.infolist())
    if size > LARGEST:
        raise DataError(f"not a readable .npz file (unpacked it would have {size:,} bytes, of at most {LARGEST:,})")
