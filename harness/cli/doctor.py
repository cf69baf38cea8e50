"""The command `doctor`: what on this machine would stop or slow a study, and the remedy."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.display import message
from harness.cli.places import DataOption, DbOption, ResultsOption, places
from harness.cli.studies import JsonOption

if TYPE_CHECKING:
    from harness.doctor.examine import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    context: typer.Context,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
    data: DataOption = None,
) -> None:
    """Look over this machine: software, GPUs, folders, database, SLURM; what is wrong, and what would help.

    Each line is ok, a warning (studies run, but slower or with less) or a problem (studies would fail). The exit code
    is 3 if there is a problem. Nothing is changed.

    Example: harness doctor --data ~/datasets --json
    """
    from harness.doctor.checks import CHECKS
    from harness.doctor.examine import examine
    from harness.doctor.verdict import Where

    place = places(context, results, db, data)
    where = Where(place.results, place.data, place.db, data_named=place.data != Path("data"))
    show = silent if as_json else teller()
    findings = []
    with closing(examine(where, CHECKS)) as found:
        for finding in found:
            show(finding)
            findings.append(finding)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    message(summary(findings))
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(3)


def silent(finding: Finding) -> None:
    """Show nothing until all is known."""


def teller() -> Callable[[Finding], None]:
    """What shows a finding: in colors and wrapped in a terminal, as one plain line elsewhere."""
    if not sys.stdout.isatty():
        return lambda finding: typer.echo(line(finding))
    from rich.console import Console

    console = Console()

    def show(finding: Finding) -> None:
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 2))
        row.add_column(width=7, no_wrap=True)
        row.add_column(width=16, no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row(Text(finding.state, STYLES[finding.state]), finding.check, Text(finding.found))
        if finding.remedy:
            row.add_row("", "", Text(f"-> {finding.remedy}", STYLES[finding.state]))
        console.print(row)

    return show


def line(finding: Finding) -> str:
    """A finding as one line: state, check, what was found, and the remedy after an arrow."""
    remedy = f"  -> {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:7}  {finding.check:16}  {finding.found}{remedy}"


def summary(findings: list[Finding]) -> str:
    """How many findings of each kind."""
    counts = {state: sum(finding.state == state for finding in findings) for state in STYLES}
    return (
        f"{len(findings)} checks: {counts['ok']} ok, {counts['warning']} warning{'s' * (counts['warning'] != 1)}, "
        f"{counts['problem']} problem{'s' * (counts['problem'] != 1)}"
    )
