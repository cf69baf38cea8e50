"""One epoch: train on its batches, then embed and measure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import Diverged, Interrupted
from harness.measured import Family, Measured
from harness.seeding import seed_for
from harness.training.assemble import Context, Parts
from harness.training.history import History
from harness.training.measure import measure_all

EMBEDDING_BATCH = 256
"""Images embedded at a time. Fixed, because the size of a batch moves the last bits of an embedding."""


@contextmanager
def timed(history: History, what: str) -> Iterator[None]:
    """Charge the time spent inside to one item of the run's cost."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        history.spend(what, time.perf_counter() - begin)


def train_one_epoch(parts: Parts, history: History, context: Context) -> None:
    """All batches of the next epoch; counts it as finished.

    Raises Diverged with the step at which the loss was no longer finite, and Interrupted when asked to stop.
    """
    spec, epoch = parts.spec, history.epoch
    parts.network.train()
    torch.manual_seed(seed_for(spec.seed, "dropout", epoch))
    mining = torch.Generator(parts.device).manual_seed(seed_for(spec.seed, "mining", epoch))
    with timed(history, "sampling_seconds"):
        batches = epoch_batches(parts, epoch)
    losses = torch.zeros(len(batches), device=parts.device)
    for step, positions in enumerate(batches):
        if context.should_stop():
            raise Interrupted
        losses[step] = train_one_step(parts, positions, epoch, mining, history)
        parts.teller.step("training", step + 1, len(batches))
    parts.schedule.step()
    history.spend("steps", len(batches))
    history.epoch += 1
    history.record("train", "loss", finite_mean(losses, epoch))


def epoch_batches(parts: Parts, epoch: int) -> Tensor:
    """Positions into the training set [steps, B]; a sampler that plans from embeddings gets the current ones."""
    generator = torch.Generator().manual_seed(seed_for(parts.spec.seed, "batches", epoch))
    embeddings = embed(parts, parts.data.train_index) if parts.sampler.needs_embeddings else None
    batches: Tensor = parts.sampler.epoch(generator, embeddings)
    return batches


def train_one_step(parts: Parts, positions: Tensor, epoch: int, mining: torch.Generator, history: History) -> Tensor:
    """One batch: embed, mine, loss, gradient, update. Gives the detached loss; never waits for the device."""
    with timed(history, "batch_seconds"):
        images = parts.data.bank.batch(parts.data.train_index[positions], "train", parts.spec.seed, epoch)
        labels = parts.data.train_labels[positions.to(parts.device)]
    with timed(history, "forward_backward_seconds"), autocast(parts):
        embeddings = parts.network(images)
    with timed(history, "mining_seconds"), torch.no_grad():
        tuples = parts.miner(embeddings.detach(), labels, mining) if parts.miner else None
        if tuples is not None and parts.regularizer is not None:
            tuples = parts.regularizer.on_tuples(tuples, labels, mining)
    with timed(history, "objective_seconds"):
        loss = parts.objective(embeddings, labels, tuples)
        if parts.regularizer is not None:
            loss = parts.regularizer.on_loss(loss, embeddings, labels, parts.objective)
    with timed(history, "forward_backward_seconds"):
        parts.optimizer.zero_grad(set_to_none=True)
        loss.backward()
    with timed(history, "optimizer_seconds"):
        parts.optimizer.step()
    detached: Tensor = loss.detach()
    return detached


def autocast(parts: Parts) -> torch.autocast:
    """Mixed precision as the spec says."""
    enabled = parts.spec.training.precision == "bfloat16"
    return torch.autocast(parts.device.type, dtype=torch.bfloat16, enabled=enabled)


def finite_mean(losses: Tensor, epoch: int) -> float:
    """The mean loss of an epoch, looked at once an epoch so that no step waits for the device."""
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        step = int(bad[0])
        raise Diverged(f"the loss became {losses[step].item()} at step {step + 1} of epoch {epoch + 1}")
    return losses.mean().item()


@torch.inference_mode()
def embed(parts: Parts, index: Tensor) -> Tensor:
    """Embeddings [n, D] of images by their positions in the bank, in evaluation mode and the test view."""
    training = parts.network.training
    parts.network.eval()
    embedded = []
    for chunk in torch.split(index, EMBEDDING_BATCH):
        images = parts.data.bank.batch(chunk, "test")
        with autocast(parts):
            embedded.append(parts.network(images))
        parts.teller.step("embedding", EMBEDDING_BATCH * len(embedded), len(index))
    parts.network.train(training)
    return torch.cat(embedded)


@dataclass(frozen=True, eq=False)
class Look:
    """One split after an epoch: positions in the bank [N], labels [N], embeddings [N, D], and their numbers."""

    index: Tensor
    labels: Tensor
    embeddings: Tensor
    measured: Measured


def evaluate(parts: Parts, history: History) -> dict[str, Look]:
    """Measure every split that the spec asks for and record the numbers under the current epoch."""
    looks = look(parts, history)
    history.record_evaluation({split: seen.measured for split, seen in looks.items()})
    return looks


def look(parts: Parts, history: History) -> dict[str, Look]:
    """Each split for which something is due in the current epoch, measured."""
    looks = {}
    seed = seed_for(parts.spec.seed, "clustering")
    for split in parts.families:
        families = due(parts, split, history.epoch)
        if not families:
            continue
        index, labels = parts.data.split(split)
        with timed(history, "embedding_seconds"):
            embeddings = embed(parts, index)
        with timed(history, "metrics_seconds"):
            measured = measure_all(embeddings, labels, families, seed, parts.data.gallery(split))
        looks[split] = Look(index, labels, embeddings, measured)
    return looks


def due(parts: Parts, split: str, epoch: int) -> list[Family]:
    """The families that are measured on a split after an epoch that is measured."""
    clustered = epoch % parts.spec.evaluation.clustering_every == 0 or epoch == parts.spec.training.epochs
    return [family for name, family in parts.families[split].items() if clustered or name != "clustering"]
