"""Commands about running: `run`, `cancel`, `work`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.display import Display, message
from harness.cli.machines import where_to_run
from harness.cli.places import RESULTS_HELP, DataOption, DbOption, ResultsOption, places, study_name
from harness.cli.studies import (
    JsonOption,
    OnlyOption,
    ProfileOption,
    SetOption,
    StudyArgument,
    load_chosen,
    studies_from,
)
from harness.errors import StudyError, did_you_mean

if TYPE_CHECKING:
    from harness.study import Study

ASK_FROM = 200
"""So many missing runs and more are started only after a yes (or `--yes`)."""


def run(
    context: typer.Context,
    study: StudyArgument,
    profile: ProfileOption = None,
    settings: SetOption = None,
    only: OnlyOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=0, help="At most so many at once (default: one a core, or a GPU); 0: start none."
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of one run.")] = 1,
    backend: Annotated[
        str, typer.Option("--backend", help="Where workers run: local (this machine) or slurm.")
    ] = "local",
    site: Annotated[
        Path | None, typer.Option("--site", metavar="FILE", help="For slurm: how your cluster is asked, see slurm/.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="For slurm: submit the workers and return at once.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; start nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before many runs.")] = False,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
    data: DataOption = None,
) -> None:
    """Train what is missing of a study; finished runs are never trained again.

    Example: harness run studies/fair_comparison.yaml --only objective=margin
    """
    place = places(context, results, db, data)
    loaded = load_chosen(study, profile, settings, only, place.data, place.results)
    machine = where_to_run(backend, site, detach, workers, threads)
    if dry_run:
        show_plan(loaded, place.results, as_json)
        return
    confirm(loaded, place.results, yes)

    from harness.launch import launch

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's end is the same as Ctrl-C
    with Display(loaded.name) as display:
        outcome = launch(
            loaded,
            results=place.results,
            db=place.db,
            data=place.data,
            machine=machine(),
            detach=detach,
            prepare=display.prepare,
            watch=display.show,
        )
    if as_json:
        typer.echo(json.dumps({"study": loaded.name, "profile": loaded.profile, **vars(outcome)}))
    tell_outcome(loaded, outcome, place.results)
    if outcome.interrupted:
        raise typer.Exit(130)
    if outcome.failed:
        raise typer.Exit(1)


def confirm(study: Study, results: Path, yes: bool) -> None:
    """Ask before many runs, where somebody can answer."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    from harness.store.spool import RunFolder

    missing = sum(RunFolder(results, spec.run_id).state() in ("pending", "running") for spec in study.runs())
    if missing >= ASK_FROM:
        typer.confirm(f"{missing} runs of {study.name} are missing. Start?", abort=True, err=True)


def show_plan(study: Study, results: Path, as_json: bool) -> None:
    """What `run` would do."""
    from harness.store.labels import method_labels
    from harness.store.spool import RunFolder

    specs = study.runs()
    states = {spec.run_id: RunFolder(results, spec.run_id).state() for spec in specs}
    shown = {run_id: state if state in ("done", "failed") else "pending" for run_id, state in states.items()}
    if as_json:
        runs = [{"run_id": s.run_id, "state": shown[s.run_id], "spec": s.to_dict()} for s in specs]
        typer.echo(json.dumps({"study": study.name, "profile": study.profile, "runs": runs}))
        return
    labels = method_labels(specs)
    for spec in specs:
        typer.echo(f"{spec.run_id}  {shown[spec.run_id]:8}  {labels[spec.run_id]}  seed {spec.seed}")
    missing = sum(state == "pending" for state in shown.values())
    message(f"{len(specs)} runs: {len(specs) - missing} are there, {missing} would be trained")


def tell_outcome(study: Study, outcome: Any, results: Path) -> None:
    """One paragraph at the end of `run`."""
    trained = outcome.done + len(outcome.failed) - outcome.found
    if trained == 0 and outcome.found == outcome.total:
        message(f"{study.name}: nothing to do, all {outcome.total} runs are there")
    else:
        message(f"{study.name}: {outcome.done} of {outcome.total} runs done, {trained} of them now")
    if outcome.failed:
        causes = sorted(set(outcome.failed.values()))
        counts = ", ".join(f"{list(outcome.failed.values()).count(cause)} {cause}" for cause in causes)
        message(
            f"{len(outcome.failed)} failed ({counts}); `harness status {study.name}` says why, "
            f"`harness retry {study.name}` lets `run` try them again"
        )
    if outcome.interrupted:
        message("interrupted; what is finished is kept, and the same command goes on from there")
    if outcome.jobs:
        message(
            f"{outcome.jobs} jobs of the cluster go on; the same command watches them, "
            f"`harness cancel {study.name}` ends them"
        )


def cancel(
    context: typer.Context,
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study by name or path.", autocompletion=studies_from)
    ],
    results: ResultsOption = None,
) -> None:
    """End the workers of a study wherever they are; each keeps a checkpoint, from which `run` goes on.

    Example: harness cancel fair_comparison
    """
    from harness.dispatch.leftovers import has_had_jobs
    from harness.launch import Cancelled, cancel_jobs
    from harness.store.study_records import launched_studies

    place = places(context, results)
    name = study_name(study)
    known = launched_studies(place.results)
    if name not in known:
        raise StudyError(f"no study {name!r} was ever launched into {place.results}{did_you_mean(name, known)}")
    Cancelled(name, place.results).set()
    jobs = cancel_jobs(name, place.results) if has_had_jobs(place.results) else 0
    message(f"{name}: every launch of it was asked to end{f', and {jobs} jobs of the cluster' if jobs else ''}")


def work(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="[RESULTS]", help=RESULTS_HELP)] = None,
    slot: Annotated[
        int | None,
        typer.Option("--slot", min=0, help="Which of this machine's worker slots to hold (default: 0; none in a job)."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")] = "cpu",
    results: ResultsOption = None,
    data: DataOption = None,
) -> None:
    """One worker by hand: take free runs of a results folder until none is left.

    Example: harness work /shared/results
    """
    from harness.dispatch.own_job import own_job
    from harness.store.spool import run_folders
    from harness.worker import Worker

    place = places(context, folder or results, None, data)
    run_ids = [run.run_id for run in run_folders(place.results)]
    if slot is None and not own_job():
        slot = 0
    finished = Worker(place.results.absolute(), place.data.absolute(), run_ids, slot, threads, device)()
    message(f"{finished} runs finished")
