"""Workers on a SLURM cluster: submitted as job arrays through submitit, watched by one call of squeue.

submitit is used as a starter only. Its job states need accounting, are up to ten minutes old and remember what was
never final, so what was achieved is read from the run folders, and which workers live from squeue, by the name that
all jobs of one study and results folder share. So a launch that is started again finds the jobs of the one before.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from harness.dispatch.site import Site
from harness.errors import EnvironmentLacks

PATIENCE_S = 30
"""How long a command of SLURM may take; a controller that is away answers after about ten seconds."""

NEVER_TIMED_OUT = 10**6
"""submitit counts time-outs and gives up; ours are no failures, because a run goes on where it was."""

ENDED = (
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "BOOT_FAIL",
    "DEADLINE",
    "OUT_OF_MEMORY",
    "REVOKED",
)

HOPELESS = {
    "PartitionTimeLimit": "`minutes` is above the partition's limit",
    "PartitionNodeLimit": "the partition has no such nodes",
    "PartitionConfig": "the partition cannot give what is asked for",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is inactive",
    "BadConstraints": "no node has what is asked for",
    "AccountNotAllowed": "the account may not use this partition",
    "QOSNotAllowed": "the qos may not be used here",
    "InvalidAccount": "the account is not known",
    "InvalidQOS": "the qos is not known",
    "AssocGrpCPUMinutesLimit": "the account's budget is used up",
    "AssocGrpGRESMinutes": "the account's budget is used up",
    "QOSMaxWallDurationPerJobLimit": "`minutes` is above the limit of the qos",
    "JobHeldUser": "held; `scontrol release` lets it go",
    "JobHeldAdmin": "held by an administrator",
    "launch failed requeued held": "held after its node failed to start it; `scontrol release` lets it go",
}
"""Reasons for which a job may wait for ever, with what is meant."""


@dataclass(frozen=True)
class Job:
    """One worker as squeue sees it: `id` such as 123_4, its state, and why it waits, if it does."""

    id: str
    state: str
    reason: str = ""

    @property
    def waiting(self) -> bool:
        """Whether it does not run yet, or not again yet."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "SUSPENDED", "CONFIGURING")

    @property
    def hopeless(self) -> str | None:
        """In words, why it may wait for ever; None where it is only its turn that has not come."""
        if not self.waiting:
            return None
        return next((f"{key}: {words}" for key, words in HOPELESS.items() if key in self.reason), None)


# Submitting -----------------------------------------------------------------------------------------------------------


def submit(task: Callable[[], Any], count: int, name: str, folder: Path, site: Site) -> None:
    """Submit `count` jobs that each call `task`, in arrays as large as the cluster allows.

    `task` must be picklable. Pickles and logs go into `folder`, which all nodes must see. Raises EnvironmentLacks where
    SLURM cannot be reached or refuses the job.
    """
    executor = _executor(name, folder, site)
    most = max_array_size()
    for first in range(0, count, most):
        with _told_plainly(site), executor.batch():
            for _ in range(min(most, count - first)):
                executor.submit(task)


def _executor(name: str, folder: Path, site: Site) -> submitit.SlurmExecutor:
    check_installed()
    executor = submitit.SlurmExecutor(folder, max_num_timeout=NEVER_TIMED_OUT, python=site.python)
    wanted = {
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "gpus_per_node": site.gpus or None,
        "mem": f"{round(site.memory_gb * 1024)}M" if site.memory_gb else None,
    }
    executor.update_parameters(
        job_name=name,
        time=site.minutes,
        cpus_per_task=site.cpus,
        ntasks_per_node=1,
        array_parallelism=site.parallel,
        signal_delay_s=site.signal_s,
        setup=[f"export {variable}={site.cpus}" for variable in THREAD_VARIABLES] + site.setup,
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, "open-mode": "append", **site.extra},
        **{key: value for key, value in wanted.items() if value is not None},
    )
    return executor


THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def _told_plainly(site: Site) -> Iterator[None]:
    try:
        yield
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, OSError) as error:
        said = re.findall(r"sbatch: error: (.*)", str(error)) or [str(error).strip().splitlines()[-1]]
        asked = ", ".join(f"{key} {value}" for key, value in site.model_dump(exclude_defaults=True).items())
        raise EnvironmentLacks(f"SLURM refused the workers: {'; '.join(said)}; asked for were {asked}") from error


def check_installed() -> None:
    """Raises EnvironmentLacks where SLURM's commands are not there."""
    missing = [command for command in ("sbatch", "squeue", "scancel", "scontrol") if shutil.which(command) is None]
    if missing:
        raise EnvironmentLacks(
            f"there is no SLURM here: {', '.join(missing)} not found; use `--backend local`, or run this on a login "
            "node of the cluster"
        )


def max_array_size() -> int:
    """How many jobs one array may have; SLURM counts the indices, which begin at 0."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _said_by("scontrol", "show", "config"))
    return max(1, int(found.group(1)) - 1) if found else 1000


# Watching and ending --------------------------------------------------------------------------------------------------


def jobs_named(name: str) -> list[Job]:
    """All jobs of this name that have not ended, whoever submitted them, array elements one by one.

    Raises EnvironmentLacks where the controller does not answer: then nothing is known, which is not the same as none.
    """
    lines = _said_by("squeue", "--noheader", "--array", f"--name={name}", "--format=%i|%T|%r").splitlines()
    jobs = [Job(*(part.strip() for part in line.split("|", 2))) for line in lines if line.count("|") >= 2]
    return [job for job in jobs if not job.state.startswith(ENDED)]


def end_jobs(name: str) -> None:
    """Take the waiting jobs of this name out of the queue and ask the running ones to keep a checkpoint and end.

    Raises EnvironmentLacks where the controller does not answer.
    """
    _said_by("scancel", "--state=PENDING", f"--name={name}")
    _said_by("scancel", "--signal=TERM", "--state=RUNNING", f"--name={name}")


def _said_by(*command: str) -> str:
    """What a command of SLURM prints. Raises EnvironmentLacks when it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError as error:
        raise EnvironmentLacks(f"there is no SLURM here: {command[0]} not found") from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentLacks(f"{command[0]} has not answered for {PATIENCE_S} s; is the controller up?") from error
    if done.returncode:
        raise EnvironmentLacks(f"{' '.join(command[:2])} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


# Inside a job ---------------------------------------------------------------------------------------------------------


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
        said = _said_by("squeue", "--noheader", f"--jobs={own_job()['slurm_job']}", "--format=%L").strip()
    except (EnvironmentLacks, KeyError):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", said)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def requeue_own_job() -> None:
    """Put the own job back into the queue; SLURM then ends this process. Raises EnvironmentLacks when it refuses."""
    _said_by("scontrol", "requeue", own_job()["slurm_job"])
