"""The folder of a test cluster: its configuration, key and state. Written at a start, emptied at a stop."""

import os
import random
import re
import secrets
import shutil
import socket
import stat
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

DEFAULT_FOLDER = Path("/tmp/harness-slurm")
TEMPLATE = Path(__file__).with_name("slurm.conf.in")
MARK = ".test-cluster"  # in the folder of every test cluster, also of a stopped one
LONGEST_SOCKET_NAME = 107  # bytes, for the kernel's unix sockets


class TestbedError(Exception):
    """The cluster cannot be started, stopped or changed as asked; the message says why and what would help."""

    __test__ = False  # no class of tests, whatever its name begins with


@dataclass(frozen=True)
class Settings:
    """What of the cluster can be chosen at its start; times in seconds.

    Nodes may declare more CPUs and memory than the machine has, and GPUs that are none: jobs that ask for some get
    their own CUDA_VISIBLE_DEVICES.
    """

    nodes: int = 2
    cpus: int = 4
    gpus: int = 0
    memory_mb: int = 64000
    max_array_size: int = 50  # indices of an array are below it
    grace: int = 10  # from the warning of a preempted job to its end
    requeue_wait: int = 5  # before a requeued job may start again
    node_timeout: int = 10  # until a silent node counts as failed

    def __post_init__(self) -> None:
        if self.requeue_wait < 5:
            raise TestbedError(f"requeue_wait {self.requeue_wait}: below 5, SLURM silently takes its default of 120")


def conf(folder: Path) -> Path:
    """What SLURM_CONF names."""
    return folder / "slurm.conf"


def node_names(folder: Path) -> list[str]:
    """The nodes of the cluster that was started in this folder."""
    return re.findall(r"^NodeName=(n\d+)", conf(folder).read_text(), flags=re.MULTILINE)


def settings_line(settings: Settings) -> str:
    """What tells in the configuration with which settings it was written."""
    return "settings: " + " ".join(f"{name}={value}" for name, value in asdict(settings).items())


def check_folder(folder: Path) -> None:
    """Root writes and removes here: only in a folder of its own, new or empty or made by an earlier start.

    Raises TestbedError for any other.
    """
    too_long = len(os.fsencode(f"{folder}/munge.socket")) - LONGEST_SOCKET_NAME
    if too_long > 0:
        raise TestbedError(f"{folder}: name one that is shorter by {too_long} bytes, for the sake of the socket in it")
    if not folder.exists():
        return
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise TestbedError(f"{folder} is a link or somebody else's; name a folder of your own")
    if not (folder / MARK).exists() and any(folder.iterdir()):
        raise TestbedError(f"{folder} holds something else than a test cluster; name an empty or a new folder")


def write_folder(folder: Path, settings: Settings) -> None:
    """Everything the daemons read. Raises TestbedError where `check_folder` does."""
    check_folder(folder)
    for name in ("log", "run", "spool", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    if settings.gpus:
        _write_gpus(folder, settings.gpus)
    conf(folder).write_text(_configuration(folder, settings))


def clear_folder(folder: Path) -> None:
    """Remove everything but the logs. Raises TestbedError where `check_folder` does."""
    check_folder(folder)
    for entry in folder.iterdir() if folder.exists() else ():
        if entry.is_dir() and entry.name != "log":
            shutil.rmtree(entry)
        elif entry.name not in ("log", MARK):
            entry.unlink()


def _write_gpus(folder: Path, count: int) -> None:
    """Devices that are no GPUs but copies of /dev/null: SLURM refuses plain files in their place."""
    for index in range(count):
        os.mknod(folder / f"gpu{index}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-{count - 1}]\n")


def _configuration(folder: Path, settings: Settings) -> str:
    controller_port, *ports = _free_ports(1 + settings.nodes)
    here = "NodeHostname=localhost NodeAddr=127.0.0.1"
    return Template(TEMPLATE.read_text()).substitute(
        asdict(settings),
        folder=folder,
        settings=settings_line(settings),
        controller_port=controller_port,
        first_job_id=int(time.time()) * 20 % 60_000_000 + 1,
        gres_types="GresTypes=gpu" if settings.gpus else "",
        gres=f"Gres=gpu:{settings.gpus}" if settings.gpus else "",
        node_lines="\n".join(f"NodeName=n{number} {here} Port={port}" for number, port in enumerate(ports, start=1)),
    )


def _free_ports(count: int) -> range:
    """Neighboring ports that nobody listens on, below those that the kernel gives to outgoing connections."""
    for _ in range(100):
        first = random.randrange(10_000, 32_000)
        ports = range(first, first + count)
        if all(map(_is_free, ports)):
            return ports
    raise TestbedError(f"found no {count} free neighboring ports between 10000 and 32000")


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
