"""Which processes belong to a test cluster: told from /proc, so that nothing else is ever ended.

A daemon names the cluster's folder on its command line; a job has the cluster's SLURM_CONF in its environment. Both
hold for as long as the process lives, whatever has become of pid files, and a recycled process id cannot meet them.
"""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")


def daemons(folder: Path, name: str | None = None, node: str | None = None) -> list[int]:
    """Process ids of the cluster's living daemons; only those of this name, or the slurmd of this node."""
    wanted = (name,) if name else DAEMONS
    return [
        pid
        for pid in _all_processes()
        if (line := _command_line(pid))
        and Path(line[0]).name in wanted
        and any(f"{folder}/" in argument for argument in line[1:])
        and (node is None or line[-2:] == ["-N", node])
    ]


def job_processes(folder: Path, node: str | None = None) -> list[int]:
    """Process ids of the cluster's jobs and their supervisors (slurmstepd); only those on this node."""
    return [
        pid
        for pid in _all_processes()
        if (variables := _environment(pid)).get("SLURM_CONF") == f"{folder}/slurm.conf"
        and ("SLURM_JOB_ID" in variables or _is_supervisor(pid))
        and node in (None, variables.get("SLURMD_NODENAME"))
    ]


def end_jobs(folder: Path, node: str | None = None) -> None:
    """Force the end of everything that `job_processes` finds, also of what is started meanwhile."""
    while pids := job_processes(folder, node):
        end(pids, patience=0)


def end(pids: Iterable[int], patience: float = 3.0) -> None:
    """Ask the processes to end, and force those that have not after `patience` seconds; 0 forces at once."""
    living = list(pids)
    if patience:
        _send(living, signal.SIGTERM)
        living = _wait(living, patience)
    _send(living, signal.SIGKILL)
    _wait(living, 5.0)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait(pids: list[int], seconds: float) -> list[int]:
    """Those that still live after at most `seconds`."""
    until = time.monotonic() + seconds
    while (pids := [pid for pid in pids if _command_line(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    return pids


def _all_processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]


def _command_line(pid: int) -> list[str]:
    """Empty for a process that is gone, or dead and not yet waited for by its parent."""
    return [part for part in _read(pid, "cmdline").split("\0") if part]


def _environment(pid: int) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in _read(pid, "environ").split("\0") if "=" in entry)


def _is_supervisor(pid: int) -> bool:
    return _read(pid, "comm").strip() == "slurmstepd"


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
