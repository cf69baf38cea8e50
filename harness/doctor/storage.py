"""Checks of what is kept: the results folder and its file system, the database, the data sets."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from harness.doctor.verdict import GIB, Verdict, Where, gib, ok, problem, warning
from harness.errors import DataError
from harness.store.engine import parse
from harness.store.files import told_as
from harness.store.filesystem import filesystem_of, is_network
from harness.store.inspection import DatabaseState, inspect_database
from harness.store.trial import clock_skew, try_folder

SLOW_SYNC_S = 1.0
SKEW_S = 2.0
LEAST_DISK = GIB
ENOUGH_DISK = 10 * GIB
LEAST_FILES = 10_000

PASSING = {"tmpfs", "ramfs"}
"""File systems that live in memory."""

EMBEDDED = ("glyphs", "toy_lines")
"""Data sets that come with the harness and need no folder."""


def results(where: Where) -> Verdict:
    """Whether the results folder does what run folders need, by trying it."""
    folder = nearest(where.results)
    trial = try_folder(folder)
    place = str(folder) if folder == where.results else f"{where.results} can be made in {folder.absolute()}, which"
    if not trial.links:
        return warning(
            f"{place} can be written, but has no hard links, by which one of two writers wins",
            "use a file system with hard links where several workers share the folder",
        )
    if trial.sync_s > SLOW_SYNC_S:
        return warning(
            f"{place} can be written, but it takes {trial.sync_s:.1f} s until 64 KiB are safe",
            "choose a faster folder by --results if runs are shorter than a minute",
        )
    return ok(f"{place} can be written; rename is atomic, O_EXCL exclusive, fsync takes {1000 * trial.sync_s:.0f} ms")


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((place for place in (folder, *folder.absolute().parents) if os.path.lexists(place)), Path("/"))


def file_system(where: Where) -> Verdict:
    """What kind of file system holds the results."""
    kind = filesystem_of(where.results)
    if kind in PASSING:
        return warning(f"{kind}: results lie in memory and end with it", "choose a folder on a disk by --results")
    if not is_network(kind):
        return ok(f"{kind}, local")
    told = f"{kind}, a network file system: workers of several hosts may share the results"
    url = parse(where.db)
    if url.get_backend_name() != "sqlite" or not is_network(filesystem_of(Path(url.database or "").parent)):
        return ok(f"{told}; the database lies elsewhere")
    return warning(
        f"{told}, but the database does not belong on it",
        "keep the database on a local disk of the host that collects, or in PostgreSQL, by --db or HARNESS_DB",
    )


def clock(where: Where) -> Verdict:
    """Whether the file system's clock and this machine's agree."""
    folder = nearest(where.results)
    with told_as("ask the clock of", folder):
        skew = clock_skew(folder)
    if abs(skew) > SKEW_S:
        return warning(
            f"the file system of the results is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine; "
            "leases go by the file system alone and stay safe, times of runs will look wrong",
            "let NTP set the clocks of this machine and of the file server",
        )
    return ok(f"the file system of the results and this machine agree to {max(abs(skew), 0.1):.1f} s")


def disk(where: Where) -> Verdict:
    """How much room the results have, in bytes and in files."""
    folder = nearest(where.results)
    free, files = shutil.disk_usage(folder).free, os.statvfs(folder)
    told = f"{gib(free)} free for results"
    remedy = "free some space, or choose another folder by --results; `harness run` goes on where it was"
    if free < LEAST_DISK:
        return problem(told, remedy)
    if files.f_files and files.f_favail < LEAST_FILES:
        return warning(f"{told}, but room for only {files.f_favail} more files", remedy)
    if free < ENOUGH_DISK:
        return warning(f"{told}; the images of Stanford Online Products alone need 22 GiB", remedy)
    return ok(told)


def database(where: Where) -> Verdict:
    """Whether the database opens, in which mode and version; none is made."""
    state = inspect_database(where.db)
    if not state.exists:
        return ok(f"{state.name} is not there yet; `harness run` makes it")
    told = described(state)
    if not state.writable:
        return warning(f"{told}; it can be read, but not written", "ask for the right to write, or use another by --db")
    if state.journal == "wal" and is_network(state.filesystem):
        return warning(
            f"{told}; its write-ahead log does not work on {state.filesystem}, which is a network file system",
            "move it to a local disk or to PostgreSQL, by --db or HARNESS_DB",
        )
    return ok(told)


def described(state: DatabaseState) -> str:
    """A database in a few words."""
    journal = f", journal {state.journal}" if state.journal else ""
    tables = f"tables of version {state.version}, {state.runs} runs" if state.version else "no tables yet"
    return f"{state.name}: {state.kind} {state.server}{journal}, {tables}"


# Data sets -----------------------------------------------------------------------------------------------------------


def data(where: Where) -> Verdict:
    """Whether the data folder can be read, and which data sets are in it."""
    if not where.data.is_dir():
        found = f"{where.data.absolute()} is not a folder; only {' and '.join(EMBEDDED)}, which need none, can be used"
        remedy = "make it and put the data sets into it, or name another by --data or HARNESS_DATA"
        return (problem if where.data_named else warning)(found, remedy)
    names = sorted(entry.name for entry in where.data.iterdir())
    there, damaged = known_sets(where.data)
    packs = [name for name in names if is_pack(where.data / name)]
    told = f"{where.data.absolute()} holds {', '.join([*there, *(f'the pack {name}' for name in packs)]) or 'none'}"
    if damaged:
        return warning(f"{told}; {damaged[0]}", "put in place what is missing, or fetch the data set again")
    return ok(f"{told}; {' and '.join(EMBEDDED)} need no data")


def known_sets(folder: Path) -> tuple[list[str], list[str]]:
    """The built-in data sets that are there, with their numbers of images, and what is wrong with others."""
    from harness.registry import DATASETS

    there, damaged = [], []
    for name in DATASETS.names():
        if name in EMBEDDED or any(field.is_required() for field in DATASETS.schema(name).model_fields.values()):
            continue
        try:
            source = DATASETS.build(DATASETS.check(name), data_root=folder).source()
            there.append(f"{name} ({len(source):,} images)")
        except DataError as error:
            # A data set that is not there at all is no mistake; `find_in` says it in these words.
            if "in the data folder" not in str(error):
                damaged.append(str(error))
    return there, damaged


def is_pack(file: Path) -> bool:
    """Whether a file is a data set of the kind `pack`, by the names of what is in it."""
    wanted = {".npz": {"images.npy", "labels.npy"}, ".zip": {"labels.csv"}}.get(file.suffix.lower())
    if wanted is None or not file.is_file():
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return wanted <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False
