"""Commands about the database: `db collect`, `db rebuild`, `db export`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.display import message
from harness.cli.places import DbOption, ResultsOption, places

app = typer.Typer(
    no_args_is_help=True, help="The results database.", context_settings={"help_option_names": ["-h", "--help"]}
)


@app.command()
def collect(context: typer.Context, results: ResultsOption = None, db: DbOption = None) -> None:
    """Read new results from the run folders into the database; doing it twice changes nothing."""
    from harness.store import database

    place = places(context, results, db)
    message(f"{database.collect(place.db, place.results)} results collected into {place.db}")


@app.command()
def rebuild(context: typer.Context, results: ResultsOption = None, db: DbOption = None) -> None:
    """Make the database again from the run folders."""
    from harness.store import database

    place = places(context, results, db)
    message(f"{database.rebuild(place.db, place.results)} results in {place.db}")


@app.command()
def export(
    context: typer.Context,
    table: Annotated[str, typer.Option("--table", help="Which table to export.")] = "measurements",
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    study: Annotated[str | None, typer.Option("--study", help="Only this study.")] = None,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """Print a table to stdout.

    Example: harness db export --table measurements --format csv > measurements.csv
    """
    from harness.store import database

    place = places(context, results, db)
    database.export(place.db, table, form, sys.stdout, study=study)
