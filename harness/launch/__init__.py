"""Launching a study: what is missing goes out to workers, what comes back is collected, and progress is told.

The launcher trains nothing and owns nothing: everything it knows it reads from the run folders (`ledger`). It may be
killed and started again, or run twice at once, at any time. Workers are those of this machine (`crew`) or jobs of a
SLURM cluster (`fleet`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.images import Progress, silent
from harness.launch.crew import Crew, Machine
from harness.launch.fleet import Cluster, Fleet, cancel_jobs
from harness.launch.ledger import Ledger, Snapshot
from harness.specs import RunSpec
from harness.store.database import collect, record_study
from harness.store.files import make_folder
from harness.store.study_records import keep_study
from harness.study import Study

__all__ = ["Cancelled", "Cluster", "Machine", "Outcome", "Snapshot", "cancel_jobs", "complete", "launch"]


@dataclass(frozen=True)
class Outcome:
    """How a launch ended; `found` runs were finished before it began, and `jobs` of a cluster go on after it."""

    total: int
    found: int
    done: int
    failed: dict[str, str]  # run_id -> cause
    interrupted: bool
    jobs: int = 0


def launch(
    study: Study,
    *,
    results: Path,
    db: str,
    data: Path,
    machine: Machine | Cluster,
    detach: bool = False,
    prepare: Progress = silent,
    watch: Callable[[Snapshot], None] = lambda snapshot: None,
) -> Outcome:
    """Train what is missing of a study and collect everything into the database.

    Ctrl-C and `cancel` end the workers of this machine, keep what is finished and give an outcome that says
    `interrupted`; jobs of a cluster go on, and with `detach` nobody waits for them. Raises HarnessError where the
    results folder, the database, the data or the cluster cannot be used; nothing is started then.
    """
    specs = study.runs()
    record_study(db, study.name, study.profile, specs, study.about(), partial=study.partial)
    keep_study(db, results, study.name, study.profile, study_text(study))
    Cancelled(study.name, results).clear()
    return complete(
        study.name,
        specs,
        results=results,
        db=db,
        data=data,
        machine=machine,
        detach=detach,
        prepare=prepare,
        watch=watch,
    )


def study_text(study: Study) -> str | None:
    """The text of the study file, to be kept with its results; None where it has gone since it was read."""
    try:
        return study.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def complete(
    name: str,
    specs: Sequence[RunSpec],
    *,
    results: Path,
    db: str,
    data: Path,
    machine: Machine | Cluster,
    detach: bool = False,
    prepare: Progress = silent,
    watch: Callable[[Snapshot], None] = lambda snapshot: None,
) -> Outcome:
    """Train what is missing of some runs under the name of a study, whether the study has these runs or not.

    As `launch` does, but a cancellation from before is obeyed. Raises as `launch` does.
    """
    ledger = Ledger(specs, results)
    cancelled = Cancelled(name, results)

    def look() -> None:
        tell(ledger, db, results, watch, cancelled)

    interrupted, fleet = False, None
    try:
        if ledger.open and isinstance(machine, Cluster):
            fleet = Fleet(name, ledger, results, data, machine)
            fleet.ask() if detach else fleet.work(look)
        elif ledger.open and isinstance(machine, Machine):
            prepare_data([ledger.specs[run_id] for run_id in ledger.open], data, results, machine, prepare)
            Crew(ledger, results, data, machine).work(look)
    except KeyboardInterrupt:
        interrupted = True
    ledger.look()
    collect(db, results, [spec.run_id for spec in specs])
    jobs = len(fleet.jobs) if fleet and ledger.open else 0
    return Outcome(len(specs), ledger.found, ledger.finished - len(ledger.failed), ledger.failed, interrupted, jobs)


def tell(ledger: Ledger, db: str, results: Path, watch: Callable[[Snapshot], None], cancelled: Cancelled) -> None:
    """Look at the run folders, collect what is new, show how things stand.

    Raises KeyboardInterrupt when somebody has cancelled the study.
    """
    if cancelled.is_set():
        raise KeyboardInterrupt
    new = ledger.look()
    if new:
        collect(db, results, new)
    watch(ledger.snapshot())


class Cancelled:
    """The mark by which `harness cancel` reaches every launch of a study, on whatever host it runs."""

    def __init__(self, study: str, results: Path) -> None:
        self._mark = results / "workers" / f"cancelled-{study}"

    def set(self) -> None:
        """Ask all launches of the study to end."""
        make_folder(self._mark.parent)
        self._mark.touch()

    def is_set(self) -> bool:
        """Whether somebody has asked since the study was last launched."""
        return self._mark.exists()

    def clear(self) -> None:
        """Forget it: the study is launched again."""
        self._mark.unlink(missing_ok=True)


def prepare_data(specs: Sequence[RunSpec], data: Path, results: Path, machine: Machine, progress: Progress) -> None:
    """Build what the runs share once, before workers would all begin to."""
    from harness.training.prepare import prepare

    prepare(specs, data, results / "cache", machine.gpus[0] if machine.gpus else None, progress)
