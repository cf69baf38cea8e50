"""A worker walks a list of run folders, takes the first free run, trains it, publishes its result, and goes on.

Nobody hands out work: a dead worker, a second `harness run` of the same study or a worker added by hand need no special
case. Workers never open the database.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.dispatch.own_job import WARNING, own_job, requeue_own_job, seconds_left
from harness.dispatch.site import SIGNAL_GRAIN_S
from harness.errors import Interrupted, StoreError
from harness.provenance import code_of_parts, provenance
from harness.specs import RunResult
from harness.store.attempts import cause_of_death
from harness.store.files import utc_now
from harness.store.lease import BEAT_S, Lease, silence
from harness.store.slots import slot_path
from harness.store.spool import RunFolder

if TYPE_CHECKING:
    from harness.training.assemble import Context

SILENT_S = 3 * BEAT_S
"""Who has not touched a lease for so long has probably died, on a machine that is not this one."""

WAIT_S = 2.0
"""How often a worker that waits for such a run looks again."""


@dataclass(frozen=True)
class Worker:
    """What a worker is told; small and picklable, because it travels to another process or machine.

    `slot` None: a job of SLURM, of which a machine may run as many as SLURM says, warned `warning_s` before its limit.
    """

    results: Path
    data: Path
    run_ids: Sequence[str]
    slot: int | None
    threads: int = 1
    device: str = "cpu"
    warning_s: float = 0.0

    def __call__(self) -> int:
        """Work until nothing is left to take; gives the number of runs finished.

        On this machine a slot is held meanwhile. In a job of SLURM that was warned of its end, the job is put back into
        the queue, where it goes on.
        """
        if self.slot is None:
            return self.work_in_job()
        slot = Lease.take(slot_path(self.results, self.slot))
        if slot is None:
            return 0  # another worker came first; this machine has as many as it should
        try:
            return self.work(Stop())
        finally:
            slot.release()

    def work_in_job(self) -> int:
        """Work, and queue again when warned of the end of the job."""
        stop = Stop()
        finished = self.work(stop)
        if stop.warned:
            requeue_own_job()
        return finished

    def work(self, stop: Stop) -> int:
        """Walk the list until a whole walk finds nothing to take now or soon, or until asked to stop."""
        stop.on_signals()
        prepare_process(self.threads, self.device)
        finished = 0
        while not stop.is_set():
            taken = sum(work_on(RunFolder(self.results, run_id), self, stop) for run_id in self.run_ids)
            finished += taken
            if not taken:
                if not any(may_become_free(RunFolder(self.results, run_id)) for run_id in self.run_ids):
                    break
                stop.wait(WAIT_S)
        return finished

    def context(self, folder: RunFolder, lease: Lease, stop: Stop) -> Context:
        """Where a run of this worker happens."""
        from harness.training.assemble import Context

        def should_stop() -> bool:
            if lease.lost:
                raise Interrupted  # the checkpoint is another worker's now
            return stop.is_set()

        return Context(
            data_root=self.data,
            cache=self.results / "cache",
            device=self.device,
            checkpoint=folder.checkpoint_path,
            evidence=folder.path / "evidence.npz",
            weights=lambda run_id: RunFolder(self.results, run_id).weights_path,
            should_stop=should_stop,
            on_progress=lambda told: folder.write_progress(told, lease),
        )


class Stop(threading.Event):
    """Set when this process is asked to end: by Ctrl-C, by SIGTERM, or by SLURM's warning that the job will end."""

    warned = False

    def on_signals(self) -> None:
        """Listen to signals, from now on and in place of whoever did before."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.set())
        if own_job():
            signal.signal(WARNING, lambda *_: self.warn())
            os.register_at_fork(after_in_child=lambda: signal.signal(WARNING, signal.SIG_IGN))

    def warn(self) -> None:
        """Remember that the job's end was announced."""
        self.warned = True
        self.set()

    def cause(self, warning_s: float) -> str:
        """Why, as attempts say it: a warning that comes so long before the time limit is about that limit."""
        if not self.warned:
            return "interrupted"
        left = seconds_left()
        return "time_out" if left is not None and left <= warning_s + SIGNAL_GRAIN_S else "preempted"


def prepare_process(threads: int, device: str) -> None:
    """Fix what would otherwise let the machine's load or settings into the numbers."""
    import torch

    torch.set_num_threads(threads)
    if device.startswith("cuda"):
        # Read when CUDA starts; without it sums inside matrix products may depend on what else the GPU does.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def may_become_free(folder: RunFolder) -> bool:
    """Whether a run has come free since it was asked for, or its holder is silent or an earlier start of this job.

    Only time can tell whether such a holder has died. Somebody must stay to take the run then, as no launch may be
    there to start another worker.
    """
    state = folder.state()
    if state == "pending":
        return True
    owner = folder.owner()
    if owner is None or state != "running":
        return False
    return silence(folder.lease_path, owner) > SILENT_S or cause_of_death(owner, own_job()) == "requeued"


def work_on(folder: RunFolder, worker: Worker, stop: Stop) -> bool:
    """Take one run if it is free, train it and publish its result; False when there was nothing to take."""
    if stop.is_set():
        return False
    lease = folder.take(device=worker.device, provenance=provenance() | own_job())
    if lease is None:
        return False
    with said_to(folder.log_path):
        try:
            result = train(folder, lease, worker, stop)
        except Interrupted:
            folder.abandon(lease, stop.cause(worker.warning_s))
            return False
        except StoreError:  # not the run's failure: a spec of other code than ours, or a disk that is full
            folder.abandon(lease)
            raise
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


def train(folder: RunFolder, lease: Lease, worker: Worker, stop: Stop) -> RunResult:
    """Execute the spec of a folder, with everything a person may want to know about how it was made."""
    from harness.training.execute import execute

    spec = folder.read_spec()
    print(f"{utc_now()} begin {spec.run_id}: {spec.objective.name}, seed {spec.seed}, on {lease.owner.host}")
    result = execute(spec, worker.context(folder, lease, stop))
    print(f"{utc_now()} end {spec.run_id}: {result.state}", result.traceback or "")
    when = {"began": lease.owner.begun, "ended": utc_now()}
    here: dict[str, Any] = provenance() | {"device": worker.device, "threads": worker.threads} | own_job() | when
    code = code_of_parts(spec.to_dict())
    return replace(result, provenance=here | ({"parts": code} if code else {}) | result.provenance)


@contextmanager
def said_to(path: Path) -> Iterator[None]:
    """What Python code prints inside is appended to a file, line by line."""
    with open(path, "a", encoding="utf-8", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        yield
