"""What a training step of ours costs beside the bare loop: `python tests/benchmarks/bench_step.py [--rounds 15]`.

The bare loop is what one writes in a notebook: the same network, objective, miner and optimizer, with all batches of
the epoch ready as tensors on the device. Ours is `train_one_epoch`: it also draws the batches, augments them from the
bank, writes the log of steps with the norm of the gradient, charges time, tells of progress and asks whether to stop.
Both take turns, an epoch each; shown are the best of all turns and the median of the ratios of neighboring turns
(which other work on the machine moves less), then where our time goes. The aim is a ratio of at most 1.05.
"""

from __future__ import annotations

import argparse
import dataclasses
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
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side on glyphs; a third on photos")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args(given)
    torch.set_num_threads(arguments.threads)
    print(f"{'':34} ms/step: ours   bare  ratio  median ratio   ours, ms: {'  '.join(SHARES)}  other")
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
    """Both sides in turn."""
    history = History()
    sides = ours(assemble(spec, context), history, context), bare(assemble(spec, context))
    for side in sides:
        side()
    history.cost.clear()
    turns = [[side() for side in sides] for _ in range(rounds)]
    mine, theirs = (min(times) for times in zip(*turns, strict=True))
    ratio = statistics.median(first / second for first, second in turns)
    steps = history.cost["steps"]
    shares = [1000 * history.cost[f"{share}_seconds"] / steps for share in SHARES]
    other = 1000 * statistics.mean(first for first, _ in turns) - sum(shares)
    split = "  ".join(
        f"{share:{len(name)}.2f}" for share, name in zip([*shares, other], [*SHARES, "other"], strict=True)
    )
    print(
        f"{label:34}{1000 * mine:14.2f}{1000 * theirs:7.2f}{mine / theirs:7.3f}{ratio:14.3f}{'':13}{split}", flush=True
    )


def ours(parts: Parts, history: History, context: Context) -> Callable[[], float]:
    """An epoch of ours; gives the seconds of a step."""

    def epoch() -> float:
        steps = history.cost.get("steps", 0)
        begin = time.perf_counter()
        train_one_epoch(parts, history, context)  # its last look at the losses waits for the device
        return (time.perf_counter() - begin) / (history.cost["steps"] - steps)

    return epoch


def bare(parts: Parts) -> Callable[[], float]:
    """An epoch of the bare loop, on the batches of the first epoch; gives the seconds of a step."""
    batches = epoch_batches(parts, 0)
    views = list(parts.data.bank.batches(parts.data.train_index[batches], "train", parts.spec.seed, 0))
    labels = list(parts.data.train_labels[batches.to(parts.device)])
    network, objective, miner, optimizer = parts.network, parts.objective, parts.miner, parts.optimizer
    generator = torch.Generator(parts.device)
    set_mode(parts, 0)

    def epoch() -> float:
        begin = time.perf_counter()
        for images, classes in zip(views, labels, strict=True):
            with autocast(parts.device, parts.spec.training.precision):
                embeddings = network(images)
            with torch.no_grad():
                tuples = miner(embeddings.detach(), classes, generator) if miner else None
            loss = objective(embeddings, classes, tuples)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()
        return (time.perf_counter() - begin) / len(views)

    return epoch


if __name__ == "__main__":
    main()
