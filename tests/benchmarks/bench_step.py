"""What a training step of ours costs beside the bare loop: `python tests/benchmarks/bench_step.py [--rounds 15]`.

The bare loop is what one writes in a notebook: the same network, objective, miner and optimizer, with all batches of
the epoch ready as tensors on the device. Ours is `train_one_epoch`: it also draws the batches, augments them from the
bank, keeps the log of steps, charges time and asks whether to stop. Both take turns step by step,
so that other work on the machine meets both alike; shown are the mean times of all steps, the median over the rounds
of the ratio of an epoch, and where our time goes. The aim is a ratio of at most 1.05.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from bench_batches import write_photos

from harness.registry import BACKBONES, DATASETS
from harness.specs import RunSpec
from harness.study import Study
from harness.training.assemble import Context, Parts, assemble
from harness.training.epoch import epoch_batches, set_mode, train_one_epoch
from harness.training.history import History
from harness.training.precision import autocast

STUDY = Path(__file__).parents[2] / "studies" / "fair_comparison.yaml"
SHARES = ("sampling", "batch", "forward_backward", "mining", "objective", "optimizer")


def main(given: list[str] | None = None) -> None:
    """Prints one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="epochs on glyphs; a third of them on photos")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args(given)
    torch.set_num_threads(arguments.threads)
    print(f"{'':34} ms/step: ours   bare  ratio   ours, ms: {'  '.join(SHARES)}  other")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photos(root / "photos", 448, 96, 64)
        context = Context(root, root / "cache", arguments.device)
        for objective in ("multi_similarity", "margin"):
            spec = study_run(objective)
            compare(f"convnet, glyphs, {objective}", spec, context, arguments.rounds)
        compare("resnet18, photos 64, margin", on_photos(spec), context, max(1, arguments.rounds // 3))


def study_run(objective: str) -> RunSpec:
    """The first run of the default study with an objective."""
    return next(spec for spec in Study.load(STUDY).runs() if spec.objective.name == objective)


def on_photos(spec: RunSpec) -> RunSpec:
    """The same run with ResNet-18 and crops of 64 pixels from photos."""
    return dataclasses.replace(
        spec,
        dataset=DATASETS.check("image_folder", {"folder": "photos", "side": 64, "crop": 64}),
        backbone=BACKBONES.check("resnet18"),
        training=spec.training.model_copy(update={"augmentation": "base"}),
    )


def compare(label: str, spec: RunSpec, context: Context, rounds: int) -> None:
    """Both sides in turn, an epoch a round, the first not counted."""
    history, parts = History(), assemble(spec, context)
    step = bare(assemble(spec, context))
    turns = [one_round(parts, history, context, step) for _ in range(rounds + 1)]
    per_step = 1000 / history.cost["steps"]
    mine, theirs = (1000 * statistics.mean(times) for times in zip(*turns[1:], strict=True))
    ratio = statistics.median(ours / bare for ours, bare in turns[1:])
    shares = [per_step * history.cost[f"{share}_seconds"] for share in SHARES]
    shares.append(mine - sum(shares))
    split = "  ".join(f"{ms:{len(name)}.2f}" for ms, name in zip(shares, [*SHARES, "other"], strict=True))
    print(f"{label:34}{mine:14.2f}{theirs:7.2f}{ratio:7.3f}{'':13}{split}", flush=True)


def one_round(parts: Parts, history: History, context: Context, step: Callable[[], None]) -> tuple[float, float]:
    """An epoch of ours with a step of the bare loop after each of its steps: seconds of a step of ours, and of it."""
    between = Between(step, parts.device)
    begin = time.perf_counter()
    train_one_epoch(dataclasses.replace(parts, teller=between), history, context)
    synchronize(parts.device)
    seconds = time.perf_counter() - begin - sum(between.seconds)
    return seconds / len(between.seconds), statistics.mean(between.seconds)


class Between:
    """Takes the place of what tells of progress, which is called after each step of ours."""

    def __init__(self, run: Callable[[], None], device: torch.device) -> None:
        self.run, self.device = run, device
        self.seconds: list[float] = []

    def step(self, doing: str, done: int, total: int) -> None:
        """One step of the bare loop, on the clock."""
        synchronize(self.device)  # what ours has still under way is charged to ours
        begin = time.perf_counter()
        self.run()
        synchronize(self.device)
        self.seconds.append(time.perf_counter() - begin)


def bare(parts: Parts) -> Callable[[], None]:
    """A step of the bare loop, over and over on the batches of the first epoch."""
    batches = epoch_batches(parts, 0)
    views = parts.data.bank.batches(parts.data.train_index[batches], "train", parts.spec.seed, 0)
    ready = itertools.cycle(zip(list(views), parts.data.train_labels[batches.to(parts.device)], strict=True))
    network, objective, miner, optimizer = parts.network, parts.objective, parts.miner, parts.optimizer
    generator = torch.Generator(parts.device)
    set_mode(parts, 0)

    def step() -> None:
        images, labels = next(ready)
        with autocast(parts.device, parts.spec.training.precision):
            embeddings = network(images)
        with torch.no_grad():
            tuples = miner(embeddings.detach(), labels, generator) if miner else None
        loss = objective(embeddings, labels, tuples)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def synchronize(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
