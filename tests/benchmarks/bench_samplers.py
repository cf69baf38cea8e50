"""What planning an epoch's batches costs at the size of Stanford Online Products, and at a tenth of it.

    python tests/benchmarks/bench_samplers.py

59,551 samples of 11,318 classes in 128 dimensions, batches of 112, one thread. The time a batch should not depend on
the size of the training set. This is no test: it prints and asserts nothing.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from harness.geometry import normalized
from harness.registry import SAMPLERS, build

SAMPLES = 59_551
CLASSES = 11_318
BATCH = 112


def training_set(samples: int, classes: int) -> tuple[Tensor, Tensor]:
    """Embeddings around a center for each class, and labels with at least two samples a class."""
    generator = torch.Generator().manual_seed(0)
    twice = torch.arange(classes).repeat(2)
    labels = torch.cat((twice, torch.randint(classes, (samples - len(twice),), generator=generator)))
    centers = 2 * torch.randn(classes, 128, generator=generator)
    return normalized(centers[labels] + torch.randn(samples, 128, generator=generator)), labels


def seconds(name: str, embeddings: Tensor, labels: Tensor) -> float:
    """Processor time of one epoch's batches; that of other programs does not count."""
    sampler = build("sampler", name, labels=labels, batch_size=BATCH)
    generator = torch.Generator().manual_seed(0)
    begin = time.process_time()
    sampler.epoch(generator, embeddings)
    return time.process_time() - begin


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'':20s} {'samples':>8s} {'batches':>8s} {'epoch s':>8s} {'batch ms':>9s}")
    for part in (1, 10):
        embeddings, labels = training_set(SAMPLES // part, CLASSES // part)
        for name in SAMPLERS.names():
            spent, batches = seconds(name, embeddings, labels), len(labels) // BATCH
            print(f"{name:20s} {len(labels):8d} {batches:8d} {spent:8.2f} {1e3 * spent / batches:9.2f}")


if __name__ == "__main__":
    main()
