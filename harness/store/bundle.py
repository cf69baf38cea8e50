"""A study as one file for others: `harness report BUNDLE` opens it anywhere, and `harness db merge BUNDLE` takes it in.

    bundle.json           what this is, and the SHA-256 of every other file
    README.txt            what to do with it
    study.yaml            the study file as it was launched
    harness.db            everything that the database has of the study
    runs/                 the spec, the result, the attempts and the evidence of each run, as workers wrote them
    <study>/study.json    which runs the study has; with runs/ enough to make harness.db again
    environment.json      code, libraries and machines behind the results, and how many runs each stands behind
    requirements.txt      the libraries of most runs, to be installed
    report/, published.csv  the page, and the published numbers that it compares with

Unpacked it is a results folder.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import select

from harness import __version__
from harness.errors import StudyError, did_you_mean
from harness.specs import canonical_json
from harness.store import schema
from harness.store.engine import open_engine, told_by_database
from harness.store.files import make_folder, told_as
from harness.store.merge import merge
from harness.store.sources import DATABASE, FORMAT, MANIFEST, Bundle, sha256_of
from harness.store.spool import run_path
from harness.store.study_records import keep_study, read_record, record_path

SUFFIX = ".tar.gz"
EVIDENCE = "evidence.npz"
_OF_A_RUN = ("spec.json", "result.json", "attempts/*.json")
_OF_A_MACHINE = ("version", "commit", "dirty", "parts", "python", "system", "cpu", "device", "driver", "libraries")


def write_bundle(
    url: str | Path,
    results_dir: Path | str,
    study: str,
    profile: str | None,
    target: Path,
    *,
    add: Callable[[Bundle], None] = lambda bundle: None,
    evidence: bool = True,
) -> Bundle:
    """Packs a study into `target`, a .tar.gz file, which is there whole or not at all.

    `add` puts what is made from the results (the report) into the bundle's folder. Without `evidence` the bundle is
    smaller, and its report has no intervals over test classes. Raises StudyError where the database does not know the
    study, StoreError where something cannot be read or written. The bundle that is returned has been packed: its
    folder is gone.
    """
    found = find_profile(url, study, profile)
    with told_as("write", target), tempfile.TemporaryDirectory(prefix="harness-bundle-") as aside:
        bundle = Bundle(Path(aside), study, found or None)
        merge(bundle.url, [url], study, found)
        _copy_runs(bundle, Path(results_dir), evidence)
        _copy_study(bundle, Path(results_dir))
        _write_environment(bundle)
        add(bundle)
        _close(bundle.folder / DATABASE)
        (bundle.folder / "README.txt").write_text(_README.format(study=study, version=__version__), encoding="utf-8")
        _write_manifest(bundle)
        make_folder(target.absolute().parent)
        _pack(bundle.folder, target)
    return bundle


def find_profile(url: str | Path, study: str, profile: str | None) -> str:
    """The profile that is meant, empty for none: without a name the plain study, else what was launched last."""
    table = schema.studies
    with told_by_database(url), open_engine(url, write=False).connect() as connection:
        known = connection.execute(select(table.c.study, table.c.profile).order_by(table.c.recorded)).all()
    profiles = [row.profile for row in known if row.study == study]
    if not profiles:
        raise StudyError(f"the database has no study {study!r}{did_you_mean(study, {row.study for row in known})}")
    if profile is not None and profile not in profiles:
        raise StudyError(f"the database has no profile {profile!r} of study {study!r}")
    return profile or ("" if "" in profiles else str(profiles[-1]))


def _copy_runs(bundle: Bundle, results_dir: Path, evidence: bool) -> None:
    """What workers wrote, of the runs that have a folder here; the database has the numbers of all."""
    with open_engine(bundle.url, write=False).connect() as connection:
        ids = list(connection.execute(select(schema.runs.c.run_id)).scalars())
    for run_id in ids:
        source, target = run_path(results_dir, run_id), run_path(bundle.folder, run_id)
        for pattern in (*_OF_A_RUN, EVIDENCE) if evidence else _OF_A_RUN:
            for file in sorted(source.glob(pattern)):
                if file.is_file() and not file.is_symlink():
                    place = target / file.relative_to(source)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, place)


def _copy_study(bundle: Bundle, results_dir: Path) -> None:
    kept = read_record(record_path(results_dir, bundle.study, bundle.profile))
    text = kept["file"] if kept else None
    if text is not None:
        (bundle.folder / "study.yaml").write_text(text, encoding="utf-8")
    keep_study(bundle.url, bundle.folder, bundle.study, bundle.profile, text)


def _write_environment(bundle: Bundle) -> None:
    with open_engine(bundle.url, write=False).connect() as connection:
        query = select(schema.runs.c.provenance).where(schema.runs.c.state == "done").order_by(schema.runs.c.run_id)
        found = list(connection.execute(query).scalars())
    counts = Counter(canonical_json({name: made[name] for name in _OF_A_MACHINE if made.get(name)}) for made in found)
    environments: list[dict[str, Any]] = [
        {"runs": count, **json.loads(text)} for text, count in sorted(counts.items(), key=lambda item: (-item[1], item))
    ]
    (bundle.folder / "environment.json").write_text(json.dumps(environments, indent=1) + "\n", encoding="utf-8")
    libraries = environments[0].get("libraries", {}) if environments else {}
    # A local build, such as 2.6.0+cpu, is not what an index has under that name.
    lines = [f"{name}=={version.partition('+')[0]}\n" for name, version in sorted(libraries.items())]
    (bundle.folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")


def _close(database: Path) -> None:
    """Makes the database one file that can be read where nothing can be written."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")


def _write_manifest(bundle: Bundle) -> None:
    digests = {name: sha256_of(path) for name, path in _files(bundle.folder)}
    about = {"format": FORMAT, "study": bundle.study, "profile": bundle.profile, "harness": __version__}
    (bundle.folder / MANIFEST).write_text(json.dumps({**about, "sha256": digests}, indent=1) + "\n", encoding="utf-8")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _pack(folder: Path, target: Path) -> None:
    """The files in the order of their names, without times and owners: equal content makes an equal archive."""
    aside = target.with_name(f".{target.name}.tmp")
    try:
        with (
            aside.open("wb") as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            # The manifest first: whoever looks into the archive sees at once what it is.
            for name, path in sorted(_files(folder), key=lambda item: (item[0] != MANIFEST, item[0])):
                info = tarfile.TarInfo(name)
                info.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(info, file)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)


_README = """\
The study "{study}", packed by harness {version}.

Open report/index.html in a browser to read it. With harness installed:

  harness report FILE.tar.gz        makes the report again from the results, with today's analyses
  harness db merge FILE.tar.gz      brings the results into your own database
  harness db diff FILE.tar.gz X     explains why the numbers of another database differ

requirements.txt pins the libraries behind most of the results, environment.json tells all of them; harness.db opens
in sqlite3 and Datasette.
"""
