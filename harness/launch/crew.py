"""The workers of a launch on this machine: as many as there are slots, kept filled until all runs have ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.dispatch.local import LocalWorker, start_worker
from harness.errors import EnvironmentLacks
from harness.launch.ledger import Ledger
from harness.store.slots import taken_slots
from harness.worker import Worker

POLL_S = 0.5
PATIENCE_S = 30.0
"""How long an interrupted launch waits for its workers to end by themselves."""

DEATHS = 8
"""So many workers in a row that died without any run getting further mean that the next would fare no better."""


@dataclass(frozen=True)
class Machine:
    """What this machine offers to a study: so many workers at most, each with its threads and perhaps a GPU."""

    slots: int
    threads: int = 1
    gpus: tuple[int, ...] = ()

    def gpu_of(self, slot: int) -> int | None:
        """The GPU of a slot; with more slots than GPUs they share them in turn."""
        return self.gpus[slot % len(self.gpus)] if self.gpus else None


class Crew:
    """The workers that one launch has started on this machine."""

    def __init__(self, ledger: Ledger, results: Path, data: Path, machine: Machine) -> None:
        self.ledger = ledger
        self.results = results.absolute()
        self.data = data.absolute()
        self.machine = machine
        self.workers: dict[int, LocalWorker] = {}  # slot -> worker
        self.deaths = 0  # since a run last got further
        self.reached = ledger.progress

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

        Raises EnvironmentLacks when one after the other was killed and no run got further between.
        """
        for slot, worker in list(self.workers.items()):
            if worker.alive():
                continue
            del self.workers[slot]
            if worker.ended_well() or self.ledger.progress > self.reached:
                self.deaths, self.reached = 0, self.ledger.progress
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
