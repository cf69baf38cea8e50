"""Where numbers come from: which code, on which machine, by which command. Cheap enough to stand on every attempt."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import harness
from harness.registry import LOADERS
from harness.specs import KINDS, SPLITS

LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "faiss-gpu",
    "faiss-gpu-cuvs",
    "faiss-cpu",
    "pandas",
    "sqlalchemy",
    "submitit",
    "timm",
    "pytorch-metric-learning",
)
"""Packages that can move a number or a result; those that are not installed are left out."""

_LIBRARY = {prefix for _, prefix in LOADERS}
"""What stands before a colon and is no lab's package: its version is among those of the libraries."""


def provenance() -> dict[str, Any]:
    """Plain JSON values under fixed names.

    `version`, `commit` and `dirty` (a digest of uncommitted changes) of the harness, the latter two None when it does
    not run from a checkout; `python`, `libraries` (name -> version), `host`, `cpu`, `cores`, `threads`, `command`.
    """
    return {**_fixed(), "libraries": dict(_libraries()), "threads": os.environ.get("OMP_NUM_THREADS")}


def code_of_parts(spec: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The code of those parts of a run's spec that are somebody else's: import path -> what is known of it.

    `version` of its package, `commit` and `dirty` of its checkout, `sha256` of all Python files of its package.
    """
    chosen = [spec[kind] for kind in KINDS if spec.get(kind)]
    chosen += [family for split in SPLITS for family in spec["evaluation"].get(split, [])]
    names = sorted({choice["name"] for choice in chosen if ":" in choice["name"]})
    return {name: dict(_code_of(name.partition(":")[0])) for name in names if name.partition(":")[0] not in _LIBRARY}


@cache
def _code_of(module: str) -> dict[str, str]:
    top = module.partition(".")[0]
    files = _files_of(top)
    told: dict[str, str | None] = {"version": _version_of(top)}
    if files:
        file = files[0].resolve()
        folder = next((above for above in file.parents if (above / ".git").exists()), None)
        # A package that is installed below somebody's checkout, as in its .venv, is no part of it.
        if folder and _git(folder, "ls-files", "--error-unmatch", "--", str(file)) is not None:
            told["commit"], told["dirty"] = _checkout(folder, "*.py")
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.name.encode() + b"\0" + _content(file))
        told["sha256"] = digest.hexdigest()
    return {name: value for name, value in told.items() if value}


def _files_of(package: str) -> list[Path]:
    """The Python files of a package, or of a module that is one file."""
    with suppress(ImportError, ValueError, AttributeError):
        found = importlib.util.find_spec(package)
        folders = list(found.submodule_search_locations or ()) if found else []
        if folders:
            return sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
        if found and found.origin and Path(found.origin).is_file():
            return [Path(found.origin)]
    return []


def _version_of(package: str) -> str | None:
    names = importlib.metadata.packages_distributions().get(package, [])
    return importlib.metadata.version(names[0]) if names else None


@cache
def _fixed() -> dict[str, Any]:
    commit, dirty = _checkout(Path(harness.__file__).resolve().parents[1])
    return {
        "version": harness.__version__,
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "host": socket.gethostname(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "command": _without_passwords(shlex.join(sys.argv)),
    }


@cache
def _libraries() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _checkout(folder: Path, part: str = "harness") -> tuple[str | None, str | None]:
    """Commit and digest of what differs from it; (None, None) outside a checkout, without git, or if git refuses."""
    if not (folder / ".git").exists():
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    changes = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--binary")
    untracked = _git(folder, "ls-files", "--others", "--exclude-standard", "--", part)
    digest = hashlib.sha256(changes or b"")
    for name in sorted((untracked or b"").decode(errors="surrogateescape").splitlines()):
        digest.update(name.encode(errors="surrogateescape") + b"\0" + _content(folder / name))
    return commit.decode().strip(), digest.hexdigest()[:16] if changes or untracked else None


def _git(folder: Path, *arguments: str) -> bytes | None:
    # No lock is taken and no hook or helper of the repository is run: many workers ask at the same time.
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.quotepath=false")
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *quiet, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=10,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _without_passwords(command: str) -> str:
    # Provenance is published with results; a database URL on the command line may hold a password.
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", command)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_cores() -> int:
    """The cores that this process may use, which a scheduler may have made fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
