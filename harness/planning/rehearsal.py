"""A rehearsal: a few steps of a real run, and one look at each split, timed on this machine; nothing of it is kept.

The run is put together as a worker does it, and trains by the same code. Only what is the same over and over is cut
short: of an epoch a few steps, of a split so many images as take a moment.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError
from harness.measured import Family, Measured, merged
from harness.planning.known import device_text
from harness.planning.pace import Pace
from harness.provenance import provenance
from harness.seeding import seed_for
from harness.specs import RunSpec
from harness.store.results import result_text
from harness.training.assemble import Context, Parts, assemble
from harness.training.checkpoint import Checkpoint
from harness.training.epoch import Look, due, embed, train_one_epoch
from harness.training.evidence import write_evidence
from harness.training.execute import cause_of, forget_peak_memory, result
from harness.training.gpu import device_name
from harness.training.history import History
from harness.training.measure import measure_all
from harness.training.precision import tensorfloat32

WARM_UP = 3
"""Steps that are not timed: memory is found, algorithms are chosen, a network is compiled."""

LEAST_S = 0.2
"""What is timed goes on, or is done again, at least so long: a moment would tell of the machine's other work."""

FIRST_IMAGES = 64

Made = TypeVar("Made")


def rehearse(spec: RunSpec, data_root: Path, cache: Path, device: str, steps: int) -> Pace | str:
    """The pace of a run, from at least so many steps; or why it could not be had, which would stop the run as well."""
    try:
        forget_peak_memory(torch.device(device))
        with tensorfloat32(spec.training.tf32), tempfile.TemporaryDirectory() as folder:
            return _rehearse(spec, Context(data_root, cache, device), steps, Path(folder))
    except HarnessError as error:
        return str(error)
    except Exception as error:  # parts of somebody's own may raise anything, as they would in the run
        return f"{cause_of(error)}: {str(error) or type(error).__name__}".partition("\n")[0]


def _rehearse(spec: RunSpec, context: Context, steps: int, folder: Path) -> Pace:
    device = torch.device(context.device)
    setup, parts = _timed_well(device, lambda: assemble(spec, context))
    sampling, batches = time_sampling(parts)
    compiling, step = time_steps(parts, batches, context, steps)
    looks = {split: time_look(parts, split) for split in parts.families if due(parts, split, spec.training.epochs)}
    history = imagined(parts, {split: found.measured for split, (found, _) in looks.items()})
    times = [seconds for _, seconds in looks.values()]
    checkpoint = folder / "checkpoint.pt"
    saving, _ = _timed_well(device, lambda: Checkpoint(checkpoint, parts).save(history))
    result_bytes = len(result_text(result(parts, history)).encode())
    return Pace(
        "measured",
        device_text(provenance() | {"device": device_name(parts.device), "threads": torch.get_num_threads()}),
        steps=len(batches),
        setup_seconds=setup + compiling,
        train_seconds=sampling + len(batches) * step,
        embedding_seconds=sum(time["embedding"] for time in times),
        metrics_seconds=sum(time["metrics"] for time in times),
        clustering_seconds=sum(time["clustering"] for time in times),
        checkpoint_seconds=saving,
        epochs=spec.training.epochs,
        folder_bytes=result_bytes + _size_of_rest(spec, {split: found for split, (found, _) in looks.items()}, folder),
        result_bytes=result_bytes,
        checkpoint_bytes=checkpoint.stat().st_size,
    )


# What is timed -------------------------------------------------------------------------------------------------------


