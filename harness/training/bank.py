"""The image bank: every image decoded once into one array on disk, from which batches are cut on the device.

There are no loader processes: a batch is a gather and a few batched operations (`views`, `pixels`), so a run needs one
process, and its batches depend on (run seed, epoch, sample) alone. A bank is a folder named by what decides its
content; it appears by one rename, so that it is whole or not there, and all runs and workers of a machine share it.

The side of the squares decides how much of a photo is kept. Crops of 224 from detailed photos of 500 pixels, taken from
squares of 256, differ from the same crops of the photos by 2 to 4 255ths in the mean; from squares of 448, by 1 to 2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import DataError, StoreError
from harness.images import DECODER, ImageSource, Progress, silent
from harness.training.bank_files import is_whole, make_bank, refusal
from harness.training.pixels import apply_view
from harness.training.transfer import fetched, fits_on
from harness.training.views import plan_view

AT_ONCE = 1_000_000
"""Numbers of all views that are cut at once on a CPU: enough for the planning to cost nothing, few enough to be used
before they leave the cache."""


@dataclass(frozen=True, eq=False)
class Bank:
    """All N images as uint8 squares, with their labels; `augmentation` says what the view "train" is."""

    images: Tensor  # uint8 [N, S, S, C]; mapped from disk until `on` moves it
    sizes: NDArray[np.int64]  # [N, 2]: original width and height
    labels: Tensor  # int64 [N]
    is_train: Tensor  # bool [N]
    class_names: tuple[str, ...]
    resize: int
    crop: int
    key: str  # of everything that decides the pixels and sizes
    gallery: Tensor | None = None  # bool [N]: the test images in which queries search (`ImageSource`)
    augmentation: str = "none"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, device: torch.device | str, augmentation: str | None = None) -> Bank:
        """The same bank for batches on `device`: moved there if it fits, else kept here and copied batch by batch."""
        target = torch.device(device)
        images = self.images.to(target) if fits_on(target, self.images) else self.images
        return replace(self, images=images, device=target, augmentation=augmentation or self.augmentation)

    def batch(self, indices: Tensor, view: Literal["train", "test"], seed: int = 0, epoch: int = 0) -> Tensor:
        """The images at `indices` (int64 [B], on the CPU) -> float32 [B, C, crop, crop] in [0, 1], channels last.

        The view "train" of an image depends on (seed, epoch, index) alone, the view "test" on the image.
        """
        return next(self.batches([indices], view, seed, epoch))

    def batches(
        self, chosen: Iterable[Tensor], view: Literal["train", "test"], seed: int = 0, epoch: int = 0
    ) -> Iterator[Tensor]:
        """`batch` of each of the `chosen` indices; for a GPU that cannot hold the bank, the next one travels ahead.

        On a CPU, where a view has the same bits in any batch, small batches are cut several at once.
        """
        if self.device.type != "cpu":
            yield from self._cut(chosen, view, seed, epoch)
            return
        for some in grouped(chosen, AT_ONCE // (self.crop**2 * self.images.shape[3])):
            (views,) = self._cut([torch.cat(some)], view, seed, epoch)
            yield from torch.split(views, [len(indices) for indices in some])

    def _cut(self, chosen: Iterable[Tensor], view: Literal["train", "test"], seed: int, epoch: int) -> Iterator[Tensor]:
        for indices, images, rows in fetched(self.images, chosen, self.device):
            numbers = indices.numpy()
            plan = plan_view(
                self.augmentation,
                self.resize,
                self.crop,
                self.sizes[numbers],
                numbers,
                seed,
                epoch,
                train=view == "train",
            )
            yield apply_view(images, plan, rows)


def grouped(chosen: Iterable[Tensor], limit: int) -> Iterator[list[Tensor]]:
    """Neighboring index tensors in groups of at most `limit` indices, or of one."""
    group: list[Tensor] = []
    for indices in chosen:
        if group and sum(map(len, group)) + len(indices) > limit:
            yield group
            group = []
        group.append(indices)
    if group:
        yield group


def build_bank(source: ImageSource, cache: Path, progress: Progress = silent) -> Bank:
    """The bank of a source: opened from the folder `cache` if it is there and whole, else decoded and kept there.

    Raises DataError that names an image which cannot be decoded (unless the source says to skip such), and StoreError
    when the folder cannot be written or has no room. A build that was interrupted goes on where it was.
    """
    decoder = f"{DECODER}/Pillow {PIL.__version__}"  # which brings its own libjpeg
    key = hashlib.sha256(f"{source.digest}/{source.side}/{source.channels}/{decoder}".encode()).hexdigest()[:24]
    folder = Path(cache) / f"bank-{key}"
    with told_plainly(cache):
        Path(cache).mkdir(parents=True, exist_ok=True)
        if not is_whole(folder, source):
            make_bank(source, folder, progress)
        return _opened(source, folder)


# Opening --------------------------------------------------------------------------------------------------------------


def _opened(source: ImageSource, folder: Path) -> Bank:
    about = json.loads((folder / "about.json").read_text())
    if about["skipped"] and source.on_bad_image == "error":
        raise DataError(refusal(next(iter(about["skipped"].values())), len(about["skipped"])))
    table = np.load(folder / "table.npy")
    # Copy-on-write: torch wants a writable array; nothing ever writes to it.
    images = np.load(folder / "images.npy", mmap_mode="c")
    kept = source.checked_rows(table["row"])
    return Bank(
        images=torch.from_numpy(images),
        sizes=np.stack([table["width"], table["height"]], axis=1),
        labels=torch.from_numpy(kept.labels),
        is_train=torch.from_numpy(kept.is_train),
        gallery=None if kept.gallery is None else torch.from_numpy(kept.gallery),
        class_names=source.class_names,
        resize=source.resize,
        crop=source.crop,
        key=folder.name,
    )


@contextmanager
def told_plainly(cache: Path, what: str = "the image bank") -> Iterator[None]:
    """What the operating system refuses becomes one sentence that names the folder."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what} cannot be kept in {cache}: {error.strerror or error}") from error


def describe(bank: Bank) -> dict[str, Any]:
    """What a run's provenance says about its images."""
    counts = {"train": int(bank.is_train.sum()), "test": int((~bank.is_train).sum())}
    return {"images": counts, "side": bank.images.shape[1], "channels": bank.images.shape[3]}
