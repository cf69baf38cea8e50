"""From archives as their makers publish them, or from a download, to the folder of a data set: whole or not at all.

Everything happens in a draft folder beside the place where it will be. Only when the data set can be listed there, with
as many images as it must have, one rename puts it in place.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.archives import SUFFIXES, is_archive, md5_of, unpack
from harness.errors import DataError, EnvironmentLacks, StoreError
from harness.images import Progress, silent
from harness.registry import DATASETS
from harness.specs import Choice

LISTS = (".mat", ".txt")
"""What makers publish beside their archives; it is copied."""

Tell = Callable[[str], None]


def unpack_dataset(
    choice: Choice, files: Sequence[Path], data_root: Path, progress: Progress = silent, tell: Tell = print
) -> Path:
    """Unpack the archives of a data set into the folder of its name below `data_root`; gives that folder.

    Raises DataError, and leaves nothing behind, for archives that are damaged, are not what their makers published or
    do not hold the whole data set together, and where the folder is there already.
    """
    folder = _new_folder(choice.name, data_root)
    known = _archives(choice.name)
    for file in files:
        _check(file, known, tell)
    with _draft(folder) as draft:
        _assemble(choice, files, draft, progress)
        _put_in_place(draft / choice.name, folder)
    return folder


def download_if_missing(
    choice: Choice, data_root: Path, progress: Progress = silent, tell: Tell = print
) -> Path | None:
    """Download a data set whose makers' terms allow that, unless it is in the data folder; gives its new folder.

    Raises EnvironmentLacks where it cannot be reached, with what to do without a network.
    """
    part: Any = DATASETS.get(choice.name)
    if not hasattr(part, "fetch") or any((data_root / place).exists() for place in part.places):
        return None
    folder = _new_folder(choice.name, data_root)
    tell(f"{choice.name} is not in {data_root} and is downloaded")
    with _draft(folder) as draft:
        files = _fetched(part, draft, choice.name)
        _assemble(choice, files, draft, progress)
        _put_in_place(draft / choice.name, folder)
    return folder


def _archives(name: str) -> Mapping[str, str]:
    """File name -> MD5 of what a data set is published as."""
    known: Mapping[str, str] | None = getattr(DATASETS.get(name), "archives", None)
    if known is None:
        with_archives = [other for other in DATASETS.names() if hasattr(DATASETS.get(other), "archives")]
        raise DataError(f"{name} is not published as archives; --from is for {', '.join(with_archives)}")
    return known


def _new_folder(name: str, data_root: Path) -> Path:
    folder = data_root / name
    if folder.exists():
        raise DataError(f"{folder} is there already; move it away to unpack anew, or leave out --from to use it")
    return folder


def _check(file: Path, known: Mapping[str, str], tell: Tell) -> None:
    """Refuse what cannot be unpacked, or bears the name of a published file and is another; tell unknown digests."""
    if not file.is_file():
        raise DataError(f"{file} is not {'a file' if file.exists() else 'there'}; right would be an archive")
    if not is_archive(file) and file.suffix.lower() not in LISTS:
        raise DataError(f"{file} is no archive; right would be one of {' '.join((*SUFFIXES, *LISTS))}")
    found = md5_of(file)
    if found != known.get(file.name, found):
        raise DataError(
            f"{file} has the MD5 digest {found}, but what its makers published has {known[file.name]}: it is "
            "incomplete or was changed, and nothing was unpacked"
        )
    tell(f"{file.name}: MD5 {found}, {'as published' if file.name in known else 'which no list here knows'}")


def _assemble(choice: Choice, files: Sequence[Path], draft: Path, progress: Progress) -> None:
    """Unpack into the draft, and list the data set there, which finds what is missing."""
    folder = draft / choice.name
    folder.mkdir()
    try:
        for file in files:
            if is_archive(file):
                unpack(file, folder, progress)
            else:
                shutil.copyfile(file, folder / file.name)
        DATASETS.build(choice, data_root=draft).source()
    except DataError as error:
        text = str(error).replace(str(draft), str(draft.parent))
        raise DataError(f"{text} (nothing of it was kept)") from error
    except OSError as error:
        raise StoreError(f"{draft.parent} cannot be written: {error.strerror or error}") from error


def _fetched(part: Any, draft: Path, name: str) -> list[Path]:
    downloads = draft / "downloads"
    downloads.mkdir()
    try:
        files: list[Path] = part.fetch(downloads)
    except (OSError, RuntimeError) as error:  # torchvision's word for a wrong digest is RuntimeError
        by_hand = " ".join(f"--from {archive}" for archive in part.archives)
        raise EnvironmentLacks(
            f"{name} cannot be downloaded ({error}); get its archives on another machine and give them: "
            f"harness prepare {name} {by_hand}"
        ) from error
    return files


def _put_in_place(draft: Path, folder: Path) -> None:
    try:
        os.rename(draft, folder)
    except OSError as error:  # another process was quicker
        raise StoreError(f"{folder} cannot be made: {error.strerror}") from error


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that is gone in the end; what a killed process left of such is cleared away."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for leftover in folder.parent.glob(f".{folder.name}-*"):
            _clear_unless_held(leftover)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(f"the data folder {folder.parent} cannot be written: {error.strerror}") from error
    held = os.open(draft, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(held)


def _clear_unless_held(leftover: Path) -> None:
    """Who unpacks holds a lock on its draft, which ends with its process, however that ends."""
    with suppress(OSError):  # held by a living process, or a file system without locks: then it stays
        opened = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leftover, ignore_errors=True)
        finally:
            os.close(opened)
