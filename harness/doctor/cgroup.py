"""Limits that a container or a scheduler has set on this process, which the counts of the machine do not show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROCESS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def cpu_quota(process: Path = PROCESS, mount: Path = MOUNT) -> float | None:
    """How many cores' worth of time this process may use, or None without a limit."""
    limits = []
    for folder in _folders("cpu", process, mount):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_left(process: Path = PROCESS, mount: Path = MOUNT) -> float | None:
    """Bytes until this process is ended for its memory, or None without a limit."""
    left = []
    for folder in _folders("memory", process, mount):
        for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            allowed, used = _text(folder / limit), _text(folder / usage)
            # Version 1 has a huge number for "no limit".
            if allowed.isdigit() and used.isdigit() and int(allowed) < 1 << 60:
                left.append(float(int(allowed) - int(used)))
    return min(left, default=None)


def _folders(controller: str, process: Path, mount: Path) -> Iterator[Path]:
    """The group of this process and all above it, in both versions; each may set a limit."""
    for line in _text(process).splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        roots = (mount / controller,) if number != "0" else (mount, mount / "unified")
        inside = PurePosixPath(path.lstrip("/"))
        for root in roots:
            yield from (root / group for group in (inside, *inside.parents))


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
