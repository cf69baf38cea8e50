"""Evidence: what a run leaves behind so that new statistics of its test embeddings need no new training.

One small .npz without pickles, the same bytes for the same spec. `harness measure` reads it, too: it then measures the
sample of embeddings.

run_id, epoch          whose it is, and after how many epochs
query_labels           int32 [N], the class of each test image, in the order of the bank
query_indices          int32 [N], its position in the bank
query.<metric>         float16 [N], such as recall_at_1 and map_at_r of each image; nan: not a query, because it is in
                       the gallery or has no positive
classes                int32 [C], the labels that occur, ascending
class.<metric>         float32 [C], the metric of each class; nan: not defined
spectrum               float64 [min(N, D)], normalized singular values, largest first; empty where not measured
embeddings             float16 [n, D], a seeded sample of at most `SAMPLE` images, divided by `scale`
labels, indices        int32 [n], the classes and positions of the sample, in the order of the bank
scale                  a power of two, so that no embedding is too large for float16
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.arrays import read_arrays
from harness.errors import DataError
from harness.seeding import seed_for
from harness.specs import RunSpec

if TYPE_CHECKING:
    from harness.training.epoch import Look

Array = np.ndarray[Any, np.dtype[Any]]

SAMPLE = 2000
"""Embeddings that are kept: 250 KB in 64 dimensions."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What `write_evidence` kept, by the names above; embeddings are float32 [n, D] in their own scale."""

    run_id: str
    epoch: int
    query_labels: Array
    query_indices: Array
    per_query: dict[str, Array]
    classes: Array
    per_class: dict[str, Array]
    spectrum: Array
    embeddings: Array
    labels: Array
    indices: Array


def write_evidence(path: Path, spec: RunSpec, epoch: int, look: Look) -> None:
    """Keep what a look at the test split showed; the file is whole or is the one before."""
    labels, indices = (values.cpu().numpy().astype(np.int32) for values in (look.labels, look.index))
    classes = np.unique(labels)
    sample = sampled(len(labels), spec.seed)
    embeddings, scale = as_float16(look.embeddings.float().cpu().numpy()[sample])
    arrays = {
        "run_id": np.array(spec.run_id),
        "epoch": np.array(epoch),
        "query_labels": labels,
        "query_indices": indices,
        **{f"query.{metric}": values for metric, values in look.measured.per_query.items()},
        "classes": classes,
        **{f"class.{metric}": by_class(scores, classes) for metric, scores in look.measured.per_class.items()},
        "spectrum": np.array(look.measured.spectrum or [], dtype=np.float64),
        "embeddings": embeddings,
        "labels": labels[sample],
        "indices": indices[sample],
        "scale": np.array(scale),
    }
    save(path, arrays)


def read_evidence(path: Path) -> Evidence:
    """What a run has left; raises DataError when the file cannot be read as evidence."""
    try:
        arrays = read_arrays(path)
        return Evidence(
            run_id=str(arrays["run_id"]),
            epoch=int(arrays["epoch"]),
            per_query=_named(arrays, "query."),
            per_class=_named(arrays, "class."),
            embeddings=arrays["embeddings"].astype(np.float32) * np.float32(arrays["scale"]),
            **{
                name: arrays[name]
                for name in ("query_labels", "query_indices", "classes", "spectrum", "labels", "indices")
            },
        )
    except (DataError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not the evidence of a run: {error}") from error


def sampled(number: int, seed: int) -> Array:
    """At most `SAMPLE` of `number` positions, ascending; without repetition, each as likely as any other."""
    if number <= SAMPLE:
        return np.arange(number)
    return np.sort(np.random.default_rng(seed_for(seed, "evidence")).choice(number, SAMPLE, replace=False))


def as_float16(embeddings: Array) -> tuple[Array, float]:
    """Embeddings [n, D] divided by the smallest power of two above all of them, and that power."""
    # Objectives that want raw embeddings may drive them beyond 65,504, where float16 ends.
    scale = 2.0 ** int(np.frexp(np.abs(embeddings).max(initial=0))[1])
    return (embeddings / scale).astype(np.float16), scale


def by_class(scores: Mapping[int, float], classes: Array) -> Array:
    """Scores in the order of the classes [C]; nan for those that have none."""
    return np.array([scores.get(int(label), np.nan) for label in classes], dtype=np.float32)


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write beside and rename; on the disk before the result that will stand next to it."""
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)  # every entry is dated 1980: the same bytes always
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _named(arrays: Mapping[str, Array], beginning: str) -> dict[str, Array]:
    return {name.removeprefix(beginning): array for name, array in arrays.items() if name.startswith(beginning)}
