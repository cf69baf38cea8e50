"""Archives in which data sets are published, unpacked as if they were hostile: `.tar`, `.tar.gz`, `.tgz` and `.zip`.

Nothing is written outside the target, nothing but plain files and folders is made, no link is made or followed, and
what is written, how many files it is and what the reader takes into memory are bounded.
"""

from __future__ import annotations

import calendar
import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from harness.errors import DataError, HarnessError, StoreError
from harness.images import Progress, silent

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")

CHUNK = 256 * 2**10
LARGEST_READ = 2**20
"""More than this at once is asked for by no header of an honest archive: it would be a very long file name."""


@dataclass(frozen=True)
class Bounds:
    """What an archive may at most hold. Stanford Online Products, the largest known here, is 120,000 files in 3 GB."""

    members: int = 1_000_000
    size: int = 64 * 2**30


BOUNDS = Bounds()


@dataclass(frozen=True)
class Member:
    """One entry of an archive. `kind` is "file", "folder" or, in words, what else it is."""

    name: str
    size: int
    kind: Literal["file", "folder"] | str
    modified: float
    opened: Callable[[], IO[bytes]]


def is_archive(file: Path) -> bool:
    """Whether its name says that it can be unpacked."""
    return file.name.lower().endswith(SUFFIXES)


def md5_of(file: Path) -> str:
    """The MD5 digest by which makers of data sets publish what an archive must be."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(archive: Path, target: Path, progress: Progress = silent, bounds: Bounds = BOUNDS) -> None:
    """Unpack into a folder that exists; files keep the time that the archive says, and macOS's doubles are left out.

    Raises DataError that names the archive and its member when it is damaged, hostile or beyond the bounds, and
    StoreError when the target cannot be written. After an error some files are there: give a folder to throw away.
    """
    members = size = 0
    with readable(archive), archive.open("rb") as raw:
        total = max(1, archive.stat().st_size >> 20)
        for member in (zip_members if archive.name.lower().endswith(".zip") else tar_members)(raw):
            members, size = members + 1, size + max(0, member.size)
            within(bounds, members, size, member, target)
            place = safe_place(member, target)
            if place is not None:
                write(member, place)
            progress(min(raw.tell() >> 20, total), total, f"unpacking {archive.name} (MiB)")
    if members == 0:
        raise DataError(f"{archive}: the archive is empty")


def within(bounds: Bounds, members: int, size: int, member: Member, target: Path) -> None:
    """Refuse an archive that holds too much, before it has been written."""
    if members > bounds.members:
        raise DataError(f"it holds more than {bounds.members:,} files")
    if member.size < 0 or size > bounds.size:
        raise DataError(f"{member.name!r} with {member.size:,} bytes makes it larger than {bounds.size:,} bytes")
    with written(member, target):
        free = shutil.disk_usage(target).free
    if member.size > free:
        raise StoreError(f"{target} has no room for {member.name!r} with {member.size:,} bytes")


def safe_place(member: Member, target: Path) -> Path | None:
    """Where a member goes; None for what is no data. Raises DataError for everything that an honest archive has not."""
    path = PurePosixPath(member.name)
    if member.kind not in ("file", "folder"):
        raise DataError(f"{member.name!r} is a {member.kind}; only files and folders are unpacked")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise DataError(f"{member.name!r} would be written outside of the folder; right would be a relative path")
    if len(member.name) > 1000 or any(len(os.fsencode(part)) > 255 for part in path.parts):
        raise DataError(f"a name of {len(member.name)} characters is too long: {member.name[:60]!r}...")
    if not path.parts or "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store":
        return None
    return target.joinpath(*path.parts)


def write(member: Member, place: Path) -> None:
    """Make the folder or the file; what is there already is never touched."""
    if member.kind == "folder":
        with written(member, place):
            place.mkdir(parents=True, exist_ok=True)
        return
    with written(member, place):
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.open("xb", buffering=0)  # never opens what exists
    with file:
        copy(member, file, place)
    modified = member.modified if 0 <= member.modified < 2**33 else 0.0  # also for nan
    os.utime(place, (int(modified), int(modified)))


def copy(member: Member, file: io.FileIO, place: Path) -> None:
    """The bytes of a member, neither more nor fewer than its header says."""
    copied = 0
    with member.opened() as source:
        while copied <= member.size and (chunk := memoryview(source.read(CHUNK))):
            copied += len(chunk)
            while chunk:
                with written(member, place):
                    chunk = chunk[file.write(chunk) :]
    if copied != member.size:
        raise DataError(f"{member.name!r} does not have the {member.size:,} bytes that its header says")


# .zip -----------------------------------------------------------------------------------------------------------------


def zip_members(raw: IO[bytes]) -> Iterator[Member]:
    """All members of a .zip file."""
    with zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            yield Member(info.filename, info.file_size, zip_kind(info), zip_time(info), partial(archive.open, info))


def zip_kind(info: zipfile.ZipInfo) -> str:
    """What a member is, by the file mode that Unix programs leave in the upper half of its attributes."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "symbolic link" if mode == stat.S_IFLNK else "device or other special file"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"file compressed by method {info.compress_type}, not by deflate"
    return "folder" if info.is_dir() else "file"


