"""Results wherever they are: a database, a results folder, or a bundle that `harness db bundle` made."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text

from harness.archives import Bounds, is_archive, unpack
from harness.errors import StoreError
from harness.store import schema
from harness.store.engine import engine_for_looking, parse, shown, told_by_database
from harness.store.files import read_json, told_as
from harness.store.rebuild import rebuild
from harness.store.spool import ids_in

FORMAT = 1
MANIFEST, DATABASE = "bundle.json", "harness.db"
BOUNDS = Bounds(members=2_000_000, size=64 * 2**30)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was unpacked into a folder, which is also a results folder."""

    folder: Path
    study: str
    profile: str | None

    @property
    def url(self) -> str:
        """Its database."""
        return f"sqlite:///{self.folder / DATABASE}"


def is_bundle(place: str | Path) -> bool:
    """Whether something may be a bundle, by its name."""
    return "://" not in str(place) and is_archive(Path(place))


def name_of(place: str | Path) -> str:
    """How a place is named in messages: as it was given, but without a password."""
    return shown(parse(place)) if "://" in str(place) else str(place)


def parts_of(place: str | Path) -> list[str | Path]:
    """Where the results of a place are: of a results folder in its run folders, and in its database.

    Either may lack what the other has: results that were merged have no run folder there, new ones are not collected.
    """
    database = Path(place, DATABASE)
    both = "://" not in str(place) and database.is_file() and not _only_database(place)
    return [place, database] if both else [place]


def _only_database(place: str | Path) -> bool:
    return "://" not in str(place) and Path(place, DATABASE).is_file() and not any(ids_in(place))


@contextmanager
def opened(place: str | Path) -> Iterator[str]:
    """The URL of a database with what is in a database, a results folder or a bundle; there as long as it is open.

    Raises StoreError or DataError that names the place where it is none of them, or is damaged.
    """
    if is_bundle(place):
        with unpacked(Path(place)) as bundle:
            yield bundle.url
    elif _only_database(place):
        yield str(Path(place, DATABASE))
    elif "://" not in str(place) and Path(place).is_dir():
        with tempfile.TemporaryDirectory(prefix="harness-results-") as aside:
            url = f"sqlite:///{aside}/{DATABASE}"
            rebuild(url, place)
            yield url
    else:
        yield str(place)


@contextmanager
def unpacked(archive: Path) -> Iterator[Bundle]:
    """A bundle in a folder of its own, which is gone afterwards.

    Raises StoreError where there is none, DataError where it is damaged or hostile.
    """
    if not archive.is_file():
        raise StoreError(f"there is no bundle {archive}; `harness db bundle STUDY` makes one")
    with tempfile.TemporaryDirectory(prefix="harness-bundle-") as aside:
        folder = Path(aside)
        unpack(archive, folder, bounds=BOUNDS)
        about = _manifest(folder / MANIFEST, archive)
        _check_files(folder, about, archive)
        bundle = Bundle(folder, str(about["study"]), about["profile"])
        _check_database(bundle, archive)
        yield bundle


def _manifest(path: Path, archive: Path) -> dict[str, Any]:
    with told_as("read", archive):
        found = read_json(path)
    right = isinstance(found, dict) and isinstance(found.get("study"), str) and "profile" in found
    if not right or not isinstance(found["profile"], str | None):
        raise StoreError(f"{archive} is not a bundle of a study; `harness db bundle STUDY` makes one")
    if found.get("format") != FORMAT:
        raise StoreError(f"{archive} has format {found.get('format')!r}; this version of harness reads format {FORMAT}")
    return dict(found)


def _check_files(folder: Path, about: dict[str, Any], archive: Path) -> None:
    digests = about.get("sha256")
    names = digests if isinstance(digests, dict) else {}
    if DATABASE not in names:
        raise StoreError(f"{archive} is not a whole bundle: it does not name its {DATABASE}")
    for name, digest in names.items():
        path = folder / name
        inside = path.resolve().is_relative_to(folder.resolve())
        with told_as("read", archive):
            found = sha256_of(path) if inside and path.is_file() else None
        if found != digest:
            raise StoreError(f"{archive} is not opened: {name} in it is not what was packed; was it edited?")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_database(bundle: Bundle, archive: Path) -> None:
    """Refuses a database that would do more than hold rows: it is somebody else's, and reading a view runs its SQL."""
    with told_by_database(bundle.url), engine_for_looking(bundle.url).connect() as connection:
        views = set(inspect(connection).get_view_names())
        triggers = connection.execute(text("select count(*) from sqlite_master where type = 'trigger'")).scalar()
        disguised = views & set(schema.metadata.tables)
        damage = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    if triggers or disguised or damage != "ok":
        raise StoreError(
            f"{archive} is not opened: its database {'is damaged' if damage != 'ok' else 'holds programs'}"
        )
