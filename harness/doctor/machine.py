"""Checks of the machine: GPUs, cores, threads, memory, open files, the home folder and the weights in it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from harness.doctor.cgroup import cpu_quota, memory_left
from harness.doctor.probe import facts
from harness.doctor.verdict import GIB, Verdict, Where, gib, ok, problem, warning
from harness.errors import EnvironmentLacks
from harness.programs import ask
from harness.provenance import usable_cores

ENOUGH_FILES = 1024
ENOUGH_MEMORY = 4 * GIB


def gpus(where: Where) -> Verdict:
    """The GPUs by torch, with their memory, and the driver."""
    found = facts("torch")
    driver, names = driver_and_names()
    if not found["gpus"]:
        return without_gpus(found, driver, names, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return with_gpus(found["gpus"], driver)


def driver_and_names() -> tuple[str, list[str]]:
    """The version of NVIDIA's driver and the names of its GPUs, by nvidia-smi; nothing where it does not tell."""
    if not shutil.which("nvidia-smi"):
        return "", []
    try:
        answer = ask(["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"])
    except EnvironmentLacks:
        return "", []
    rows = [line.split(", ", 1) for line in answer.out.splitlines() if ", " in line] if answer.code == 0 else []
    return (rows[0][0], [row[1] for row in rows]) if rows else ("", [])


def without_gpus(found: dict[str, Any], driver: str, names: list[str], visible: str | None) -> Verdict:
    """The verdict where torch sees no GPU: fine where there is none, a problem where the driver has some."""
    if not names:
        return ok("none; runs are trained on the CPU")
    seen = f"the driver {driver} has {len(names)} ({names[0]}), torch {found['version']} sees none"
    if visible is not None:
        return warning(f"{seen}, because CUDA_VISIBLE_DEVICES is {visible!r}", "unset CUDA_VISIBLE_DEVICES to use them")
    reason = found["why_no_gpu"]["error"] if isinstance(found["why_no_gpu"], dict) else "it does not say why"
    if not found["cuda"]:
        return problem(f"{seen}: {reason}", "install a build of torch with CUDA")
    return problem(
        f"{seen}: {reason}",
        f"update the driver to one for CUDA {found['cuda']}, or install a torch for the driver's CUDA",
    )


def with_gpus(devices: list[dict[str, Any]], driver: str) -> Verdict:
    """The verdict on the GPUs that torch sees."""
    told = f"{'; '.join(map(_device_text, enumerate(devices)))}{f'; driver {driver}' if driver else ''}"
    broken = [number for number, device in enumerate(devices) if device["computes"] is not True]
    if broken:
        error = devices[broken[0]]["computes"]
        reason = error["error"] if isinstance(error, dict) else "it computes wrongly"
        remedy = "leave it out by CUDA_VISIBLE_DEVICES, end what occupies it, or install a torch built for it"
        return problem(f"GPU {broken[0]} cannot be used ({reason}): {told}", remedy)
    busy = [number for number, device in enumerate(devices) if _is_busy(device["memory"])]
    if busy:
        shown = ", ".join(map(str, busy))
        return warning(
            f"more than half of the memory is taken on GPU {shown}: {told}",
            "end what occupies it (nvidia-smi names it), or choose others by CUDA_VISIBLE_DEVICES",
        )
    return ok(told)


def _is_busy(memory: Any) -> bool:
    """Whether more than half of it is taken: [free, total], or why it is not known."""
    return isinstance(memory, list) and memory[0] < memory[1] / 2


def _device_text(numbered: tuple[int, dict[str, Any]]) -> str:
    number, device = numbered
    memory = device["memory"]
    shown = f"{gib(memory[0])} of {gib(memory[1])} free" if isinstance(memory, list) else "memory unknown"
    return f"{number}: {device['name']} ({device['capability']}), {shown}"


def cores(where: Where) -> Verdict:
    """How many cores this process may use."""
    usable, quota = usable_cores(), cpu_quota()
    told = f"{usable} of {os.cpu_count()} may be used"
    if quota is not None and quota < usable - 0.5:
        return warning(
            f"{told}, but this process only gets the time of {quota:g}, and `harness run` starts a worker for each",
            f"harness run --workers {max(1, int(quota))}",
        )
    return ok(told)


def threads(where: Where) -> Verdict:
    """What OMP_NUM_THREADS says, which rules wherever no `--threads` does."""
    value, usable = os.environ.get("OMP_NUM_THREADS"), usable_cores()
    if value is None:
        return ok("OMP_NUM_THREADS is not set; workers get theirs by --threads, other commands use every core")
    numbers = re.fullmatch(r"\s*(\d+)\s*(,\s*\d+\s*)*", value)
    if not numbers or int(numbers[1]) == 0:
        return warning(f"OMP_NUM_THREADS is {value!r}, which is no number of threads", "unset OMP_NUM_THREADS")
    if int(numbers[1]) > usable:
        found = f"OMP_NUM_THREADS is {value}, but only {usable} cores may be used"
        return warning(found, f"export OMP_NUM_THREADS={usable}, or unset it")
    return ok(f"OMP_NUM_THREADS is {value}; workers get theirs by --threads")


def memory(where: Where) -> Verdict:
    """How much memory is free, for this process."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    left = memory_left()
    if "MemAvailable" not in values:
        return ok("this system does not tell")
    free = min(values["MemAvailable"], left if left is not None else float("inf"))
    told = f"{gib(free)} free, of {gib(values['MemTotal'])}"
    if left is not None and free == left:
        told = f"{gib(free)} free, until the limit that a container or a scheduler has set"
    if free < ENOUGH_MEMORY:
        return warning(
            told, "start fewer workers (--workers), end other programs, or ask the scheduler for more memory"
        )
    return ok(told)


def open_files(where: Where) -> Verdict:
    """How many files a process may have open."""
    try:
        import resource
    except ImportError:
        return ok("this system has no such limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < ENOUGH_FILES:
        most = "as you like" if hard == resource.RLIM_INFINITY else str(min(hard, 4 * ENOUGH_FILES))
        return warning(f"a process may have only {soft} files open", f"ulimit -n {most}")
    return ok(f"a process may have {'any number of' if soft == resource.RLIM_INFINITY else soft} files open")


def home(where: Where) -> Verdict:
    """Whether the home folder can be written: libraries keep caches and settings there."""
    folder = Path.home()
    reason = why_not_writable(folder)
    if reason or not folder.is_dir():
        return warning(
            f"{folder} cannot be written: {reason or 'it is not there'}",
            "export HOME, or TORCH_HOME, XDG_CACHE_HOME and MPLCONFIGDIR, as folders that you may write to",
        )
    return ok(f"{folder} can be written")


def weights(where: Where) -> Verdict:
    """Whether downloaded weights can be kept, and which are there."""
    folder = Path(facts("torch")["hub"]) / "checkpoints"
    files = sorted(file.name for file in folder.glob("*.pth"))
    names = f": {', '.join(files[:4])}{', ...' if len(files) > 4 else ''}" if files else ""
    there = f"{len(files)} files of ready weights in {folder}{names}"
    reason = why_not_writable(folder)
    if reason:
        return warning(f"{there}; none can be added: {reason}", "export TORCH_HOME as a folder that you may write to")
    return ok(f"{there}; more can be added")


def why_not_writable(folder: Path) -> str:
    """Why a folder, or the nearest one above it that is there, takes no file; nothing where it does."""
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        return f"{there}: {error.strerror or error}"
    return ""
