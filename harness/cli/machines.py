"""Where the workers of a command run: this machine, or a cluster behind a site file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import StudyError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.launch import Cluster, Machine


def where_to_run(
    backend: str, site: Path | None, detach: bool, workers: int | None, threads: int
) -> Callable[[], Machine | Cluster]:
    """What gives the workers; only asking it looks at the machine. Raises StudyError for options that contradict."""
    if backend not in ("local", "slurm"):
        raise StudyError(f"--backend {backend}{did_you_mean(backend, ('local', 'slurm'))}")
    if backend == "local":
        for option, given in (("--site", site), ("--detach", detach)):
            if given:
                raise StudyError(f"{option} belongs to `--backend slurm`")
        return lambda: this_machine(workers, threads)
    if site is None:
        raise StudyError("--backend slurm needs --site FILE, which says how your cluster is asked; see slurm/README.md")
    from harness.launch import Cluster
    from harness.study.site import read_site

    cluster = Cluster.of(read_site(site), workers)
    return lambda: cluster


def this_machine(workers: int | None, threads: int) -> Machine:
    """One worker a GPU, or a core (so many threads) without a GPU, unless told otherwise."""
    import torch

    from harness.launch import Machine
    from harness.provenance import usable_cores

    gpus = visible_gpus(torch.cuda.device_count())
    default = len(gpus) or max(1, usable_cores() // threads)
    return Machine(default if workers is None else workers, threads, gpus)


def visible_gpus(count: int) -> tuple[int, ...]:
    """The GPUs that we may use by their own numbers, where the environment names some."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    numbers = [int(part) for part in named.split(",") if part.strip().isdigit()]
    return tuple(numbers[:count]) if len(numbers) >= count > 0 else tuple(range(count))
