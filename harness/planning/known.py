"""Paces that the database knows: medians over finished runs of a cell on one kind of device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from harness.planning.cells import evaluations, pace_key
from harness.planning.pace import Pace
from harness.specs import RunSpec
from harness.store.estimates import Finished
from harness.store.spool import RunFolder

NEEDED = ("steps", "setup_seconds", "train_seconds", "total_seconds")


@dataclass(frozen=True)
class Kind:
    """A kind of device: GPUs or CPU cores; by name, or (None) whatever a cluster gives."""

    cuda: bool
    threads: int
    name: str | None = None

    def fits(self, provenance: Mapping[str, Any]) -> bool:
        """Whether a run with this provenance ran on such a device."""
        if self.cuda:
            return provenance.get("device") not in (None, "cpu") and self.name in (None, provenance["device"])
        same = provenance.get("device") == "cpu" and provenance.get("threads") == self.threads
        return same and self.name in (None, provenance.get("cpu"))


def device_text(provenance: Mapping[str, Any]) -> str:
    """A device as people tell it from others: the GPU's name, or the CPU's and how many threads a run has of it."""
    if provenance.get("device") not in (None, "cpu"):
        return str(provenance["device"])
    threads = provenance.get("threads")
    return f"{provenance.get('cpu') or 'CPU'}, {threads} thread{'' if threads == 1 else 's'}"


def known_paces(finished: Sequence[Finished], keys: set[str], kind: Kind, results: Path) -> dict[str, Pace]:
    """Key -> pace, for those of the keys that were run on this kind of device; the device with most runs counts."""
    found: dict[str, dict[str, list[Finished]]] = defaultdict(lambda: defaultdict(list))
    for run in finished:
        if kind.fits(run.provenance) and all(run.cost.get(name, 0) > 0 for name in NEEDED):
            key = pace_key(run.spec)
            if key in keys:
                found[key][device_text(run.provenance)].append(run)
    paces = {}
    for key, by_device in found.items():
        device, runs = max(by_device.items(), key=lambda item: len(item[1]))
        paces[key] = _pace(device, runs, results)
    return paces


def _pace(device: str, runs: Sequence[Finished], results: Path) -> Pace:
    each = [_pace_of_run(device, run) for run in runs]
    middle = {
        name: median(getattr(pace, name) for pace in each)
        for name in ("setup_seconds", "train_seconds", "embedding_seconds", "metrics_seconds", "checkpoint_seconds")
    }
    folder, result = _sizes(results, runs[-1].run_id)
    return replace(each[-1], **middle, folder_bytes=folder, result_bytes=result)


def _pace_of_run(device: str, run: Finished) -> Pace:
    spec, cost = RunSpec.from_dict(run.spec), run.cost
    epochs, measured = spec.training.epochs, evaluations(spec)[0]
    return Pace(
        "database",
        device,
        steps=round(cost["steps"] / epochs),
        setup_seconds=cost["setup_seconds"],
        train_seconds=cost["train_seconds"] / epochs,
        embedding_seconds=cost.get("embedding_seconds", 0.0) / measured,
        metrics_seconds=cost.get("metrics_seconds", 0.0) / measured,
        clustering_seconds=0.0,
        checkpoint_seconds=cost.get("checkpoint_seconds", 0.0) / epochs,
        epochs=epochs,
    )


def _sizes(results: Path, run_id: str) -> tuple[int | None, int | None]:
    """Bytes of a run's folder, and of its result; None where the folder is elsewhere."""
    folder = RunFolder(results, run_id)
    if not folder.result_path.exists():
        return None, None
    return folder_size(folder.path), folder.result_path.stat().st_size


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
