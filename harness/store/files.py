"""Files that are there whole or not at all: written aside, then renamed. What the disk refuses becomes a StoreError."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from harness.errors import StoreError

_NOT_WRITABLE = {errno.EROFS, errno.ENOTDIR, errno.EACCES, errno.EPERM}
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def told_as(action: str, path: Path) -> Iterator[None]:
    """Turns an OSError into one sentence: what was tried, on which path, why it failed, what would help."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"cannot {action} {path}: {reason}{_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    if error.errno in _NOT_WRITABLE:
        return "; choose a folder that you may write to with --results"
    if error.errno in _FULL:
        return "; free some space and start again, finished runs are kept"
    return ""


def write_atomically(path: Path, text: str, *, durable: bool = False, replace: bool = True) -> None:
    """Writes `path` whole or not at all; `durable` also survives a power cut.

    With `replace=False` an existing file is left as it is and FileExistsError is raised; of several writers one wins.
    """
    aside = path.with_name(f"{path.name}.tmp-{secrets.token_hex(4)}")
    try:
        with told_as("write", path):
            _write(aside, text, durable)
            if replace:
                os.replace(aside, path)
        if not replace:
            _link(aside, path)
        if durable:
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            aside.unlink()


def _write(path: Path, text: str, durable: bool) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def _link(aside: Path, path: Path) -> None:
    with told_as("write", path):
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        except OSError:
            # Some file systems have no hard links; the check is then not atomic with the rename.
            if not path.exists():
                os.replace(aside, path)
                return
        else:
            return
    raise FileExistsError(f"{path} is there already")


def _sync_folder(folder: Path) -> None:
    # The rename itself lives in the folder. Not every file system lets a folder be synced; the file is safe anyway.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """The folder and its parents; StoreError when it cannot be made."""
    with told_as("make the folder", folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error


def read_file(path: Path, size: int = -1) -> bytes:
    """What is in a file, or its first bytes; OSError for what is none, such as a pipe that nobody writes into."""
    # Opening a pipe would wait for its writer, and a worker, a collector or a report with it.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        return file.read(size)


def read_json(path: Path) -> Any:
    """The JSON value in a file, or None when there is no such file.

    Raises StoreError when it cannot be read or is not JSON (a truncated copy).
    """
    with told_as("read", path):
        try:
            text = read_file(path)
        except FileNotFoundError:
            return None
    return parse_json(text, path)


def parse_json(text: bytes, path: Path) -> Any:
    """The JSON value of a text that was read from `path`; StoreError when it is none, or holds nan or infinity."""
    # Four times as fast as the standard library, which has the last word on what this refuses.
    with suppress(ValueError):
        return from_json(text, allow_inf_nan=False)
    try:
        found = json.loads(text, parse_constant=_no_constant)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair, which no database keeps
        return found
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged (not JSON: {error}); copy it again or delete it") from error


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def utc_now() -> str:
    """Now, such as 2026-11-20T18:15:34.123+00:00."""
    return utc_text(datetime.now(UTC).timestamp())


def seconds_between(begin: str, end: str) -> float:
    """Seconds from one UTC text to another; 0 where the clocks of two hosts disagree, or a text is none."""
    try:
        return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as UTC text with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
