"""A study on the command line: the options that name and change one, and the commands that only read."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.display import message
from harness.cli.places import DataOption, places
from harness.errors import StudyError

if TYPE_CHECKING:
    from harness.study import Study


def studies_from(incomplete: str) -> list[str]:
    """What the shell may complete a study to: the names in the folder of studies, or the files of a path."""
    if "/" in incomplete or incomplete.endswith((".yaml", ".yml")):
        return sorted(str(file) for file in Path().glob(f"{glob.escape(incomplete)}*") if is_study(file))
    return sorted(file.stem for file in Path("studies").glob(f"{glob.escape(incomplete)}*.yaml"))


def is_study(file: Path) -> bool:
    """Whether a file looks like a study, or a folder may hold some."""
    return file.is_dir() or file.suffix in (".yaml", ".yml")


StudyArgument = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="Path of a study file, or a name in studies/.", autocompletion=studies_from),
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", metavar="P", help="A profile of the study, such as paper.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a value of every run, such as training.epochs=2."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATH=VALUE", help="Keep only runs that match, such as objective=margin."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


def assignments(given: list[str] | None, option: str) -> dict[str, str]:
    """`["a.b=1"]` -> `{"a.b": "1"}`."""
    pairs = {}
    for text in given or []:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise StudyError(f"{option} {text}: right would be PATH=VALUE, such as {option} training.epochs=2")
        pairs[path.strip()] = value.strip()
    return pairs


def load(study: str, profile: str | None, settings: list[str] | None, only: list[str] | None, data: Path) -> Study:
    """Read a study as the command line asks."""
    from harness.study import Study

    said = {"overrides": assignments(settings, "--set"), "only": assignments(only, "--only")}
    return Study.load(study, profile=profile, **said, data=data)


def load_chosen(
    study: str, profile: str | None, settings: list[str] | None, only: list[str] | None, data: Path, results: Path
) -> Study:
    """The same; one that is tuned with what was chosen. Raises StudyError where it was not tuned yet."""
    loaded = load(study, profile, settings, only, data)
    if loaded.tune is None:
        return loaded
    from harness.tuning import read_choices, with_choices

    return with_choices(loaded, read_choices(loaded, results), results)


def check(
    context: typer.Context,
    study: StudyArgument,
    profile: ProfileOption = None,
    settings: SetOption = None,
    only: OnlyOption = None,
    data: DataOption = None,
) -> None:
    """Read a study, under every profile unless one is named, and find every mistake in it; start nothing.

    Example: harness check studies/fair_comparison.yaml --set training.epochs=2
    """
    folder = places(context, data=data).data
    for loaded in every_profile(study, profile, settings, only, folder):
        under = f" --profile {loaded.profile}" if loaded.profile and not profile else ""
        message(f"{loaded.name}{under}: {len(loaded.runs())} runs, no mistakes")


def every_profile(
    study: str, profile: str | None, settings: list[str] | None, only: list[str] | None, data: Path
) -> Iterator[Study]:
    """A study, and where no profile is named, then the same under each of its profiles."""
    first = load(study, profile, settings, only, data)
    yield first
    for other in first.profiles if profile is None else ():
        yield load(study, other, settings, only, data)
