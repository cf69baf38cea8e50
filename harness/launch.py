"""Launching a study: what is missing goes out to workers, what comes back is collected, and progress is told.

The launcher trains nothing and owns nothing: everything it knows it reads from the run folders. It may be killed and
started again, or run twice at once, at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.dispatch.local import LocalWorker, start_worker
from harness.errors import EnvironmentLacks
from harness.images import Progress, silent
from harness.specs import RunResult, RunSpec, canonical_json
from harness.store.database import collect, record_study
from harness.store.labels import method_labels
from harness.store.slots import taken_slots
from harness.store.spool import RunFolder
from harness.study import Study
from harness.worker import Worker

POLL_S = 0.5
PATIENCE_S = 30.0
"""How long an interrupted launch waits for its workers to end by themselves."""

DEATHS = 8
"""So many workers in a row that died without any run being finished mean that the next would fare no better."""


@dataclass(frozen=True)
class Machine:
    """What this machine offers to a study: so many workers at most, each with its threads and perhaps a GPU."""

    slots: int
    threads: int = 1
    gpus: tuple[int, ...] = ()

    def gpu_of(self, slot: int) -> int | None:
        """The GPU of a slot; with more slots than GPUs they share them in turn."""
        return self.gpus[slot % len(self.gpus)] if self.gpus else None


@dataclass(frozen=True)
class Snapshot:
    """How a study stands: what `harness run` and `harness status` show."""

    total: int
    done: int
    failed: int
    running: list[dict[str, Any]]  # run_id, method, seed and what the run told last: epoch, epochs, loss, recall_at_1
    latest: list[dict[str, Any]]  # finished since the launch, newest first: run_id, method, seed, state, recall_at_1
    elapsed_s: float = 0.0
    eta_s: float | None = None

    @property
    def pending(self) -> int:
        """Runs that nobody works on yet."""
        return self.total - self.done - self.failed - len(self.running)


@dataclass(frozen=True)
class Outcome:
    """How a launch ended; `found` runs were finished before it began."""

    total: int
    found: int
    done: int
    failed: dict[str, str]  # run_id -> cause
    interrupted: bool


def launch(
    study: Study,
    *,
    results: Path,
    db: str,
    data: Path,
    machine: Machine,
    prepare: Progress = silent,
    watch: Callable[[Snapshot], None] = lambda snapshot: None,
) -> Outcome:
    """Train what is missing of a study and collect everything into the database.

    Ctrl-C ends the workers, keeps what is finished and gives an outcome that says `interrupted`. Raises HarnessError
    where the results folder, the database or the data cannot be used; nothing is started then.
    """
    specs = study.runs()
    record_study(db, study.name, study.profile, specs, study.about(), partial=study.partial)
    ledger = Ledger(specs, results)
    interrupted = False
    try:
        if ledger.open:
            prepare_data(specs, data, results, prepare)
            Crew(ledger, results, data, machine).work(lambda: tell(ledger, db, results, watch))
    except KeyboardInterrupt:
        interrupted = True
    ledger.look()
    collect(db, results, [spec.run_id for spec in specs])
    return Outcome(len(specs), ledger.found, ledger.finished - len(ledger.failed), ledger.failed, interrupted)


def tell(ledger: Ledger, db: str, results: Path, watch: Callable[[Snapshot], None]) -> None:
    """Look at the run folders, collect what is new, show how things stand."""
    new = ledger.look()
    if new:
        collect(db, results, new)
    watch(ledger.snapshot())


def prepare_data(specs: Sequence[RunSpec], data: Path, results: Path, progress: Progress) -> None:
    """Build the image bank of every data set once, before workers would all begin to."""
    from harness.training.data import prepare_bank

    choices = {canonical_json(spec.to_dict()["dataset"]): spec.dataset for spec in specs}
    for choice in choices.values():
        prepare_bank(choice, data, results / "cache", progress)


class Ledger:
    """What the run folders of a study say: which runs are open, how far the running ones are, which have ended."""

    def __init__(self, specs: Sequence[RunSpec], results: Path) -> None:
        self.specs = {spec.run_id: spec for spec in specs}
        self.labels = method_labels(specs)
        self.open = {run_id: RunFolder(results, run_id) for run_id in self.specs}
        self.failed: dict[str, str] = {}
        self.running: list[dict[str, Any]] = []
        self.latest: list[dict[str, Any]] = []
        for run_id, folder in self.open.items():
            folder.write_spec(self.specs[run_id])
        self._close_ended()
        self.found = self.finished
        self.begin = time.monotonic()

    @property
    def finished(self) -> int:
        """Runs that have ended, well or not."""
        return len(self.specs) - len(self.open)

    @property
    def pending(self) -> int:
        """Runs that nobody works on."""
        return len(self.open) - len(self.running)

    def look(self) -> list[str]:
        """Read the folders of the open runs again; gives the runs that have ended since the last look."""
        ended = self._close_ended()
        for run_id, folder in ended.items():
            self._tell(run_id, folder)
        return list(ended)

    def _close_ended(self) -> dict[str, RunFolder]:
        """Read how every open run stands. Whole results are left unread: a study may have thousands from before."""
        self.running = []
        ended = {}
        for run_id, folder in list(self.open.items()):
            state = folder.state()
            if state in ("done", "failed"):
                ended[run_id] = self.open.pop(run_id)
            elif state == "running":
                self.running.append(self._row(run_id) | (folder.read_progress() or {}))
            if state == "failed":
                self.failed[run_id] = read_ended(folder).cause or "exception"
        return ended

    def _tell(self, run_id: str, folder: RunFolder) -> None:
        result = read_ended(folder)
        found = [m.value for m in result.measurements if (m.split, m.metric) == ("test", "recall_at_1")]
        row = {"state": result.state, "cause": result.cause, "recall_at_1": found[0] if found else None}
        self.latest.insert(0, self._row(run_id) | row)

    def _row(self, run_id: str) -> dict[str, Any]:
        return {"run_id": run_id, "method": self.labels[run_id], "seed": self.specs[run_id].seed}

    def snapshot(self) -> Snapshot:
        """How things stood at the last look."""
        elapsed = time.monotonic() - self.begin
        under_way = sum(run.get("epoch", 0) / run["epochs"] for run in self.running if "epochs" in run)
        progress = self.finished - self.found + under_way
        left = len(self.open) - under_way
        return Snapshot(
            total=len(self.specs),
            done=self.finished - len(self.failed),
            failed=len(self.failed),
            running=self.running,
            latest=self.latest,
            elapsed_s=elapsed,
            eta_s=left * elapsed / progress if progress > 0 else None,
        )


def read_ended(folder: RunFolder) -> RunResult:
    """The result of a run whose folder has said that it has ended."""
    result = folder.read_result()
    assert result is not None
    return result


class Crew:
    """The workers that one launch has started on this machine."""

    def __init__(self, ledger: Ledger, results: Path, data: Path, machine: Machine) -> None:
        self.ledger = ledger
        self.results = results.absolute()
        self.data = data.absolute()
        self.machine = machine
        self.workers: dict[int, LocalWorker] = {}  # slot -> worker
        self.deaths = 0  # since a run was last finished
        self.finished = ledger.finished

    def work(self, tell: Callable[[], None]) -> None:
        """Keep the slots filled until every run of the study has ended, here or elsewhere."""
        try:
            while self.ledger.open:
                self.bury_dead()
                self.fill_slots()
                begin = time.monotonic()
                tell()
                # A look at ten thousand folders takes a while; it must not become all that this machine does.
                time.sleep(max(POLL_S, 5 * (time.monotonic() - begin)))
        finally:
            self.dismiss()

    def bury_dead(self) -> None:
        """Forget workers that have ended.

        Raises EnvironmentLacks when one after the other was killed and no run got finished between.
        """
        for slot, worker in list(self.workers.items()):
            if worker.alive():
                continue
            del self.workers[slot]
            if worker.ended_well() or self.ledger.finished > self.finished:
                self.deaths, self.finished = 0, self.ledger.finished
                continue
            self.deaths += 1
            if self.deaths >= DEATHS:
                last_words = worker.log_tail()
                raise EnvironmentLacks(f"{self.deaths} workers were killed in a row; the last said:\n{last_words}")

    def fill_slots(self) -> None:
        """Start a worker in every free slot for which there is a run that nobody works on."""
        taken = taken_slots(self.results, self.machine.slots)
        starting = set(self.workers) - taken
        free = set(range(self.machine.slots)) - taken - starting
        for slot in sorted(free)[: max(0, self.ledger.pending - len(starting))]:
            self.workers[slot] = self.start(slot)

    def start(self, slot: int) -> LocalWorker:
        """One worker for the runs that are still open."""
        gpu = self.machine.gpu_of(slot)
        threads = self.machine.threads
        device = "cpu" if gpu is None else "cuda"
        task = Worker(self.results, self.data, list(self.ledger.open), slot, threads, device)
        return start_worker(task, self.results / "workers" / "logs", threads=threads, gpu=gpu)

    def dismiss(self) -> None:
        """Let workers that have nothing left to do end; those still at work are asked to keep their checkpoint."""
        for worker in self.workers.values():
            if self.ledger.open:
                worker.stop()
        deadline = time.monotonic() + PATIENCE_S
        while any(worker.alive() for worker in self.workers.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for worker in self.workers.values():
            if worker.alive():
                worker.kill()
