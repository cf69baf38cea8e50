"""Commands about tuning: `tune`, `unseal`."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.display import Display, message
from harness.cli.machines import where_to_run
from harness.cli.places import DataOption, DbOption, Places, ResultsOption, places
from harness.cli.studies import JsonOption, ProfileOption, SetOption, StudyArgument, load
from harness.errors import StudyError

if TYPE_CHECKING:
    from harness.launch import Cluster, Machine
    from harness.specs import RunSpec
    from harness.study import Study
    from harness.tuning import Choices, Method, Trial

WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="At most so many at once (default: one a core, or a GPU)."),
]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="CPU threads of one run.")]
BackendOption = Annotated[str, typer.Option("--backend", help="Where workers run: local (this machine) or slurm.")]
SiteOption = Annotated[
    Path | None, typer.Option("--site", metavar="FILE", help="For slurm: how your cluster is asked, see slurm/.")
]


def tune(
    context: typer.Context,
    study: StudyArgument,
    profile: ProfileOption = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = 1,
    backend: BackendOption = "local",
    site: SiteOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train folds that have failed again, for another outcome.")
    ] = False,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
    data: DataOption = None,
) -> None:
    """Search: every method of a study gets the trials of its section `tune`, judged on folds of the training classes.

    The choices are written to results/STUDY/tuned.yaml; `run` then trains them. Killed or interrupted, the same command
    goes on and ends with the same trials and choices, whatever the workers.

    Example: harness tune studies/tuned_comparison.yaml
    """
    from harness.tuning import search
    from harness.tuning.choices import choose, write_choices
    from harness.tuning.keeping import keep

    place = places(context, results, db, data)
    loaded = load(study, profile, settings, None, place.data)
    if loaded.tune is None:
        raise StudyError(f"study {loaded.name!r} has no section `tune`; nothing in it is to be tuned")
    machine = where_to_run(backend, site, False, workers, threads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    train = Trainer(loaded, place, machine, retry_failed)
    record(loaded, place)

    def told(methods: list[Method]) -> None:
        keep(loaded, methods, place.results, place.db)
        message(progress_of(loaded, methods))

    try:
        methods = search(loaded, place.results, train, told)
    except KeyboardInterrupt:
        message("interrupted; what is finished is kept, and the same command goes on from there")
        raise typer.Exit(130) from None
    choices = choose(loaded, methods)
    path = write_choices(choices, place.results)
    record(loaded, place)
    typer.echo(json.dumps(as_dict(choices, path)) if as_json else table_of(choices))
    message(f"{loaded.name}: the choices are in {path}; `harness run {study}` trains them")
    if any(trial.state == "failed" for method in methods for trial in method.trials):
        message(f"{told_failures(methods)}; they count as trials")
        raise typer.Exit(1)


def record(study: Study, place: Places) -> None:
    """Say in the database which final runs the study has: those that were chosen, or until then its defaults."""
    from harness.launch import study_text
    from harness.store.database import record_study
    from harness.store.study_records import keep_study
    from harness.tuning import read_choices, with_choices

    assert study.tune is not None
    with suppress(StudyError):
        study = with_choices(study, read_choices(study, place.results), place.results)
    record_study(place.db, study.name, study.profile, study.runs(), study.about(), partial=study.partial)
    keep_study(place.db, place.results, study.name, study.profile, study_text(study))


class Trainer:
    """Trains what is missing of the folds of a batch, by the workers of this machine or of a cluster."""

    def __init__(
        self, study: Study, place: Places, machine: Callable[[], Machine | Cluster], retry_failed: bool
    ) -> None:
        from harness.launch import Cancelled

        self.study, self.place, self.retry_failed = study, place, retry_failed
        self.machine = machine()
        self.retried: set[str] = set()
        Cancelled(study.name, place.results).clear()

    def __call__(self, specs: Sequence[RunSpec]) -> None:
        """Raises KeyboardInterrupt when interrupted or cancelled."""
        from harness.launch import complete

        if self.retry_failed:
            self.retry(specs)
        with Display(self.study.name) as display:
            outcome = complete(
                self.study.name,
                specs,
                results=self.place.results,
                db=self.place.db,
                data=self.place.data,
                machine=self.machine,
                prepare=display.prepare,
                watch=display.show,
            )
        if outcome.interrupted:
            raise KeyboardInterrupt

    def retry(self, specs: Sequence[RunSpec]) -> None:
        """Free what has failed, each run once."""
        from harness.store.spool import RunFolder

        for run_id in {spec.run_id for spec in specs} - self.retried:
            self.retried.add(run_id)
            RunFolder(self.place.results, run_id).retry()


def unseal(
    context: typer.Context,
    study: StudyArgument,
    profile: ProfileOption = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = 1,
    backend: BackendOption = "local",
    site: SiteOption = None,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
    data: DataOption = None,
) -> None:
    """Look at the sealed test classes of a tuned study: the kept weights of its final runs are measured on them.

    Every look is put on record before anything is measured, and the report tells how many there were. What was measured
    once is not measured again.

    Example: harness unseal studies/tuned_comparison.yaml
    """
    from harness.launch import launch
    from harness.tuning import read_choices
    from harness.tuning.unsealing import unseal as look

    place = places(context, results, db, data)
    loaded = load(study, profile, settings, None, place.data)
    if loaded.tune is None:
        raise StudyError(f"study {loaded.name!r} has no section `tune`; its test classes are not sealed")
    machine = where_to_run(backend, site, False, workers, threads)
    choices = read_choices(loaded, place.results)
    failed: dict[str, str] = {}

    def measure(looks: Study) -> bool:
        with Display(looks.name) as display:
            outcome = launch(
                looks,
                results=place.results,
                db=place.db,
                data=place.data,
                machine=machine(),
                prepare=display.prepare,
                watch=display.show,
            )
        failed.update(outcome.failed)
        return not outcome.interrupted

    seen = look(loaded, choices, place.results, place.db, measure)
    if as_json:
        told = {"study": loaded.name, "profile": loaded.profile, "choices": choices.digest, **vars(seen)}
        typer.echo(json.dumps(told | {"failed": failed}))
    message(f"{loaded.name}: look {seen.number} at the test classes, with choices {choices.digest}, is on record")
    if not seen.whole:
        raise typer.Exit(130)
    if failed:
        message(f"{len(failed)} of {seen.runs} runs have no test metrics: {', '.join(sorted(set(failed.values())))}")
        raise typer.Exit(1)


def progress_of(study: Study, methods: Sequence[Method]) -> str:
    """`study: 8 of 16 trials of each of 6 methods; highest map_at_r so far 61.3 (margin)`."""
    assert study.tune is not None
    counted = min(len(method.trials) for method in methods)
    scores = [(method.best.score or 0.0, method.label) for method in methods if method.best]
    ahead = (
        f"; highest {study.tune.section.metric} so far {100 * max(scores)[0]:.1f} ({max(scores)[1]})" if scores else ""
    )
    return f"{study.name}: {counted} of {study.tune.trials} trials of each of {len(methods)} methods{ahead}"


def table_of(choices: Choices) -> str:
    """One line a method: its defaults' score and the chosen one's, and what was chosen."""
    width = max(len(chosen.method) for chosen in choices.methods)
    lines = [f"{'method':{width}}  defaults  chosen  trial  epoch  values ({choices.metric} on held-out classes, %)"]
    for chosen in choices.methods:
        scores = [_percent(score) for score in (chosen.default_score, chosen.score)]
        values = ", ".join(f"{name}={_short(value)}" for name, value in chosen.values.items())
        place = "none of its trials has a result" if chosen.trial is None else f"{chosen.trial:>5}  {chosen.epoch:>5}"
        lines.append(f"{chosen.method:{width}}  {scores[0]:>8}  {scores[1]:>6}  {place}  {values}".rstrip())
    return "\n".join(lines)


def as_dict(choices: Choices, path: Path) -> dict[str, Any]:
    """The choices as `--json` prints them."""
    from dataclasses import asdict

    return {**asdict(choices), "digest": choices.digest, "file": str(path)}


def told_failures(methods: Sequence[Method]) -> str:
    """`3 trials failed (2 diverged, 1 out_of_memory)`."""
    from collections import Counter

    failed: list[Trial] = [trial for method in methods for trial in method.trials if trial.state == "failed"]
    causes = ", ".join(f"{count} {cause}" for cause, count in Counter(trial.cause for trial in failed).most_common())
    return f"{len(failed)} trial{'s' if len(failed) > 1 else ''} failed ({causes})"


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