def time_sampling(parts: Parts) -> tuple[float, Tensor]:
    """Seconds to make the batches of an epoch, and these [steps, B]; of one that is planned, where some are not."""
    seconds, embeddings = 0.0, None
    if parts.sampler.needs_embeddings or getattr(parts.sampler, "plans", False):
        _, seconds = time_embedding(parts, parts.data.train_index)
        generator = torch.Generator(parts.device).manual_seed(seed_for(parts.spec.seed, "rehearsal"))
        shape = len(parts.data.train_index), int(parts.spec.backbone.options["embedding_dim"])
        embeddings = functional.normalize(torch.randn(shape, generator=generator, device=parts.device))
    sampler = _first_planned(parts)
    seconds = seconds if sampler.needs_embeddings else 0.0
    generator = torch.Generator().manual_seed(seed_for(parts.spec.seed, "batches", 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what cannot be mined from embeddings that are noise
        own, batches = _timed_well(parts.device, lambda: copy.deepcopy(sampler).epoch(generator, embeddings))
    return seconds + own, batches


def _first_planned(parts: Parts) -> Any:
    """The sampler as it is before the first epoch that wants embeddings, or at the beginning where none does."""
    sampler = copy.deepcopy(parts.sampler)
    if getattr(sampler, "plans", False):
        generator = torch.Generator().manual_seed(seed_for(parts.spec.seed, "batches", 0))
        for _ in range(parts.spec.training.epochs - 1):
            if sampler.needs_embeddings:
                break
            sampler.epoch(generator)
    return sampler


def time_steps(parts: Parts, batches: Tensor, context: Context, steps: int) -> tuple[float, float]:
    """Seconds that the first steps take beyond themselves where they compile the network; seconds of a step."""
    warm = batches[:WARM_UP]
    first = _train(parts, warm, context)
    at_once = min(steps, len(batches))  # a short epoch is timed whole, with what is done but once in it
    done, seconds = 0, 0.0
    while done < steps or seconds < LEAST_S:
        seconds += _train(parts, batches[(done + torch.arange(at_once)) % len(batches)], context)
        done += at_once
    step = seconds / done
    compiling = 0.0 if parts.spec.training.compile == "none" else max(0.0, first - len(warm) * step)
    return compiling, step


def time_look(parts: Parts, split: str) -> tuple[Look, dict[str, float]]:
    """What a look at a split shows, and the seconds of its embedding, of its metrics and of clustering."""
    index, labels = parts.data.split(split)
    embeddings, embedding = time_embedding(parts, index)
    families = parts.families[split]
    groups: dict[str, list[Family]] = {"metrics": [], "clustering": []}
    for name, family in families.items():
        groups["clustering" if name == "clustering" else "metrics"].append(family)
    times, measured = {"embedding": embedding}, []
    for name, group in groups.items():
        seconds, found = _timed_well(parts.device, partial(_measure, parts, split, embeddings, group))
        times[name] = seconds if group else 0.0
        measured.append(found)
    return Look(index, labels, embeddings, merged(measured)), times


def time_embedding(parts: Parts, index: Tensor) -> tuple[Tensor, float]:
    """Embeddings [n, D] of images by their positions in the bank, and the seconds of embedding them.

    Of many images only some are embedded; the others get the embedding of one of these, a little moved.
    """
    network = parts.network if parts.average is None else parts.average.network()
    number = len(index)
    size = min(FIRST_IMAGES, number)
    while True:
        sample = index[torch.arange(size) * number // size]
        seconds, embeddings = _timed_well(parts.device, partial(embed, parts, sample, network))
        if size == number:
            return embeddings, seconds
        if seconds >= LEAST_S:
            break
        size = min(4 * size, number)
    filled = embeddings[torch.arange(number, device=embeddings.device) * size // number]
    return filled + 1e-3 * filled.std() * torch.randn_like(filled), seconds * number / size


def _measure(parts: Parts, split: str, embeddings: Tensor, families: Sequence[Family]) -> Measured:
    labels, seed = parts.data.split(split)[1], seed_for(parts.spec.seed, "clustering")
    return measure_all(embeddings, labels, families, seed, parts.data.gallery(split))


def _train(parts: Parts, batches: Tensor, context: Context) -> float:
    """Seconds of training on these batches, as in an epoch in which everything learns."""
    history = History()
    history.epoch = min(parts.spec.optimizer.warmup_epochs, parts.spec.training.epochs - 1)
    given = replace(parts, sampler=Given(batches))
    return _timed(parts.device, lambda: train_one_epoch(given, history, context))[0]


class Given:
    """A sampler whose batches are made already."""

    needs_embeddings = False

    def __init__(self, batches: Tensor) -> None:
        self.batches = batches

    def epoch(self, generator: torch.Generator, embeddings: Tensor | None = None) -> Tensor:
        """The batches [steps, B]."""
        return self.batches


def _timed(device: torch.device | str, work: Callable[[], Made]) -> tuple[float, Made]:
    """Seconds until the device is done with some work, and what came of it."""
    begin = time.perf_counter()
    made = work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin, made


def _timed_well(device: torch.device, work: Callable[[], Made]) -> tuple[float, Made]:
    """The same; what is quick is done again for a while, and its first time, which may load libraries, not counted."""
    seconds, made = _timed(device, work)
    if seconds >= 4 * LEAST_S:
        return seconds, made
    times: list[float] = []
    while sum(times) < LEAST_S:
        del made
        again, made = _timed(device, work)
        times.append(again)
    return sum(times) / len(times), made


# What a run leaves ----------------------------------------------------------------------------------------------------


def imagined(parts: Parts, measured: dict[str, Measured]) -> History:
    """The history of a whole run that measured the same in every epoch, for its size."""
    spec, history = parts.spec, History()
    for epoch in range(1, spec.training.epochs + 1):
        history.epoch = epoch
        history.record("train", "loss", 1 / 3)
        if epoch % spec.evaluation.every == 0 or epoch == spec.training.epochs:
            history.record_evaluation(measured)
    return history


def _size_of_rest(spec: RunSpec, looks: dict[str, Look], folder: Path) -> int:
    """Bytes of what lies in a run's folder beside its result: spec, who made it, evidence."""
    texts: list[Any] = [spec.to_dict(), provenance()]
    size = sum(len(json.dumps(text, indent=1)) for text in texts)
    if "test" in looks:
        evidence = folder / "evidence.npz"
        write_evidence(evidence, spec, spec.training.epochs, looks["test"])
        size += evidence.stat().st_size
    return size
