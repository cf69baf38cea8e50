"""The command `verify-resume`: whether a run of a study survives being killed, bit for bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.display import Display, message
from harness.cli.machines import this_machine
from harness.cli.places import DataOption, ResultsOption, places
from harness.cli.studies import JsonOption, OnlyOption, ProfileOption, SetOption, StudyArgument, load

if TYPE_CHECKING:
    from pathlib import Path

    from harness.specs import RunSpec
    from harness.verify import Verdict

KILLS, EPOCHS = 6, 3


def verify_resume(
    context: typer.Context,
    study: StudyArgument,
    profile: ProfileOption = None,
    settings: SetOption = None,
    only: OnlyOption = None,
    kills: Annotated[int, typer.Option("--kills", min=1, help="How often to kill the worker.")] = KILLS,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="The run is shortened to so many epochs.")] = EPOCHS,
    seed: Annotated[int, typer.Option("--seed", help="Decides where it is killed, and by which signal.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of the run.")] = 1,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    data: DataOption = None,
) -> None:
    """Train one run of a study twice, left in peace and killed at random points, and compare every bit.

    It is the run with the fewest epochs, the first of these, unless --only names another. Half of the kills are
    SIGKILL, the others SIGTERM. Compared are weights, optimizer, everything else that a checkpoint holds, curves,
    numbers, spectra and evidence. The exit code is 1 if anything differs; both trainings are then kept.

    Example: harness verify-resume fair_comparison --only objective=margin --kills 20
    """
    from harness.training.prepare import prepare
    from harness.verify import Place, folder_for, shortened, verify

    place = places(context, results, None, data)
    runs = load(study, profile, settings, only, place.data).runs()
    spec = shortened(min(runs, key=lambda run: run.training.epochs), epochs)
    gpus = this_machine(1, threads).gpus
    with Display(study) as display:
        prepare([spec], place.data, place.results / "cache", gpus[0] if gpus else None, display.prepare)
    folder = folder_for(place.results)
    message(f"{title(spec)}, in {folder}")
    try:
        where = Place(folder, place.data.absolute(), threads, "cuda" if gpus else "cpu")
        verdict = verify(spec, where, kills, seed, message)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    if verdict.same:
        shutil.rmtree(folder)
    typer.echo(json.dumps(as_dict(spec, verdict, folder)) if as_json else text_of(verdict, folder))
    if not verdict.same:
        raise typer.Exit(1)


def title(spec: RunSpec) -> str:
    """The run in one line."""
    parts = [spec.objective, spec.miner, spec.sampler, spec.regularizer]
    named = " + ".join(part.name for part in parts if part is not None)
    return f"{named} on {spec.dataset.name}, seed {spec.seed}, {spec.training.epochs} epochs"


def as_dict(spec: RunSpec, verdict: Verdict, folder: Path) -> dict[str, Any]:
    """The verdict as plain JSON types, under names that stay."""
    found = asdict(verdict) | {"same": verdict.same, "computed_twice": verdict.computed_twice}
    return {"spec": spec.to_dict(), **found, "folder": None if verdict.same else str(folder)}


def text_of(verdict: Verdict, folder: Path) -> str:
    """The verdict for a person."""
    lines = []
    for part in verdict.parts:
        differing = f"{part.differing} of {part.values} differ, {part.note}" if part.differing else "same"
        lines += [f"{part.part:16} {differing}"] if part.values else []
    kills = " and ".join(f"{count} {name}" for name, count in verdict.kills.items())
    lines.append(
        f"{kills}; {verdict.steps_computed - verdict.steps} of {verdict.steps} steps were computed twice "
        f"({verdict.computed_twice:.0%})"
    )
    return "\n".join([*lines, *conclusion(verdict, folder)])


def conclusion(verdict: Verdict, folder: Path) -> list[str]:
    """What it means."""
    if not sum(verdict.kills.values()):
        return ["the run was over before it could be killed; more --epochs would be right"]
    if verdict.same:
        return ["the resumed run is the undisturbed run, bit for bit"]
    if not verdict.repeatable:
        means = "two undisturbed trainings differ as well: this run does not repeat itself here, killed or not"
    else:
        means = "the resumed run is NOT the undisturbed run"
    why = [f"  {suspect}" for suspect in verdict.suspects] or ["  no attribute of a part tells why"]
    return [means, *(why if verdict.repeatable else []), f"both are kept in {folder}"]
