"""The command `prepare`: a data set from its official archives or a download to its image bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.display import Display, message
from harness.cli.places import DataOption, ResultsOption, places
from harness.cli.studies import SetOption, assignments


def datasets_from(incomplete: str) -> list[str]:
    """What the shell may complete a data set to."""
    from harness.registry import DATASETS

    return [name for name in DATASETS.names() if name.startswith(incomplete)]


def prepare(
    context: typer.Context,
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="glyphs, cub200, pack, ...", autocompletion=datasets_from)
    ],
    archives: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="An official archive to unpack first; may be given repeatedly."),
    ] = None,
    settings: SetOption = None,
    results: ResultsOption = None,
    data: DataOption = None,
) -> None:
    """Build the image bank of a data set before any study needs it; with --from, unpack its archives before.

    Example: harness prepare cub200 --from CUB_200_2011.tgz --data ~/datasets
    """
    from harness.registry import DATASETS
    from harness.training.acquire import download_if_missing, unpack_dataset
    from harness.training.data import prepare_bank

    place = places(context, results, None, data)
    choice = DATASETS.check(dataset, values(assignments(settings, "--set")))
    with Display(dataset) as display:
        folder = (
            unpack_dataset(choice, archives, place.data, display.prepare, message)
            if archives
            else download_if_missing(choice, place.data, display.prepare, message)
        )
        bank = prepare_bank(choice, place.data, place.results / "cache", display.prepare)
    if folder is not None:
        message(f"{dataset}: unpacked in {folder}")
    message(f"{dataset}: {len(bank)} images of {len(bank.class_names)} classes in {place.results / 'cache'}")


def values(given: dict[str, str]) -> dict[str, Any]:
    """What `--set` says, read as YAML."""
    from harness.study.layers import read_value
    from harness.study.mistakes import Mistakes, Origin, Place

    mistakes = Mistakes("--set")
    nodes = {name: read_value(text, Place(Origin(f"--set {name}={text}")), mistakes) for name, text in given.items()}
    mistakes.raise_if_any()
    return {name: node.plain() for name, node in nodes.items()}
