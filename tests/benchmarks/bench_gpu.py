"""Whether a GPU is kept busy: `python tests/benchmarks/bench_gpu.py [--compile reduce-overhead]`, images a second.

Training: ours (bank, augmentation `base`, log, everything), the model alone (forward, a loss of one line, backward,
the same optimizer, on one fixed batch that lies on the device), and the model fed by a DataLoader with all cores. Aim:
ours at least 0.92 of the model alone. Embedding: our pass over the test images against the same network on one fixed
batch, aim at least 0.9. The photos are JPEGs of 500 x 375 pixels made here; the bank is built once, before the clock.
The network has no ready weights, which changes no speed. `--device cpu --side 64 --batch 8` runs it all in miniature.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from bench_batches import theirs as loader_of
from bench_batches import write_photos
from torch import Tensor

from harness.provenance import usable_cores
from harness.registry import BACKBONES, DATASETS, OBJECTIVES, SAMPLERS
from harness.specs import Optimizer, RunSpec, Training
from harness.training.assemble import Context, Parts, assemble
from harness.training.epoch import EMBEDDING_BATCH, embed, evaluating, set_mode, train_one_epoch
from harness.training.history import History
from harness.training.precision import autocast, tensorfloat32
from harness.worker import prepare_process


def main(given: list[str] | None = None) -> int:
    """Prints a table; 0, or 3 where there is no such device."""
    arguments = parsed(given)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("there is no GPU here; --device cpu --side 64 --batch 8 --images 64 runs this in miniature")
        return 3
    prepare_process(arguments.threads, arguments.device)
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    print(
        f"{name}, torch {torch.__version__}, {arguments.threads} threads: {arguments.backbone}, batches of "
        f"{arguments.batch} at {arguments.side} pixels, {arguments.precision}, compile {arguments.compile}"
    )
    with tempfile.TemporaryDirectory() as folder, tensorfloat32(False):
        root = Path(folder)
        photos = write_photos(root / "photos", arguments.images, 500, 375)
        context = Context(root, root / "cache", arguments.device)
        training(spec_of(arguments), context, photos, arguments)
        embedding(spec_of(arguments), context, arguments)
    return 0


def parsed(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--batch", type=int, default=112)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--images", type=int, default=8960, help="half of them train")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--compile", default="none", choices=["none", "default", "reduce-overhead", "max-autotune"])
    parser.add_argument("--threads", type=int, default=usable_cores())
    return parser.parse_args(given)


def spec_of(arguments: argparse.Namespace) -> RunSpec:
    """A run on all photos, of which half of the classes train."""
    return RunSpec(
        dataset=DATASETS.check("image_folder", {"folder": "photos", "crop": arguments.side}),
        backbone=BACKBONES.check(arguments.backbone),
        objective=OBJECTIVES.check("multi_similarity"),
        sampler=SAMPLERS.check("class_balanced"),
        seed=0,
        training=Training(batch_size=arguments.batch, precision=arguments.precision, compile=arguments.compile),
        optimizer=Optimizer(),
    )


def training(spec: RunSpec, context: Context, photos: Path, arguments: argparse.Namespace) -> None:
    """Ours, the model alone, and the model fed by a DataLoader, in turn; the best of each."""
    parts, history = assemble(spec, context), History()
    model, images = alone(assemble(spec, context)), fixed_batch(parts, "train", spec.training.batch_size)
    steps = len(parts.data.train_index) // spec.training.batch_size
    loader = loader_of(photos, arguments.side, arguments.threads, parts.device, arguments.batch)
    ways = {
        "ours": lambda: train_one_epoch(parts, history, context),
        "model alone": lambda: [model(images) for _ in range(steps)],
        "DataLoader": lambda: [model(each) for each in loader() if len(each) == len(images)],
    }
    counts = {"DataLoader": arguments.images // arguments.batch * arguments.batch}
    best = in_turn(
        ways, {way: counts.get(way, steps * arguments.batch) for way in ways}, parts.device, arguments.repeat
    )
    tell("training", best, best["model alone"])
    if context.device == "cuda":
        print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def embedding(spec: RunSpec, context: Context, arguments: argparse.Namespace) -> None:
    """Our pass over the test images, and the network on one fixed batch, in turn."""
    parts = assemble(dataclasses.replace(spec, training=spec.training.model_copy(update={"compile": "none"})), context)
    index = parts.data.test_index
    images = fixed_batch(parts, "test", min(EMBEDDING_BATCH, len(index)))

    @torch.inference_mode()
    def model_alone() -> None:
        with evaluating(parts.network), autocast(parts.device, arguments.precision):
            for _ in range(len(index) // len(images)):
                parts.network(images)

    counts = {"ours": len(index), "model alone": len(index) // len(images) * len(images)}
    best = in_turn(
        {"ours": lambda: embed(parts, index), "model alone": model_alone}, counts, parts.device, arguments.repeat
    )
    tell("embedding", best, best["model alone"])


def fixed_batch(parts: Parts, view: str, size: int) -> Tensor:
    """One batch, in the memory format in which the bank gives them."""
    index = parts.data.train_index if view == "train" else parts.data.test_index
    return parts.data.bank.batch(index[:size], view, 0, 0)


def alone(parts: Parts) -> Callable[[Tensor], None]:
    """A training step of the model and nothing else."""
    set_mode(parts, 0)

    def step(images: Tensor) -> None:
        with autocast(parts.device, parts.spec.training.precision):
            embeddings = parts.forward(images)
        parts.optimizer.zero_grad(set_to_none=True)
        embeddings[:, 0].mean().backward()
        parts.optimizer.step()

    return step


def in_turn(
    ways: dict[str, Callable[[], object]], counts: dict[str, int], device: torch.device, repeat: int
) -> dict[str, float]:
    """Images a second of each way, the best of all turns but the first, which warms up."""
    best = dict.fromkeys(ways, 0.0)
    for turn in range(repeat + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                best[name] = max(best[name], counts[name] / (time.perf_counter() - begin))
    return best


def tell(what: str, best: dict[str, float], whole: float) -> None:
    """One line a way."""
    for name, rate in best.items():
        print(f"  {what:10} {name:12} {rate:9.0f} images/s  {rate / whole:6.3f} of the model alone", flush=True)


if __name__ == "__main__":
    sys.exit(main())
