"""Where results, database and data lie: the options that every command understands, before or after its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

RESULTS_HELP = "Folder of runs, reports and the database (default: results)."
DB_HELP = "Results database: an SQLAlchemy URL or an SQLite file (default: harness.db in the results folder)."
DATA_HELP = "Folder that holds the data sets (default: data)."

ResultsOption = Annotated[Path | None, typer.Option("--results", metavar="DIR", help=RESULTS_HELP)]
DbOption = Annotated[str | None, typer.Option("--db", metavar="URL", help=DB_HELP)]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help=DATA_HELP)]


@dataclass(frozen=True)
class Places:
    """Three places, resolved: command line over environment over default."""

    results: Path
    db: str
    data: Path


def places(
    context: typer.Context, results: Path | None = None, db: str | None = None, data: Path | None = None
) -> Places:
    """What this command was told, else what stood before the command's name, else the environment, else the default."""
    before: Before = context.find_object(Before) or Before()
    folder = results or before.results or Path("results")
    url = db or before.db
    return Places(
        folder, database_url(url) if url else f"sqlite:///{folder / 'harness.db'}", data or before.data or Path("data")
    )


@dataclass(frozen=True)
class Before:
    """The options that stood before the name of the command, or in the environment."""

    results: Path | None = None
    db: str | None = None
    data: Path | None = None


def study_name(study: str) -> str:
    """The name of a study that is given by its name or by the path of its file. Raises StudyError for a bad file."""
    path = Path(study)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        return study
    from harness.study.mistakes import Mistakes
    from harness.study.source import read_mapping

    mistakes = Mistakes(study)
    root = read_mapping(path, mistakes, "study", "`name:`")
    name = root.value.get("name") if root else None
    mistakes.raise_if_any()
    return str(name.value) if name else path.stem


def database_url(text: str) -> str:
    """An SQLAlchemy URL as it is; a path as the URL of an SQLite file."""
    return text if "://" in text else f"sqlite:///{text}"
