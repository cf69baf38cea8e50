"""Images a second from a folder of JPEGs to normalized float batches, ours beside torchvision's in a DataLoader.

    python tests/benchmarks/bench_batches.py --images 1120 --threads 2

Photos of 500 x 375 pixels are viewed at 224 from a bank of 256, photos of 128 x 128 at 128; the augmentation is
`base`: RandomResizedCrop and flip. Both sides read the same folder, which is made here, have all cores or `--threads`,
and take turns; a turn is one epoch. The best of `--repeat` turns is shown, because other work on the machine only ever
adds time, and with it the processor seconds of 1,000 images, which it moves less. The DataLoader keeps its worker
processes, and an epoch before the first turn starts them, so that this costs it nothing; ours is timed after the bank
is built, which happens once for all runs and is printed, too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder as TheirFolder

from harness.datasets.image_folder import ImageFolder
from harness.provenance import usable_cores
from harness.training.bank import Bank, build_bank

BATCH = 112
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETTINGS = [(500, 375, 256, 224), (128, 128, 128, 128)]
CLASSES = 8


def main() -> None:
    """Prints one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1120, help="how many photos of each size")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of ours, and workers of theirs")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(f"{arguments.images} images, {arguments.threads} threads, batches of {BATCH}, best of {arguments.repeat}")
    print(
        "pixels          images/s: ours  theirs  ratio    cpu s/1,000: ours  theirs    building the bank: s  images/s"
    )
    for width, height, side, crop in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            photos = write_photos(Path(folder) / "photos", arguments.images, width, height)
            begin = time.perf_counter()
            bank = opened_bank(photos, side, crop).on(device, "base")
            building = time.perf_counter() - begin
            epochs = ours(bank, device), theirs(photos, crop, arguments.threads, device)
            for epoch in epochs:
                measured(epoch, arguments.images)
            turns = [[measured(epoch, arguments.images) for epoch in epochs] for _ in range(arguments.repeat)]
            (our_rate, our_cpu), (their_rate, their_cpu) = (best(side) for side in zip(*turns, strict=True))
            print(
                f"{width:4d} ->{crop:4d}{our_rate:20.0f}{their_rate:8.0f}{our_rate / their_rate:7.2f}"
                f"{our_cpu:22.2f}{their_cpu:8.2f}{building:25.1f}{arguments.images / building:10.0f}",
                flush=True,
            )


Epoch = Callable[[], Iterator[Tensor]]


def ours(bank: Bank, device: torch.device) -> Epoch:
    """An epoch of the bank's batches, as training takes them."""
    mean, std = (torch.tensor(numbers, device=device) for numbers in (MEAN, STD))
    numbers = iter(range(10**9))

    def epoch() -> Iterator[Tensor]:
        number = next(numbers)
        order = torch.randperm(len(bank), generator=torch.Generator().manual_seed(number))
        for batch in bank.batches(order.split(BATCH), "train", 0, number):
            rows = batch.permute(0, 2, 3, 1).flatten(2)  # [B, H, 3 W]: long rows, which is the quick way to subtract
            rows.sub_(mean.repeat(batch.shape[3])).div_(std.repeat(batch.shape[3]))
            yield batch

    return epoch


def theirs(photos: Path, crop: int, workers: int, device: torch.device, batch: int = BATCH) -> Epoch:
    """An epoch of a DataLoader whose worker processes decode and transform."""
    steps = [transforms.RandomResizedCrop(crop), transforms.RandomHorizontalFlip()]
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    loader = DataLoader(
        TheirFolder(photos, transforms.Compose(steps)),
        batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    return lambda: (images.to(device, non_blocking=True) for images, _ in loader)


def measured(epoch: Epoch, images: int) -> tuple[float, float]:
    """Images a second, and processor seconds of 1,000 images."""
    cpu, begin, seen = processor_seconds(), time.perf_counter(), 0
    for batch in epoch():
        seen += len(batch)
    if batch.is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    assert seen == images
    return images / seconds, 1000 * (processor_seconds() - cpu) / images


def best(turns: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    """The highest rate and the fewest processor seconds."""
    rates, seconds = zip(*turns, strict=True)
    return max(rates), min(seconds)


def processor_seconds() -> float:
    """Of this process and its workers, who are still alive."""
    ticks = 0
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime of proc(5)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def opened_bank(photos: Path, side: int, crop: int) -> Bank:
    """The bank of a folder; what a run does before its first batch."""
    source = ImageFolder(data_root=photos.parent, folder=photos.name, side=side, resize=crop, crop=crop).source()
    return build_bank(source, photos.parent / "cache")


def write_photos(root: Path, number: int, width: int, height: int) -> Path:
    """JPEGs with the statistics of photos: detail at all scales, amplitude falling with frequency."""
    generator = np.random.default_rng(0)
    textures = [texture(generator, 2 * width, 2 * height) for _ in range(8)]
    for i in range(number):
        place = root / f"class_{i % CLASSES}" / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        x, y = int(generator.integers(width)), int(generator.integers(height))
        pixels = textures[int(generator.integers(8))][y : y + height, x : x + width]
        Image.fromarray(pixels).save(place, quality=90)
    return root


def texture(generator: np.random.Generator, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3] whose amplitude at frequency f is 1/f, and whose channels mostly agree."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1
    noise = generator.normal(size=(4, height, width))
    planes = np.fft.irfft2(np.fft.rfft2(noise) / frequency, s=(height, width))
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mixed = 0.9 * planes[:1] + 0.3 * planes[1:]
    return np.clip(128 + 50 * mixed, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


if __name__ == "__main__":
    main()
