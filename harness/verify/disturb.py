"""Training one run in worker processes of its own, left in peace or killed again and again at random points.

The points are chosen by how far the run is, not by the clock, so that a slow machine is hit as often as a quick one.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.dispatch.local import environment
from harness.errors import EnvironmentLacks, RunFailed
from harness.specs import RunSpec
from harness.store.lease import Lease
from harness.store.spool import RunFolder
from harness.verify.steps import Steps, record_steps
from harness.worker import Stop, Worker, said_to

if TYPE_CHECKING:
    from harness.training.assemble import Context

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where to train: a folder of our own, the data, and what a worker uses."""

    folder: Path
    data: Path
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Trained:
    """A run that was trained to its end."""

    folder: RunFolder
    steps: Steps
    seconds: float  # of its epochs


@dataclass(frozen=True)
class Kill:
    """A signal, so long after so many different steps of the run are made."""

    point: int
    number: signal.Signals
    delay_s: float

    def begin(self) -> None:
        """Let the signal come to this process; from a thread, so that it comes whatever is done then."""
        timer = threading.Timer(self.delay_s, os.kill, (os.getpid(), self.number))
        timer.daemon = True
        timer.start()


@dataclass(frozen=True)
class Witness(Worker):
    """A worker that records every step, leaves the state of a run that has come to its end, and may be killed."""

    kill: Kill | None = None

    def context(self, folder: RunFolder, lease: Lease, stop: Stop) -> Context:
        """As that of any worker, with an eye on it."""
        from harness.verify.state import keep_state

        point, reached = (self.kill.point, self.kill.begin) if self.kill else (sys.maxsize, lambda: None)
        return replace(
            super().context(folder, lease, stop),
            on_progress=record_steps(folder.path, point, reached),
            tell_every_s=0.0,
            at_end=lambda parts, history: keep_state(folder.path, parts, history),
        )


def train_undisturbed(spec: RunSpec, place: Place, name: str, say: Say) -> Trained:
    """Train a run in one worker process. Raises RunFailed when it fails."""
    folder = _new_folder(spec, place, name)
    _work(folder, place)
    trained = _ended(folder, name)
    say(f"{name}: {trained.steps.different('training')} steps in {trained.seconds:.1f} s")
    return trained


def train_disturbed(
    spec: RunSpec, place: Place, alone: Trained, kills: int, seed: int, say: Say
) -> tuple[Trained, dict[str, int]]:
    """Train a run in workers that are killed so often; gives also how many died by which signal.

    Half of them get SIGKILL, which nobody can catch, the others SIGTERM, at which a worker keeps a checkpoint. Raises
    RunFailed when the run fails, and EnvironmentLacks when a worker ends for another reason.
    """
    folder, sent = _new_folder(spec, place, "killed"), {"SIGKILL": 0, "SIGTERM": 0}
    for kill in plan(alone, kills, random.Random(seed)):
        _work(folder, place, kill)
        if folder.state() in ("done", "failed"):
            break  # it was quicker than the signal
        sent[kill.number.name] += 1
        say(f"killed: {kill.number.name} after {Steps(folder.path).last}")
        folder.bury("killed")  # no fault of the run, which would be given up after a few losses
    else:
        _work(folder, place)
    trained = _ended(folder, "killed")
    made = trained.steps.computed("training")
    say(f"killed: {sum(sent.values())} times, and resumed to its end; {made} steps in all")
    return trained, sent


def plan(alone: Trained, kills: int, chance: random.Random) -> list[Kill]:
    """Kills on the way, in order, at different points as long as there are enough."""
    total = alone.steps.different()
    points = (
        chance.sample(range(1, total + 1), kills) if kills <= total else chance.choices(range(1, total + 1), k=kills)
    )
    numbers = [(signal.SIGKILL, signal.SIGTERM)[number % 2] for number in range(kills)]
    chance.shuffle(numbers)
    longest = 2 * alone.seconds / total  # two steps, so that every moment of a step is hit
    return [
        Kill(point, number, chance.uniform(0, longest)) for point, number in zip(sorted(points), numbers, strict=True)
    ]


# One worker process ---------------------------------------------------------------------------------------------------


def _work(folder: RunFolder, place: Place, kill: Kill | None = None) -> None:
    """One worker at work on the run until it ends, by itself or by its kill.

    Raises EnvironmentLacks when something else ends it.
    """
    results = folder.path.parents[2]
    task = Witness(results, place.data, [folder.run_id], 0, place.threads, place.device, kill=kill)
    log = place.folder / "workers.log"
    process = _processes(place.device).Process(target=_call, args=(task, log), daemon=True)
    threads = place.threads
    with environment(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads):
        process.start()
    try:
        process.join()
    finally:
        process.kill()  # we are interrupted; nothing to one that has ended
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL if kill else 0):
        raise EnvironmentLacks(f"a worker ended with exit code {process.exitcode}: {_last_words(log)}")


def _processes(device: str) -> Any:
    """How processes are made: where it is safe, forked from one that has imported what takes seconds."""
    if device != "cpu":
        return multiprocessing.get_context("spawn")  # CUDA does not survive a fork once anything has asked for it
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["harness.verify.state", "harness.training.execute", "torch._dynamo"])
    return server


def _call(task: Callable[[], Any], log: Path) -> None:
    with said_to(log):
        try:
            task()
        except Exception:
            traceback.print_exc()
            sys.exit(1)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def _new_folder(spec: RunSpec, place: Place, name: str) -> RunFolder:
    results = place.folder / name
    results.mkdir()
    (results / "cache").symlink_to((place.folder / "cache").resolve())
    folder = RunFolder(results, spec.run_id)
    folder.write_spec(spec)
    return folder


def _ended(folder: RunFolder, name: str) -> Trained:
    result = folder.read_result()
    if result is None:
        raise EnvironmentLacks(f"the worker of the {name} training ended without a result; see {folder.log_path}")
    if result.state != "done":
        raise RunFailed(f"the {name} training failed ({result.cause}): {result.message}; see {folder.log_path}")
    return Trained(folder, Steps(folder.path), result.cost["total_seconds"])
