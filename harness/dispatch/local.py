"""Workers on this machine, started through submitit's local executor.

That executor has no queue and its job states mislead (a process that dies by `_exit` counts as finished). It is used as
a starter only: exactly as many jobs as there are slots, judged by whether the process lives. What was achieved is read
from the run folders.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from harness.errors import EnvironmentLacks

YEAR_MIN = 365 * 24 * 60
"""submitit ends a local job after two minutes unless told otherwise; our runs are as long as they are."""


@dataclass(frozen=True)
class LocalWorker:
    """One worker process on this machine."""

    job: Any

    def alive(self) -> bool:
        """Whether its process still runs."""
        return not self.job.done()

    def stop(self) -> None:
        """Ask it to keep its checkpoint and end; submitit's controller passes the signal on."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and what it started at once."""
        self._signal(signal.SIGINT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(self.job.job_id), number)  # a local job's id is the process id of its controller

    def ended_well(self) -> bool:
        """Whether it came to its own end; False for one that was killed.

        Raises EnvironmentLacks with the exception that ended it, such as a full disk.
        """
        if not Path(self.job.paths.result_pickle).exists():
            return False
        error = self.job.exception()
        if error is not None:
            raise EnvironmentLacks(f"a worker stopped: {str(error).strip().splitlines()[-1]}")
        return True

    def log_tail(self, lines: int = 15) -> str:
        """The end of what it printed to stderr, to explain a worker that died."""
        path = Path(self.job.paths.stderr)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def start_worker(task: Callable[[], Any], logs: Path, *, threads: int, gpu: int | None) -> LocalWorker:
    """Start one process that calls `task`, which must be picklable and small.

    It sees `threads` cores, and one GPU or none.
    """
    executor = submitit.LocalExecutor(folder=str(logs))
    gpus = {"gpus_per_node": 1, "visible_gpus": (gpu,)} if gpu is not None else {}
    executor.update_parameters(timeout_min=YEAR_MIN, **gpus)
    with environment(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads):
        return LocalWorker(executor.submit(task))


@contextlib.contextmanager
def environment(**values: object) -> Iterator[None]:
    """Environment variables for the processes started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
