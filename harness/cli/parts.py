"""The command `parts`: what a study can name."""

from __future__ import annotations

import inspect
import json
from typing import Annotated, Any

import typer

from harness.cli.studies import JsonOption
from harness.errors import StudyError, did_you_mean
from harness.registry import REGISTRIES


def kinds_from(incomplete: str) -> list[str]:
    """What the shell may complete a kind of part to."""
    return [kind for kind in REGISTRIES if kind.startswith(incomplete)]


def parts(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="objective, miner, sampler, ...", autocompletion=kinds_from),
    ] = None,
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of the README.")] = False,
) -> None:
    """List the parts a study can name, with their options and defaults; metrics with what each number means.

    Example: harness parts metrics
    """
    singular = kind.removesuffix("s") if kind else None
    if singular is not None and singular not in REGISTRIES:
        raise StudyError(f"{kind!r} is not a kind of part{did_you_mean(singular, REGISTRIES)}")
    rows = [row for name in REGISTRIES if singular in (None, name) for row in rows_of(name)]
    if as_json:
        typer.echo(json.dumps(rows))
    elif markdown:
        typer.echo(markdown_table(rows))
    else:
        for row in rows:
            options = ", ".join(f"{option}={value!r}" for option, value in row["options"].items())
            typer.echo(f"{row['kind']:12} {row['name']:20} {row['summary']}\n{'':33} {options}")
            if row["kind"] == "metric":
                typer.echo("\n".join(explained(row)))


def rows_of(kind: str) -> list[dict[str, Any]]:
    """One row a part: kind, name, options with their defaults, and what it is.

    A family of metrics has its revision and its definitions, too: name of a number -> "formula; source".
    """
    rows: list[dict[str, Any]] = []
    for name in REGISTRIES[kind].names():
        fields = REGISTRIES[kind].schema(name).model_fields
        options = {option: "required" if field.is_required() else field.default for option, field in fields.items()}
        part = REGISTRIES[kind].get(name)
        rows.append({"kind": kind, "name": name, "options": options, "summary": summary(part)})
        if kind == "metric":
            definitions = dict(getattr(part, "definitions", {}))
            rows[-1] |= {"revision": getattr(part, "revision", 1), "definitions": definitions}
    return rows


def explained(row: dict[str, Any]) -> list[str]:
    """The lines below a family of metrics: the revision of its definitions, and each of them."""
    return [f"{'':33} revision {row['revision']}"] + [
        f"{'':33} {name:24} {definition}" for name, definition in row["definitions"].items()
    ]


def summary(part: type) -> str:
    """What a part is: the first line of its file."""
    return (inspect.getdoc(inspect.getmodule(part)) or "").partition("\n")[0]


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """What README.md must contain between its two marks."""
    lines = ["| kind | name | what it is |", "|---|---|---|"]
    lines += [f"| {row['kind']} | `{row['name']}` | {row['summary'].replace('|', chr(92) + '|')} |" for row in rows]
    return "\n".join(lines)
