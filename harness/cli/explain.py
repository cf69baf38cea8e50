"""The command `explain`: what a run is, how its numbers came about, and what tells two runs apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.places import DbOption, ResultsOption, places
from harness.cli.studies import JsonOption

if TYPE_CHECKING:
    from harness.store.explained import Explained

_CHANCE = ("began", "ended", "command", "host", "slurm_job", "restarts")
"""What tells two runs apart and says nothing about why their numbers differ."""


def explain(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run id, or its first digits.")],
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="Another run: show what differs.")] = None,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """What is in a run's identity, and how its numbers came about; with two runs, what differs between them.

    A run is looked for among the run folders, then in the database.

    Example: harness explain 3f2a 91c0
    """
    from harness.store.explained import explained

    place = places(context, results, db)
    first = explained(place.results, place.db, run_id)
    second = explained(place.results, place.db, other) if other else None
    if as_json:
        typer.echo(json.dumps(vars(first) if second is None else [vars(first), vars(second)]))
        return
    lines = explained_lines(first) if second is None else compared_lines(without_chance(first), without_chance(second))
    for line in lines:
        typer.echo(line)


def explained_lines(run: Explained) -> Iterator[str]:
    """Identity, how the run stands, provenance, and each attempt."""
    yield f"run {run.run_id}: {run.state}" + (f" ({run.cause}: {run.message})" if run.cause else "")
    yield from section("identity", run.identity)
    yield from section("provenance", flat(run.provenance))
    yield from section("cost", run.cost)
    for attempt in run.attempts:
        steps = f", steps {attempt['first_step']} to {attempt['last_step']}" if attempt["last_step"] is not None else ""
        yield (
            f"attempt {attempt['began']} to {attempt['ended']}: {attempt['cause']}, on {attempt['host']} "
            f"({attempt['device'] or 'device unknown'}, process {attempt['pid']}){steps}"
        )


def compared_lines(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """What differs, both values side by side."""
    for path in sorted({*first, *second}):
        mine, theirs = first.get(path, "-"), second.get(path, "-")
        if mine != theirs:
            yield f"{path:40} {mine}  |  {theirs}"


def without_chance(run: Explained) -> dict[str, Any]:
    """What may be why a run has other numbers than another one."""
    made = {name: value for name, value in run.provenance.items() if name not in _CHANCE}
    return {**run.identity, **{f"provenance.{path}": value for path, value in flat(made).items()}}


def flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Dotted path -> value."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= flat(inner, f"{before}{name}.") if isinstance(inner, Mapping) else {f"{before}{name}": inner}
    return found


def section(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    """A title and a line for each value; nothing where there is none."""
    if values:
        yield f"{title}:"
    for path in sorted(values):
        yield f"  {path:38} {values[path]}"
