"""Workers on a SLURM cluster: submitted as job arrays through submitit, watched by one call of squeue.

submitit is used as a starter only. Its job states need accounting, are up to ten minutes old and remember what was
never final, so what was achieved is read from the run folders, and which workers live from squeue, by the name that
all jobs of one study and results folder share. So a launch that is started again finds the jobs of the one before.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from harness.dispatch.commands import ClusterSilent, check_installed, is_silence, said_by
from harness.dispatch.site import Site
from harness.errors import EnvironmentLacks

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


def submit(task: Callable[[], Any], count: int, name: str, folder: Path, site: Site, *, of: int = 0) -> None:
    """Submit `count` jobs that each call `task`, in arrays as large as the cluster allows.

    They are `count` of altogether `of` workers, and get their share of what the site lets run at a time. `task` must be
    picklable. Pickles and logs go into `folder`, which must be new and seen by all nodes. Raises EnvironmentLacks where
    SLURM refuses the job, ClusterSilent where it does not answer; what was not submitted leaves nothing behind.
    """
    check_installed()
    most = max_array_size()
    for first in range(0, count, most):
        size = min(most, count - first)
        place = folder if first == 0 else folder.with_name(f"{folder.name}-{first}")
        executor = _executor(name, place, site, parallel=max(1, site.parallel * size // max(of, count)))
        with _told_plainly(site, place), executor.batch():
            for _ in range(size):
                executor.submit(task)


def _executor(name: str, folder: Path, site: Site, parallel: int) -> submitit.SlurmExecutor:
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
        array_parallelism=parallel,
        signal_delay_s=site.signal_s,
        setup=_setup(folder, site),
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, "open-mode": "append", **site.extra},
        **{key: value for key, value in wanted.items() if value is not None},
    )
    return executor


def _setup(folder: Path, site: Site) -> list[str]:
    # submitit refuses to write where a start that was killed has left half of what it wrote.
    half = f'{shlex.quote(str(folder))}/"${{SLURM_ARRAY_TASK_ID:+${{SLURM_ARRAY_JOB_ID}}_}}'
    half += '${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"_*.save_tmp'
    return [f"rm -f {half}", *(f"export {variable}={site.cpus}" for variable in THREAD_VARIABLES), *site.setup]


THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def _told_plainly(site: Site, folder: Path) -> Iterator[None]:
    try:
        yield
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = "; ".join(re.findall(r"sbatch: error: (.*)", str(error)) or [str(error).strip().splitlines()[-1]])
        if is_silence(said):
            raise ClusterSilent(f"sbatch failed: {said}") from error
        asked = ", ".join(f"{key} {value}" for key, value in site.model_dump(exclude_defaults=True).items())
        raise EnvironmentLacks(f"SLURM refused the workers: {said}; asked for were {asked}") from error


def max_array_size() -> int:
    """How many jobs one array may have: the indices, which begin at 0, are below this."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", said_by("scontrol", "show", "config"))
    return max(1, int(found.group(1))) if found else 1000


# Watching and ending --------------------------------------------------------------------------------------------------


def jobs_named(name: str) -> list[Job]:
    """All jobs of this name that have not ended, whoever submitted them, array elements one by one.

    Raises EnvironmentLacks where the controller does not answer: then nothing is known, which is not the same as none.
    """
    lines = said_by("squeue", "--noheader", "--array", f"--name={name}", "--format=%i|%T|%r").splitlines()
    jobs = [Job(*(part.strip() for part in line.split("|", 2))) for line in lines if line.count("|") >= 2]
    return [job for job in jobs if not job.state.startswith(ENDED)]


def end_jobs(name: str) -> None:
    """Take the waiting jobs of this name out of the queue and ask the running ones to keep a checkpoint and end.

    Raises EnvironmentLacks where the controller does not answer.
    """
    said_by("scancel", "--state=PENDING", f"--name={name}")
    said_by("scancel", "--signal=TERM", "--state=RUNNING", f"--name={name}")
