"""One epoch: train on its batches, then embed and measure."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.errors import Diverged, Interrupted
from harness.measured import Family, Measured
from harness.seeding import seed_for
from harness.training.assemble import Context, Parts
from harness.training.checkpoint import Checkpoint
from harness.training.divergence import StepLog, diverged
from harness.training.history import History
from harness.training.measure import measure_all
from harness.training.movement import directions, movement
from harness.training.network import EmbeddingNetwork
from harness.training.optimizer import hold, parameters_of
from harness.training.precision import autocast
from harness.training.under_way import EpochUnderWay

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


def train_one_epoch(parts: Parts, history: History, context: Context, checkpoint: Checkpoint | None = None) -> None:
    """All batches of the next epoch, or those that are left of one under way; counts it as finished.

    Raises Diverged with what is known of the first step that was no longer finite. When asked to stop it keeps a
    checkpoint between two steps and raises Interrupted.
    """
    spec, epoch = parts.spec, history.epoch
    checkpoint = checkpoint or Checkpoint(None, parts)
    under_way = begin_epoch(parts, history, checkpoint)
    set_mode(parts, epoch)
    views = parts.data.bank.batches(parts.data.train_index[under_way.rest], "train", spec.seed, epoch)
    labels = parts.data.train_labels[under_way.batches.to(parts.device)]  # of all batches: a copy waits for the device
    before = None
    while under_way.step < len(under_way.batches):
        stop = context.should_stop()  # asked once: whoever asks between the two lines below has to wait for a step
        if stop or checkpoint.due():
            with timed(history, "checkpoint_seconds"):
                checkpoint.save(history, under_way)
            parts.teller.kept()
        if stop:
            raise Interrupted
        with timed(history, "batch_seconds"):
            images = next(views)
        before = directions(parts.objective) if under_way.step + 1 == len(under_way.batches) else None
        train_one_step(parts, images, labels[under_way.step], under_way.mining, history, under_way.log)
        under_way.step += 1
        check(parts, under_way.log, epoch)
        parts.teller.step("training", under_way.step, len(under_way.batches))
    parts.schedule.step()
    history.spend("steps", len(under_way.batches))
    history.epoch += 1
    history.record("train", "loss", under_way.log.mean_loss())
    moved = movement(parts.backbone_weights, before, parts.objective)
    for name, value in (*moved.items(), *told_by_parts(parts)):
        history.record("train", name, value)


def told_by_parts(parts: Parts) -> Iterator[tuple[str, float]]:
    """What parts have to tell of the epoch that they have just seen, as numbers for curves: `epoch_numbers()`."""
    for part in dict.fromkeys((parts.miner, parts.sampler, parts.objective, parts.regularizer)):
        yield from getattr(part, "epoch_numbers", dict)().items()


def begin_epoch(parts: Parts, history: History, checkpoint: Checkpoint) -> EpochUnderWay:
    """The next epoch from its beginning, or from where the checkpoint left it."""
    left = checkpoint.take_under_way()
    if left is not None:
        under_way = EpochUnderWay(parts.spec.seed, history.epoch, left["batches"].cpu(), parts.device)
        under_way.take_up(left)
        return under_way
    with timed(history, "sampling_seconds"):
        batches = epoch_batches(parts, history.epoch, history)
    for stage, seconds in getattr(parts.sampler, "epoch_cost", dict)().items():
        history.spend(stage, seconds)
    return EpochUnderWay(parts.spec.seed, history.epoch, batches, parts.device)


def set_mode(parts: Parts, epoch: int) -> None:
    """Training mode; in the first epochs, where the spec says so, not for the backbone."""
    parts.network.train()
    hold(parts.network.backbone, parts.backbone_weights, epoch < parts.spec.optimizer.warmup_epochs)


def epoch_batches(parts: Parts, epoch: int, history: History | None = None) -> Tensor:
    """Positions into the training set [steps, B]; a sampler that plans from embeddings gets the current ones."""
    generator = torch.Generator().manual_seed(seed_for(parts.spec.seed, "batches", epoch))
    embeddings = None
    if parts.sampler.needs_embeddings:
        with timed(history or History(), "plan_embed_seconds"):
            embeddings = embed(parts, parts.data.train_index)
    batches: Tensor = parts.sampler.epoch(generator, embeddings)
    return batches


def train_one_step(
    parts: Parts, images: Tensor, labels: Tensor, mining: torch.Generator, history: History, log: StepLog
) -> None:
    """One batch: embed, mine, loss, gradient, update. Never waits for the device."""
    training = parts.spec.training
    with timed(history, "forward_backward_seconds"), autocast(parts.device, training.precision):
        embeddings = parts.forward(images)
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
        gradient = None
        if training.gradient_clip is not None:  # scaled down without waiting for the device to say whether it must be
            gradient = nn.utils.clip_grad_norm_(parameters_of(parts.optimizer), training.gradient_clip)
        log.note(loss, embeddings, gradient)
        parts.optimizer.step()
        if parts.average is not None:
            parts.average.update()


def check(parts: Parts, log: StepLog, epoch: int) -> None:
    """Look, now and then and after the last step, whether the run goes well; raises Diverged when it does not."""
    step = log.first_bad() if log.due() else None
    if step is not None:
        learning = [part for part in (parts.network, parts.objective, parts.regularizer) if part is not None]
        raise diverged(log, step, epoch, parts.optimizer, *learning)


@torch.inference_mode()
def embed(parts: Parts, index: Tensor, network: EmbeddingNetwork | None = None) -> Tensor:
    """Embeddings [n, D] of images by their positions in the bank, in evaluation mode and the test view.

    By the network that learns, unless another is given.
    """
    network = network or parts.network
    embedded = []
    with evaluating(network):
        for images in parts.data.bank.batches(torch.split(index, EMBEDDING_BATCH), "test"):
            with autocast(parts.device, parts.spec.training.precision):
                embedded.append(network(images))
            parts.teller.step("embedding", EMBEDDING_BATCH * len(embedded), len(index))
    return torch.cat(embedded)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards every module in the mode it was in."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


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


def look(parts: Parts, history: History, splits: Collection[str] | None = None) -> dict[str, Look]:
    """Each split (or of some splits each) for which something is due in the current epoch, measured."""
    looks = {}
    seed = seed_for(parts.spec.seed, "clustering")
    network = parts.network if parts.average is None else parts.average.network()
    for split in parts.families if splits is None else splits:
        families = due(parts, split, history.epoch)
        if not families:
            continue
        index, labels = parts.data.split(split)
        with timed(history, "embedding_seconds"):
            embeddings = embed(parts, index, network)
            if not bool(embeddings.isfinite().all()):
                raise Diverged(f"embeddings of {split} images became nan or infinite in epoch {history.epoch}")
        with timed(history, "metrics_seconds"):
            measured = measure_all(embeddings, labels, families, seed, parts.data.gallery(split))
        looks[split] = Look(index, labels, embeddings, measured)
    return looks


def due(parts: Parts, split: str, epoch: int) -> list[Family]:
    """The families that are measured on a split after an epoch that is measured."""
    clustered = epoch % parts.spec.evaluation.clustering_every == 0 or epoch == parts.spec.training.epochs
    return [family for name, family in parts.families[split].items() if clustered or name != "clustering"]
