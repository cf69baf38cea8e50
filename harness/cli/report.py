"""The command `report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.display import message
from harness.cli.places import DbOption, ResultsOption, places, study_name
from harness.cli.studies import JsonOption, ProfileOption
from harness.errors import StudyError, did_you_mean
from harness.specs import SELECTIONS


def report(
    context: typer.Context,
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="A study, or a bundle (default: all in the database).")
    ] = None,
    profile: ProfileOption = None,
    selection: Annotated[
        str | None, typer.Option("--selection", help="Epoch of every number: last, best_validation or best_test.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="(default: results/STUDY).")] = None,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """Write the page, figures and tables of a study, from the database alone.

    STUDY may be a bundle (`harness db bundle`); its report is written into a folder of its name, here.

    Example: harness report fair_comparison
    """
    from harness.report import report_json, write_report
    from harness.store.database import collect
    from harness.store.frames import Database
    from harness.store.sources import is_bundle

    if selection is not None and selection not in SELECTIONS:
        raise StudyError(f"--selection {selection}{did_you_mean(selection, SELECTIONS)}")
    place = places(context, results, db)
    if study is not None and is_bundle(study):
        return report_bundle(Path(study), selection, out, as_json)
    collect(place.db, place.results)
    database = Database(place.db)
    for name in [study_name(study)] if study else list(dict.fromkeys(database.studies()["study"])):
        if as_json:
            typer.echo(
                json.dumps(report_json(database, name, profile=profile, selection=selection, results=place.results))
            )
            continue
        page = write_report(
            database,
            name,
            profile=profile,
            selection=selection,
            out=out or place.results / folder_of(name, profile),
            results=place.results,
        )
        message(f"{name}: {page}")


def report_bundle(file: Path, selection: str | None, out: Path | None, as_json: bool) -> None:
    """Write the report of a bundle, or print its numbers; neither results nor a database need be here."""
    from harness.report import report_json, write_report
    from harness.store.frames import Database
    from harness.store.sources import unpacked

    with unpacked(file) as bundle:
        told: dict[str, Any] = {"profile": bundle.profile, "selection": selection, "results": bundle.folder}
        if as_json:
            typer.echo(json.dumps(report_json(Database(bundle.url), bundle.study, **told)))
            return
        folder = out or Path(file.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar"))
        page = write_report(Database(bundle.url), bundle.study, out=folder, **told)
        message(f"{bundle.study}: {page}")


def folder_of(study: str, profile: str | None) -> str:
    """The name of a report's folder: that of the study, and of the profile where there is one."""
    return study if profile is None else f"{study}-{profile}"
