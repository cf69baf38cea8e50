"""Commands about the database: `db collect`, `rebuild`, `export`, `upgrade`, and those of `exchange`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.display import message
from harness.cli.exchange import bundle, diff, merge
from harness.cli.places import DbOption, ResultsOption, places
from harness.errors import StudyError

app = typer.Typer(
    no_args_is_help=True, help="The results database.", context_settings={"help_option_names": ["-h", "--help"]}
)


for command in (merge, diff, bundle):
    app.command()(command)


@app.command()
def collect(context: typer.Context, results: ResultsOption = None, db: DbOption = None) -> None:
    """Read new results from the run folders into the database; doing it twice changes nothing.

    Example: harness db collect --results /shared/results
    """
    from harness.store import database

    place = places(context, results, db)
    message(f"{database.collect(place.db, place.results)} results collected into {place.db}")


@app.command()
def rebuild(context: typer.Context, results: ResultsOption = None, db: DbOption = None) -> None:
    """Make the database again from the run folders and the records of studies beside the reports.

    Example: harness db rebuild --results results
    """
    from harness.store.rebuild import rebuild as make_again

    place = places(context, results, db)
    made = make_again(place.db, place.results)
    message(f"{made.results} results in {place.db}")
    if made.lost:
        message(f"{made.lost} results have no run folder in {place.results}; they are only in the copy of the database")


@app.command()
def export(
    context: typer.Context,
    table: Annotated[str, typer.Option("--table", help="Which table to export.")] = "measurements",
    form: Annotated[str, typer.Option("--format", help="csv, json or parquet.")] = "csv",
    study: Annotated[str | None, typer.Option("--study", help="Only this study.")] = None,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """Print a table to stdout.

    Example: harness db export --table curves --format parquet > curves.parquet
    """
    from harness.store import database

    place = places(context, results, db)
    if form == "parquet" and sys.stdout.isatty():
        raise StudyError("parquet is nothing for a terminal; write it to a file: harness db export ... > table.parquet")
    database.export(place.db, table, form, sys.stdout.buffer if form == "parquet" else sys.stdout, study=study)


@app.command()
def upgrade(context: typer.Context, results: ResultsOption = None, db: DbOption = None) -> None:
    """Bring an older database to this version's tables, after a copy; every other command does so, too, when it must.

    Example: harness db upgrade --db sqlite:///results/harness.db
    """
    from harness.store.engine import open_engine, told_by_database
    from harness.store.inspection import inspect_database
    from harness.store.schema import VERSION

    place = places(context, results, db)
    found = inspect_database(place.db).version
    with told_by_database(place.db):
        engine = open_engine(place.db, write=False)
    if found in (0, VERSION):
        message(f"{place.db}: the tables are of version {VERSION}")
        return
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    copy = f"; a copy of the old ones lies beside it: {file}.before-version-{found}-..." if file else ""
    message(f"{place.db}: the tables were brought from version {found} to {VERSION}{copy}")
