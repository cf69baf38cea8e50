"""Checks of what is installed: Python, packages, torch, torchvision, faiss, and which code this is."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import harness
from harness.doctor.probe import facts
from harness.doctor.verdict import Verdict, Where, ok, problem, warning
from harness.provenance import provenance

OLDEST_PYTHON = (3, 11)

FAISS_BUILDS = ("faiss-gpu", "faiss-gpu-cuvs", "faiss-cpu")
"""Distributions of the same module, of which any will do, and of which there should be one."""

TOGETHER = "pip install -c constraints.txt -e . in a clone of the harness installs versions that work together"

ROOT = Path(harness.__file__).resolve().parents[1]


def python(where: Where) -> Verdict:
    """Whether the interpreter is new enough."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return problem(found, "make a virtual environment with Python 3.11 or newer")
    return ok(found)


def packages(where: Where) -> Verdict:
    """Whether everything that the harness requires is installed in a version that it can work with."""
    try:
        required = [Requirement(line) for line in metadata.requires("harness") or []]
    except metadata.PackageNotFoundError:
        return warning("the harness is not installed, so nothing says what it requires", TOGETHER)
    wrong = [text for requirement in required if (text := unmet(requirement))]
    if wrong:
        return problem("; ".join(wrong), TOGETHER)
    return ok(f"all {sum(_applies(requirement) for requirement in required)} that are required are installed")


def unmet(requirement: Requirement) -> str:
    """Why a requirement is not met, or nothing."""
    if not _applies(requirement):
        return ""
    names = FAISS_BUILDS if requirement.name in FAISS_BUILDS else (requirement.name,)
    versions = {name: version for name in names if (version := installed(name))}
    if not versions:
        return f"{requirement.name} is not installed"
    if not any(requirement.specifier.contains(version, prereleases=True) for version in versions.values()):
        name, version = next(iter(versions.items()))
        return f"{name} is {version}, right would be {requirement.specifier}"
    return ""


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def installed(name: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def constraints(where: Where) -> Verdict:
    """Whether the installed versions are those that were tested together."""
    file = ROOT / "constraints.txt"
    if not file.is_file():
        return ok("no constraints.txt here, the harness does not run from a clone")
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    pinned = [Requirement(line) for line in lines if line]
    return compared([(pin, installed(pin.name)) for pin in pinned if _applies(pin)])


def compared(pairs: Iterable[tuple[Requirement, str | None]]) -> Verdict:
    """The verdict on pins, each with the version that is installed; what is not installed may be optional."""
    there = [(pin, version) for pin, version in pairs if version]
    others = [
        f"{canonicalize_name(pin.name)} {version} ({pin.specifier})"
        for pin, version in there
        if not pin.specifier.contains(version, prereleases=True)
    ]
    if others:
        return warning(f"{len(others)} of {len(there)} differ from constraints.txt: {', '.join(others)}", TOGETHER)
    return ok(f"all {len(there)} installed versions are those of constraints.txt")


def code(where: Where) -> Verdict:
    """Whether results will say which code they are from."""
    known = provenance()
    if known["commit"]:
        changed = " with changes that are not committed" if known["dirty"] else ""
        return ok(f"harness {known['version']}, commit {known['commit'][:12]}{changed}")
    if (ROOT / ".git").exists():
        remedy = f"install git; if `git -C {ROOT} status` speaks of ownership, do what it proposes"
        return warning(f"git does not tell the commit of {ROOT}, so results will not name it", remedy)
    found = f"harness {known['version']} outside a clone: results name the version, but no commit"
    return warning(
        found, "install it from a clone (pip install -e .) if several states of the code are to be told apart"
    )


def torch(where: Where) -> Verdict:
    """Whether torch can be imported, and for which CUDA it was built."""
    found = facts("torch")
    cudnn = found["cudnn"]
    if isinstance(cudnn, dict):
        remedy = f"remove other cuDNN libraries from LD_LIBRARY_PATH; {TOGETHER}"
        return problem(f"{found['version']}, whose cuDNN cannot be used: {cudnn['error']}", remedy)
    if found["hip"]:
        return ok(f"{found['version']} for ROCm {found['hip']}")
    if not found["cuda"]:
        return ok(f"{found['version']}, a build for CPUs alone")
    return ok(f"{found['version']} for CUDA {found['cuda']}, cuDNN {cudnn_version(cudnn)}")


def cudnn_version(number: int | None) -> str:
    """92600 -> 9.26.0; before version 9, 8907 -> 8.9.7."""
    if number is None:
        return "none"
    major = 10_000 if number >= 90_000 else 1_000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def torchvision(where: Where) -> Verdict:
    """Whether torchvision was built for this torch."""
    found = facts("torch")
    version, torch_version = found["torchvision"], found["version"]
    if isinstance(version, dict):
        shown = installed("torchvision") or "missing"
        return problem(f"{shown}, does not work with torch {torch_version}: {version['error']}", TOGETHER)
    needed = [Requirement(line) for line in metadata.requires("torchvision") or [] if line.startswith("torch")]
    wrong = [text for requirement in needed if requirement.name == "torch" and (text := unmet(requirement))]
    if wrong:
        return problem(f"{version}: {wrong[0]}", TOGETHER)
    return ok(f"{version}, works with torch {torch_version}")


def faiss(where: Where) -> Verdict:
    """Whether k-means works beside torch in one process, and on what."""
    builds = [f"{name} {version}" for name in FAISS_BUILDS if (version := installed(name))]
    if len(builds) > 1:
        remedy = f"pip uninstall {' '.join(build.split()[0] for build in builds)}, then install one of them again"
        return warning(f"{' and '.join(builds)} overwrite each other", remedy)
    found, gpus = facts("faiss"), facts("torch")["gpus"]
    name = builds[0] if builds else f"faiss {found['version']}"
    if not found["right"]:
        return problem(
            f"{name} clusters wrongly in a process with torch", "set HARNESS_FAISS=cpu, or install faiss-cpu"
        )
    if found["complaints"]:
        return warning(f"{name}: {found['complaints'][0]}", "set HARNESS_FAISS=cpu, which is slower but quiet")
    if gpus and not found["uses_gpu"]:
        return warning(
            f"{name} works beside torch, but on the CPU: the two do not share the GPU",
            "pip uninstall the other builds of faiss and pip install faiss-gpu-cuvs, which has CUDA 13",
        )
    kind = "GPU" if found["gpu_build"] else "CPU"
    return ok(f"{name} ({kind} build) works beside torch, on the {'GPU' if found['uses_gpu'] else 'CPU'}")
