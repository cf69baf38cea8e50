"""Inside a job of SLURM: which one it is, how long it still may, and how it gets back into the queue."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

from harness.dispatch.commands import ClusterSilent, is_silence, said_by
from harness.errors import EnvironmentLacks

WARNING = signal.SIGUSR2
"""What submitit has SLURM send before a time limit; with `preempt_send_user_signal` also before a preemption."""

REQUEUE_FOR_S, REQUEUE_EVERY_S = 60.0, 3.0
"""A controller that is away is asked again; a job that could not be put back must be replaced by a launch."""


def own_job() -> dict[str, Any]:
    """The job that this process is part of, for its attempts: id and how often it was started before; {} outside."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return {}
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    name = f"{array}_{task}" if array and task else job
    return {"slurm_job": name, "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0"))}


def seconds_left() -> float | None:
    """Until the time limit of the own job; None where nobody knows."""
    try:
        said = said_by("squeue", "--noheader", f"--jobs={own_job()['slurm_job']}", "--format=%L").strip()
    except (EnvironmentLacks, KeyError):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", said)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def requeue_own_job() -> None:
    """Put the own job back into the queue; SLURM then ends this process.

    Raises ClusterSilent when the controller was away for a minute, or refuses as for a job that may not be requeued.
    """
    # SLURM signals everything in the job, and scontrol would die of a warning that it does not ignore.
    signal.signal(WARNING, signal.SIG_IGN)
    until = time.monotonic() + REQUEUE_FOR_S
    while True:
        try:
            said_by("scontrol", "requeue", own_job()["slurm_job"])
            return
        except ClusterSilent as error:
            if time.monotonic() > until or not is_silence(str(error)):
                raise
            time.sleep(REQUEUE_EVERY_S)