def zip_time(info: zipfile.ZipInfo) -> float:
    """The time of change, read as UTC: a digest that rests on it is then the same everywhere."""
    try:
        return calendar.timegm((*info.date_time, 0, 0, 0))
    except ValueError:
        return 0.0


# .tar -----------------------------------------------------------------------------------------------------------------


def tar_members(raw: IO[bytes]) -> Iterator[Member]:
    """All members of a .tar file that may be compressed by gzip; goes on to the end, where a checksum is."""
    compressed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    unzipped: Any = gzip.GzipFile(fileobj=raw) if compressed else raw
    stream: Any = Forward(unzipped)
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=StrictHeader) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would remember every header
            yield Member(info.name, info.size, tar_kind(info), info.mtime, partial(opened_in_tar, archive, info))
    stream.finish()


def tar_kind(info: tarfile.TarInfo) -> str:
    """What a member is."""
    if info.issym() or info.islnk():
        return "symbolic link" if info.issym() else "hard link"
    if info.issparse() or not (info.isreg() or info.isdir()):
        return "device or other special file"
    return "folder" if info.isdir() else "file"


def opened_in_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    """The content of a file, which `extractfile` gives for files alone."""
    return archive.extractfile(info) or io.BytesIO()


class StrictHeader(tarfile.TarInfo):
    """A header that, when damaged, is told from the end of the archive: tarfile takes both for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> StrictHeader:
        """The next header. Raises EOFHeaderError at the end and ReadError for all else that is none."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


class Forward:
    """A stream that goes forward only and in small portions, wherever a header would like to lead the reader."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int) -> bytes:
        """At most so many bytes."""
        if not 0 <= size <= LARGEST_READ:
            raise DataError(f"a header asks for {size:,} bytes at once")
        return self.stream.read(size)

    def tell(self) -> int:
        """Bytes read so far."""
        return self.stream.tell()

    def seek(self, place: int) -> int:
        """Go on to a later place."""
        if place < self.tell():
            raise DataError("a header leads back to an earlier one")
        while self.tell() < place and self.stream.read(min(LARGEST_READ, place - self.tell())):
            pass
        return self.tell()

    def finish(self) -> None:
        """Read the zeros behind the last member, and with them gzip's checksum of everything."""
        for _ in range(64):
            if not self.stream.read(LARGEST_READ):
                return
        raise DataError("behind its last file there are more than 64 MiB")


# What goes wrong ------------------------------------------------------------------------------------------------------


@contextmanager
def readable(archive: Path) -> Iterator[None]:
    """What an archive makes its reader stumble over becomes one DataError that names it."""
    try:
        yield
    except StoreError:
        raise
    except HarnessError as error:
        raise DataError(f"{archive}: the archive is not unpacked: {error}") from error
    except Exception as error:  # the readers of damaged archives raise nearly anything
        raise DataError(f"{archive}: the archive cannot be read ({error or type(error).__name__})") from error


@contextmanager
def written(member: Member, place: Path) -> Iterator[None]:
    """What the operating system refuses is told by what was to be written, apart from errors of reading."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(f"{member.name!r} is there twice, or as a file and as a folder") from error
    except OSError as error:
        raise StoreError(f"{place} cannot be written: {error.strerror}") from error
