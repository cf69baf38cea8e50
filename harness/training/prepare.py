"""What the runs of a study share, made once before the workers would all begin to: image banks, and features of frozen
backbones."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from harness.errors import EnvironmentLacks
from harness.images import Progress
from harness.specs import RunSpec, canonical_json


def prepare(specs: Sequence[RunSpec], data_root: Path, cache: Path, gpu: int | None, progress: Progress) -> None:
    """Build what the runs need and the cache has not: features on a GPU where the workers have one.

    Raises DataError, StoreError or EnvironmentLacks as the data sets and backbones do.
    """
    from harness.training.data import prepare_bank
    from harness.training.feature_pass import is_frozen, recipe_of

    for spec in _different((canonical_json(spec.to_dict()["dataset"]), spec) for spec in specs):
        prepare_bank(spec.dataset, data_root, cache, progress)
    frozen = _different((f"{spec.dataset}{recipe_of(spec)}", spec) for spec in specs if is_frozen(spec))
    if frozen and gpu is not None:
        prepare_elsewhere(frozen, data_root, cache, "cuda", gpu, progress)
    elif frozen:
        prepare_features(frozen, data_root, cache, "cpu", progress)


def prepare_features(specs: Iterable[RunSpec], data_root: Path, cache: Path, device: str, progress: Progress) -> None:
    """Compute the features that the cache has not."""
    import torch

    from harness.training.data import open_bank
    from harness.training.feature_pass import recipe_of
    from harness.training.features import feature_bank

    for spec in specs:
        bank = open_bank(spec.dataset, data_root, cache)
        feature_bank(bank, recipe_of(spec), data_root, cache, torch.device(device), progress)


def _different(keyed: Iterable[tuple[str, RunSpec]]) -> list[RunSpec]:
    """One spec a key."""
    return list(dict(keyed).values())


# In a process of its own, because one that has used a GPU keeps some of its memory as long as it lives ------------


def prepare_elsewhere(
    specs: Sequence[RunSpec], data_root: Path, cache: Path, device: str, gpu: int, progress: Progress
) -> None:
    """`prepare_features` in another process, which sees one GPU. Raises what is raised there."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, specs, data_root, cache, device, gpu), daemon=True)
    process.start()
    theirs.close()
    try:
        while (news := _next(ours)) is not None:
            progress(*news)
    finally:
        process.terminate()  # nothing to an ended one; else we are interrupted, and the next pass goes on
        process.join()


def _next(ours: Connection) -> tuple[int, int, str] | None:
    """The next news; None at the end. Raises what stopped the work."""
    try:
        news = ours.recv()
    except EOFError:
        raise EnvironmentLacks("the process that computes features was killed; is there memory enough?") from None
    if isinstance(news, Exception):
        raise news
    found: tuple[int, int, str] | None = news
    return found


def _work(theirs: Connection, specs: Sequence[RunSpec], data_root: Path, cache: Path, device: str, gpu: int) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    try:
        prepare_features(specs, data_root, cache, device, lambda *news: theirs.send(news))
        theirs.send(None)
    except Exception as error:
        theirs.send(error)
