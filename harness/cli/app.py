"""All commands in one application, and the options that may stand before a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness import __version__
from harness.cli import database
from harness.cli.doctor import doctor
from harness.cli.explain import explain
from harness.cli.measure import measure
from harness.cli.parts import parts
from harness.cli.places import DATA_HELP, DB_HELP, RESULTS_HELP, Before
from harness.cli.plan import plan
from harness.cli.prepare import prepare
from harness.cli.report import report
from harness.cli.runs import cancel, run, work
from harness.cli.status import retry, status
from harness.cli.studies import check
from harness.cli.tune import tune, unseal
from harness.cli.verify import verify_resume

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark studies of deep metric learning: one study file, one protocol, one results database.",
    epilog="Exit codes: 0 done, 1 some runs failed, 2 usage or study error, 3 the environment lacks something, "
    "130 interrupted (everything finished is kept).",
)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", envvar="HARNESS_RESULTS", help=RESULTS_HELP)
    ] = None,
    db: Annotated[str | None, typer.Option("--db", metavar="URL", envvar="HARNESS_DB", help=DB_HELP)] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", envvar="HARNESS_DATA", help=DATA_HELP)] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep what stands before the command for the command."""
    context.obj = Before(results, db, data)


for command in (
    *(run, plan, report, check, status, cancel, retry, explain, measure, parts, prepare, doctor),
    *(tune, unseal, verify_resume, work),
):
    app.command()(command)
app.add_typer(database.app, name="db")
