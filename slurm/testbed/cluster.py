"""A real SLURM on this machine, for tests: munge, one controller, several nodes, all below one folder.

Needs root and the packages of `install`, no systemd, and touches nothing below /etc: every process gets its
configuration by SLURM_CONF. Several such clusters may run side by side, each in its own folder and on its own ports.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from folder import Settings, TestbedError, check_folder, clear_folder, conf, node_names, settings_line, write_folder
from processes import DAEMONS, daemons, end, end_jobs

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def start(folder: Path, settings: Settings) -> None:
    """Have the cluster up with all nodes ready for jobs: by a whole start, or by what is missing of it.

    Raises TestbedError where something is missing, or the cluster is up with other settings.
    """
    _check_machine()
    if is_up(folder):
        _check_same_settings(folder, settings)
    else:
        stop(folder)
        write_folder(folder, settings)
    try:
        _run_daemons(folder)
        _wait_for_nodes(folder)
    except BaseException:
        stop(folder)
        raise


def stop(folder: Path) -> None:
    """End the cluster's daemons and jobs, and remove everything but the logs; no harm where nothing runs."""
    check_folder(folder)
    for name in ("slurmctld", "slurmd"):
        end(daemons(folder, name))
    end_jobs(folder)
    end(daemons(folder, "munged"))
    clear_folder(folder)


def is_up(folder: Path) -> bool:
    """Whether a cluster runs in this folder."""
    return bool(daemons(folder, "slurmctld"))


def node_down(folder: Path, node: str) -> None:
    """Let a node fail at once, with everything that runs on it. Raises TestbedError for a node that is none."""
    node_cut(folder, node)
    end_jobs(folder, node)


def node_cut(folder: Path, node: str) -> None:
    """Cut a node off: the controller hears no more of it, and its jobs live on."""
    _check_node(folder, node)
    end(daemons(folder, "slurmd", node), patience=0)


def node_up(folder: Path, node: str) -> None:
    """Bring a node back, which ends those of its jobs that the controller has given up."""
    _check_node(folder, node)
    _run_node(folder, node)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise TestbedError("only root can start the test cluster")
    missing = [name for name in (*DAEMONS, "scontrol") if not shutil.which(name, path=PATH)]
    if missing:
        raise TestbedError(f"{', '.join(missing)} not found; run {Path(__file__).with_name('install')} first")


def _check_same_settings(folder: Path, settings: Settings) -> None:
    if settings_line(settings) not in conf(folder).read_text():
        raise TestbedError(f"a cluster with other settings runs in {folder}; stop it first")


def _check_node(folder: Path, node: str) -> None:
    if not is_up(folder):
        raise TestbedError(f"no cluster is up in {folder}")
    names = node_names(folder)
    if node not in names:
        raise TestbedError(f"no node {node!r} in {folder}; there are: {', '.join(names)}")


def _run_daemons(folder: Path) -> None:
    files = {"key-file": "munge.key", "socket": "munge.socket", "seed-file": "munge.seed"}
    files |= {"pid-file": "run/munged.pid", "log-file": "log/munged.log"}
    # Forced, as munged insists on a folder that every user can enter; but only root uses this cluster.
    _run(folder, "munged", "--force", *(f"--{option}={folder / name}" for option, name in files.items()))
    _run(folder, "slurmctld", "-f", str(conf(folder)))
    for node in node_names(folder):
        _run_node(folder, node)


def _run_node(folder: Path, node: str) -> None:
    _run(folder, "slurmd", "-f", str(conf(folder)), "-N", node, node=node)


def _run(folder: Path, daemon: str, *arguments: str, node: str | None = None) -> None:
    """Start a daemon, unless it runs. Comes back soon, as it goes on in the background.

    The supervisors of a node's jobs inherit the node's name from the environment of its daemon: so they are found.
    """
    if daemons(folder, daemon, node):
        return
    variables = _environment(folder) | ({"SLURMD_NODENAME": node} if node else {})
    log = folder / "log" / f"{node or daemon}.start.log"
    with log.open("w") as output:
        done = subprocess.run(
            [daemon, *arguments], env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=30
        )
    if done.returncode:
        raise TestbedError(f"{daemon} {' '.join(arguments)} failed; {folder}/log may tell more:\n{log.read_text()}")


def _wait_for_nodes(folder: Path, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while waiting := _states_of_unready_nodes(folder):
        if time.monotonic() > until:
            raise TestbedError(f"nodes not ready after {seconds:.0f} s: {waiting}; {folder}/log may tell why")
        for node, state in waiting.items():
            if state.startswith(("down", "drain")):
                _ask(folder, "scontrol", "update", f"NodeName={node}", "State=RESUME")
        time.sleep(0.1)


def _states_of_unready_nodes(folder: Path) -> dict[str, str]:
    answer = _ask(folder, "sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %t")
    states = dict(line.split() for line in answer.splitlines())
    known = {node: states.get(node, "unknown") for node in node_names(folder)}
    return {node: state for node, state in known.items() if state not in ("idle", "mix", "alloc", "comp")}


def _ask(folder: Path, *command: str) -> str:
    """What a SLURM command prints; nothing where the controller does not answer yet."""
    try:
        return subprocess.run(command, env=_environment(folder), capture_output=True, text=True, timeout=3).stdout
    except subprocess.TimeoutExpired:
        return ""


def _environment(folder: Path) -> dict[str, str]:
    """Little, so that nothing of the caller's environment reaches the daemons."""
    return {"PATH": PATH, "SLURM_CONF": str(conf(folder)), "LC_ALL": "C.UTF-8"}
