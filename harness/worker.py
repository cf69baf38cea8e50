"""A worker walks a list of run folders, takes the first free run, trains it, publishes its result, and goes on.

Nobody hands out work: a dead worker, a second `harness run` of the same study or a worker added by hand need no special
case. Workers never open the database.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import Interrupted, StoreError
from harness.provenance import provenance
from harness.specs import RunResult
from harness.store.files import utc_now
from harness.store.lease import Lease
from harness.store.slots import slot_path
from harness.store.spool import RunFolder


@dataclass(frozen=True)
class Worker:
    """What a worker is told; small and picklable, because it travels to another process or machine."""

    results: Path
    data: Path
    run_ids: Sequence[str]
    slot: int
    threads: int = 1
    device: str = "cpu"

    def __call__(self) -> int:
        """Hold a slot of this machine and work until nothing is left to take; gives the number of runs finished."""
        slot = Lease.take(slot_path(self.results, self.slot))
        if slot is None:
            return 0  # another worker came first; this machine has as many as it should
        try:
            return self.work()
        finally:
            slot.release()

    def work(self) -> int:
        """Walk the list until a whole walk finds nothing to take."""
        stop = stop_on_signals()
        prepare_process(self.threads, self.device)
        finished = 0
        while not stop.is_set():
            taken = sum(work_on(RunFolder(self.results, run_id), self, stop) for run_id in self.run_ids)
            finished += taken
            if not taken:
                break
        return finished


def stop_on_signals() -> threading.Event:
    """An event that is set when this process is asked to end: Ctrl-C, or SIGTERM from whoever started it."""
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
    return stop


def prepare_process(threads: int, device: str) -> None:
    """Fix what would otherwise let the machine's load or settings into the numbers."""
    import torch

    torch.set_num_threads(threads)
    if device.startswith("cuda"):
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def work_on(folder: RunFolder, worker: Worker, stop: threading.Event) -> bool:
    """Take one run if it is free, train it and publish its result; False when there was nothing to take."""
    if stop.is_set():
        return False
    lease = folder.take(device=worker.device, provenance=provenance())
    if lease is None:
        return False
    with said_to(folder.log_path):
        try:
            result = train(folder, lease, worker, stop)
        except Interrupted:
            folder.abandon(lease)
            return False
        return publish(result, folder, lease)


def publish(result: RunResult, folder: RunFolder, lease: Lease) -> bool:
    """Make the result exist; one that cannot be written down is a failure, one that comes too late is dropped.

    Raises StoreError when the disk refuses it.
    """
    try:
        folder.publish(result, lease)
    except (ValueError, TypeError) as error:  # a metric of somebody's that gives nan or a tensor
        return publish(RunResult(result.run_id, "failed", "exception", f"its numbers: {error}"), folder, lease)
    except StoreError as error:
        if not lease.lost:
            raise
        print(error)
        return False
    folder.checkpoint_path.unlink(missing_ok=True)
    return True


def train(folder: RunFolder, lease: Lease, worker: Worker, stop: threading.Event) -> RunResult:
    """Execute the spec of a folder, with everything a person may want to know about how it was made."""
    from harness.training.assemble import Context
    from harness.training.execute import execute

    spec = folder.read_spec()
    print(f"{utc_now()} begin {spec.run_id}: {spec.objective.name}, seed {spec.seed}, on {lease.owner.host}")
    context = Context(
        data_root=worker.data,
        cache=worker.results / "cache",
        device=worker.device,
        checkpoint=folder.checkpoint_path,
        evidence=folder.path / "evidence.npz",
        should_stop=lambda: stop.is_set() or lease.lost,
        on_progress=folder.write_progress,
    )
    result = execute(spec, context)
    print(f"{utc_now()} end {spec.run_id}: {result.state}", result.traceback or "")
    made: dict[str, Any] = provenance() | {"threads": worker.threads} | result.provenance
    return replace(result, provenance=made)


@contextmanager
def said_to(path: Path) -> Iterator[None]:
    """What Python code prints inside is appended to a file, line by line."""
    with open(path, "a", encoding="utf-8", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        yield
