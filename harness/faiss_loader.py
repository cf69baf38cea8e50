"""faiss, imported late and in one place: what clusters and what searches neighbors gets it here."""

from __future__ import annotations

import os
import warnings
from functools import cache
from importlib import metadata
from types import ModuleType

import torch

from harness.errors import EnvironmentLacks

CUDA_OF_BUILD = {"faiss-gpu": "12", "faiss-gpu-cuvs": "13"}
"""The major version of CUDA that each of the GPU builds of faiss brings along."""


@cache
def faiss_shares_gpu() -> bool:
    """Whether faiss has a GPU here and can live on it beside torch; asking costs the import of faiss.

    Two major versions of CUDA in one process may crash it, which nothing can catch; torch 2.15 has CUDA 13, so
    `faiss-gpu-cuvs` is the build for it. `HARNESS_FAISS=cpu` or `=gpu` decides otherwise.
    """
    faiss = load_faiss()
    wanted = os.environ.get("HARNESS_FAISS", "auto")
    if wanted == "cpu" or not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return False
    return wanted == "gpu" or _same_cuda(torch.version.cuda)


def _same_cuda(of_torch: str | None) -> bool:
    major = (of_torch or "").partition(".")[0]
    return any(CUDA_OF_BUILD[name] == major for name in CUDA_OF_BUILD if _installed(name))


def _installed(distribution: str) -> bool:
    return any(True for _ in metadata.distributions(name=distribution))


def load_faiss() -> ModuleType:
    """faiss, imported when it is first needed and only here.

    Raises EnvironmentLacks where it is missing, and in a process forked after its import, where it would hang.
    """
    faiss, owner = _faiss_and_owner()
    if owner != os.getpid():
        raise EnvironmentLacks("faiss cannot be used in a forked process; start the process by spawn")
    return faiss


@cache
def _faiss_and_owner() -> tuple[ModuleType, int]:
    try:
        with warnings.catch_warnings():
            # Its SWIG wrappers warn on some versions of Python; nobody here can do anything about it.
            warnings.simplefilter("ignore", DeprecationWarning)
            import faiss
    except ImportError as error:
        raise EnvironmentLacks(
            f"clustering and the search of neighbors need faiss: {error}; `pip install faiss-cpu`"
        ) from error
    return faiss, os.getpid()
