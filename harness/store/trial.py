"""Trying whether a folder can do what run folders need: files that appear whole, and locks that one process gets."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.store.files import told_as, write_atomically

_OTHER_FOLDER = "put the results on a local disk, or on NFS, Lustre or another file system that keeps to POSIX"


@dataclass(frozen=True)
class Trial:
    """What a folder can do beyond the necessary."""

    sync_s: float  # how long a file of 64 KiB takes to be safe
    links: bool  # hard links, by which one of two writers wins
    skew_s: float  # by how much the file system's clock is ahead of this machine's


def try_folder(folder: Path) -> Trial:
    """Writes, syncs, renames, locks and removes files of its own in a folder.

    Raises StoreError, which says what does not work and what would help.
    """
    with (
        told_as("write to", folder),
        tempfile.TemporaryDirectory(prefix=".trial-", dir=folder, ignore_cleanup_errors=True) as own,
    ):
        aside = Path(own)
        sync_s = _try_sync(aside / "synced")
        _try_rename(aside / "renamed")
        _try_exclusive(aside)
        return Trial(sync_s, _try_link(aside), clock_skew(aside))


def clock_skew(folder: Path) -> float:
    """Seconds by which the clock that stamps files of the folder is ahead of this machine's; 0 where none is seen."""
    before = time.time()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"?")
        file.flush()
        os.fsync(file.fileno())  # over a network the server's clock is asked only now
        stamped = os.fstat(file.fileno()).st_mtime
    after = time.time()
    return stamped - before if stamped < before else max(0.0, stamped - after)


def _try_sync(path: Path) -> float:
    content = "x" * (64 << 10)
    begun = time.perf_counter()
    write_atomically(path, content, durable=True)
    seconds = time.perf_counter() - begun
    if path.read_text() != content:
        raise StoreError(f"{path.parent.parent} gives back other bytes than were written; {_OTHER_FOLDER}")
    return seconds


def _try_rename(path: Path, times: int = 20) -> None:
    """A reader must find the old file or the new one, at any moment, and never none or a part."""
    versions = {f"{number}" * 2000 for number in range(times)}
    write_atomically(path, "0" * 2000)
    wrong: list[str] = []
    finished = threading.Event()

    def read() -> None:
        while not finished.is_set() and not wrong:
            try:
                if path.read_text() not in versions:
                    wrong.append("a half-written file")
            except OSError as error:
                wrong.append(error.strerror or str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for number in range(times):
            write_atomically(path, f"{number}" * 2000)
    finally:
        finished.set()
        reader.join()
    if wrong:
        raise StoreError(f"renaming in {path.parent.parent} is not atomic, a reader saw: {wrong[0]}; {_OTHER_FOLDER}")


def _try_exclusive(folder: Path, rounds: int = 10, takers: int = 4) -> None:
    with ThreadPoolExecutor(takers) as pool:
        for number in range(rounds):
            winners = sum(pool.map(_create, [folder / f"lock-{number}"] * takers))
            if winners != 1:
                raise StoreError(
                    f"of {takers} who created the same file in {folder.parent} exclusively, {winners} were told that "
                    f"they did, so a run could be trained twice; {_OTHER_FOLDER}"
                )


def _create(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    return True


def _try_link(folder: Path) -> bool:
    source, target = folder / "linked", folder / "link"
    source.touch()
    try:
        os.link(source, target)
    except OSError:
        return False
    return target.exists()
