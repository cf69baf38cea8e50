"""The command `plan`: what the missing runs of a study would take, before any of them is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.display import Display, message
from harness.cli.machines import this_machine
from harness.cli.places import DataOption, DbOption, Places, ResultsOption, places
from harness.cli.plan_text import plan_json, plan_text
from harness.cli.studies import JsonOption, OnlyOption, ProfileOption, SetOption, StudyArgument, load
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.images import Progress
    from harness.planning.pace import Pace
    from harness.planning.plan import Workforce
    from harness.specs import RunSpec


def plan(
    context: typer.Context,
    study: StudyArgument,
    profile: ProfileOption = None,
    settings: SetOption = None,
    only: OnlyOption = None,
    site: Annotated[
        Path | None, typer.Option("--site", metavar="FILE", help="Plan for the jobs of this SLURM site, see slurm/.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="So many at once (default: one a core, or a GPU; the site's parallel)."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of one run.")] = 1,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps to time of each cell, at least.")] = 20,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Time steps of what the database does not know.")
    ] = True,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
    data: DataOption = None,
) -> None:
    """What the missing runs of a study would take: time of each kind of run, worker-hours, wall-clock, disk.

    Times come from finished runs of the same kind on the same kind of device; else a few steps are timed here. No run
    is begun; image banks and features that runs will need are made and kept, as `run` would. The estimate is kept in
    the database, and the report compares it with what the runs took.

    Example: harness plan studies/fair_comparison.yaml --site slurm/example.yaml
    """
    from harness.planning.plan import make_plan
    from harness.store.database import collect
    from harness.store.estimates import record_estimates
    from harness.store.study_records import keep_study

    place = places(context, results, db, data)
    loaded = load(study, profile, settings, only, place.data)
    if loaded.tune is not None:
        from harness.tuning.foreseen import foreseen

        loaded = foreseen(loaded, place.results)
    workforce = workforce_of(site, workers, threads)
    collect(place.db, place.results, [spec.run_id for spec in loaded.runs()])
    with Display(loaded.name) as display:
        ask = Rehearsals(place, workforce, steps, display.prepare) if measure else unmeasured
        start = (lambda: start_seconds(workforce.kind.cuda)) if measure else (lambda: 0.0)
        made = make_plan(loaded.runs(), place.results, place.db, workforce, ask, start)
    record_estimates(place.db, loaded.name, loaded.profile, made.estimates())
    if made.estimates():
        keep_study(place.db, place.results, loaded.name, loaded.profile)
    typer.echo(json.dumps(plan_json(loaded, made)) if as_json else plan_text(loaded, made))
    if made.unknown and made.unknown == made.missing:
        message(f"{loaded.name}: none of the {made.missing} missing runs can be estimated")
        raise typer.Exit(3)


def workforce_of(site: Path | None, workers: int | None, threads: int) -> Workforce:
    """The workers of a site, or of this machine; raises StudyError for a site file with mistakes."""
    from harness.planning.known import Kind
    from harness.planning.plan import Workforce

    if site is not None:
        from harness.study.site import read_site

        asked = read_site(site)
        kind = Kind(asked.gpus > 0, asked.cpus)
        return Workforce(workers or asked.parallel, kind, asked.gpus, asked.minutes * 60.0 - asked.signal_s)
    machine = this_machine(workers, threads)
    gpus_each = min(1.0, len(machine.gpus) / machine.slots)
    return Workforce(machine.slots, Kind(bool(machine.gpus), threads, device_here(bool(machine.gpus))), gpus_each)


def device_here(cuda: bool) -> str | None:
    """The name of this machine's GPU or CPU, as runs record it."""
    import torch

    from harness.provenance import provenance

    return torch.cuda.get_device_name(0) if cuda else provenance()["cpu"]


def unmeasured(spec: RunSpec, label: str) -> Pace | str:
    """The answer for every cell where nothing may be timed."""
    return "no finished run of its kind is in the database, and --no-measure forbids timing it"


class Rehearsals:
    """Times cells on this machine, where it has what the workers have; each data set is prepared once."""

    def __init__(self, place: Places, workforce: Workforce, steps: int, progress: Progress) -> None:
        self.place, self.kind, self.steps, self.progress = place, workforce.kind, steps, progress
        self.lacking: dict[str, str | None] = {}  # what runs share -> why it cannot be had
        self.timed = 0

    def __call__(self, spec: RunSpec, label: str) -> Pace | str:
        """The pace of a run, or why there is none."""
        import torch

        from harness.planning.rehearsal import rehearse
        from harness.worker import prepare_process

        if self.kind.cuda and not torch.cuda.is_available():
            return "this machine has no GPU to time it on, and the database no finished run of its kind on one"
        lacking = self.prepare(spec)
        if lacking:
            return lacking
        self.timed += 1
        message(f"timing {self.steps} steps of {label}")
        device = "cuda" if self.kind.cuda else "cpu"
        prepare_process(self.kind.threads, device)
        return rehearse(spec, self.place.data, self.place.results / "cache", device, self.steps)

    def prepare(self, spec: RunSpec) -> str | None:
        """Make what runs share if it is not there; why that cannot be, or None."""
        from harness.specs import canonical_json
        from harness.training.feature_pass import is_frozen, recipe_of
        from harness.training.prepare import prepare

        shared = canonical_json(spec.to_dict()["dataset"]) + (repr(recipe_of(spec)) if is_frozen(spec) else "")
        if shared not in self.lacking:
            gpu = 0 if self.kind.cuda else None
            try:
                prepare([spec], self.place.data, self.place.results / "cache", gpu, self.progress)
                self.lacking[shared] = None
            except HarnessError as error:
                self.lacking[shared] = str(error)
        return self.lacking[shared]


def start_seconds(cuda: bool) -> float:
    """How long a worker needs before its first run: Python, libraries and the device, timed once."""
    code = "import harness.worker, harness.training.execute, submitit, torch"
    code += "; torch.cuda.is_available() and torch.zeros(1, device='cuda')" if cuda else ""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - begin
