"""Commands about databases of several places: `db merge`, `db bundle`, `db diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.display import message
from harness.cli.places import DbOption, ResultsOption, places, study_name
from harness.cli.report import folder_of
from harness.cli.studies import JsonOption, ProfileOption, studies_from
from harness.errors import StudyError

if TYPE_CHECKING:
    from harness.store.sources import Bundle

PLACE = "database (file or URL), results folder or bundle"
StudyOption = Annotated[str | None, typer.Option("--study", help="Only this study.")]


def merge(
    context: typer.Context,
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help=f"Each a {PLACE}.")],
    study: StudyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """Bring what other places have into the database; doing it twice, or in another order, gives the same.

    Of two results of one run with different numbers the one that was there first stands; each is listed, and the exit
    code is 1. Where a result here gives way, the database is copied first.

    Example: harness db merge cluster/harness.db
    """
    from harness.cli.exchange_text import merged_json, merged_text
    from harness.store.merge import merge as join

    place = places(context, results, db)
    merged = join(place.db, others, study, profile)
    if as_json:
        typer.echo(json.dumps(merged_json(merged)))
    for line in merged_text(merged, place.db):
        message(line)
    if merged.conflicts:
        raise typer.Exit(1)


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help=f"A {PLACE}.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    study: StudyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain why the numbers of two places differ: what is on record of their runs, the likeliest reason first.

    Example: harness db diff results/harness.db their_study.tar.gz --study fair_comparison
    """
    from harness.cli.exchange_text import difference_json, difference_text
    from harness.store.difference import difference

    found = difference(first, second, study, profile)
    if as_json:
        typer.echo(json.dumps(difference_json(found)))
        return
    for line in difference_text(found, first, second):
        typer.echo(line)


def bundle(
    context: typer.Context,
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study of the database, or its file.", autocompletion=studies_from)
    ],
    profile: ProfileOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="(default: STUDY.tar.gz).")] = None,
    evidence: Annotated[bool, typer.Option(help="Pack scores by query and samples of embeddings, too.")] = True,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """Pack a study into one file for others: study file, specs, results, environment, published numbers and report.

    Example: harness db bundle fair_comparison
    """
    from harness.store import database
    from harness.store.bundle import SUFFIX, write_bundle

    place, name = places(context, results, db), study_name(study)
    if out is not None and not out.name.endswith((SUFFIX, ".tgz")):
        raise StudyError(f"--out {out}: right would be a name that ends with {SUFFIX}")
    target = out or Path(folder_of(name, profile) + SUFFIX)
    database.collect(place.db, place.results)
    write_bundle(place.db, place.results, name, profile, target, add=add_report, evidence=evidence)
    message(f"{name} is packed into {target}; `harness report {target}` opens it anywhere")


def add_report(packed: Bundle) -> None:
    """Put the page, and what it compares with, into a bundle."""
    from importlib import resources

    from harness.report import write_report
    from harness.store.frames import Database

    database, folder = Database(packed.url), packed.folder
    write_report(database, packed.study, profile=packed.profile, out=folder / "report", results=folder)
    published = resources.files("harness.report").joinpath("published.csv").read_bytes()
    (folder / "published.csv").write_bytes(published)
