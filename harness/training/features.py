"""The bank of features of a frozen backbone: it gives features where the image bank gives images.

Features of the test view are there for all images, those of the training view in as many seeded augmentations as the
study's `views` says: in an epoch a sample is seen in one of them, chosen by (run seed, epoch, sample) alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.images import Progress, silent
from harness.seeding import seed_for
from harness.training.bank import Bank, told_plainly
from harness.training.feature_files import kept_features
from harness.training.feature_pass import FeaturePass, Recipe
from harness.training.transfer import fits_on
from harness.training.views import uniforms

Blocks = tuple[Tensor, ...]
"""Rows of features [*, F] in blocks of the same length, thought of as one below the other."""


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """Features of all N images of a bank, and of its training images in K views; labels as in the bank."""

    tests: Blocks  # N rows
    views: Blocks  # the rows of all views
    rows: Tensor  # int64 [K, N]: where in `views` an image is in a view
    labels: Tensor  # int64 [N]
    is_train: Tensor  # bool [N]
    class_names: tuple[str, ...]
    device: torch.device

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def features(self) -> int:
        """The number of features of an image."""
        return self.tests[0].shape[1]

    def batch(self, indices: Tensor, view: Literal["train", "test"], seed: int = 0, epoch: int = 0) -> Tensor:
        """The features of the images at `indices` (int64 [B], on the CPU) -> float32 [B, F].

        In which of the views the view "train" shows an image depends on (seed, epoch, index) alone.
        """
        if view == "test":
            return self._gathered(self.tests, indices)
        chance = uniforms(seed_for(seed, "views", epoch), indices.numpy(), 1)[:, 0]
        chosen = torch.from_numpy((chance * len(self.rows)).astype(np.int64))
        return self._gathered(self.views, self.rows[chosen, indices])

    def batches(
        self, chosen: Iterable[Tensor], view: Literal["train", "test"], seed: int = 0, epoch: int = 0
    ) -> Iterator[Tensor]:
        """`batch` of each of the `chosen` indices."""
        return (self.batch(indices, view, seed, epoch) for indices in chosen)

    def _gathered(self, blocks: Blocks, rows: Tensor) -> Tensor:
        """Rows [B] of blocks -> [B, F] on the device."""
        here = blocks[0].device
        if len(blocks) == 1:
            found = blocks[0].index_select(0, rows.to(here))
        else:
            found = torch.empty(len(rows), self.features)
            for number, block in enumerate(blocks):
                mine = (rows // len(block) == number).nonzero().squeeze(1)
                found[mine] = block.index_select(0, rows[mine] - number * len(block))
        if here.type == self.device.type:
            return found
        return found.pin_memory().to(self.device, non_blocking=True)


def feature_bank(
    bank: Bank, recipe: Recipe, data_root: Path, cache: Path, device: torch.device, progress: Progress = silent
) -> FeatureBank:
    """The features of a bank: opened from the cache where they are there and whole, else computed on the device.

    Raises what the backbone raises when its weights are not to be had, and StoreError when the cache has no room.
    """
    with told_plainly(cache, "the bank of features"):
        tests, *views = _kept_views(FeaturePass(bank, recipe, data_root, device), cache, progress)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of the images and the backbone, which are done with
    tests_there = _on_device((tests,), device)
    return FeatureBank(
        tests=tests_there,
        views=_on_device(tuple(views), device) if views else tests_there,
        rows=_rows(bank.is_train, len(views)),
        labels=bank.labels,
        is_train=bank.is_train,
        class_names=bank.class_names,
        device=device,
    )


def _kept_views(passing: FeaturePass, cache: Path, progress: Progress) -> list[Tensor]:
    """The features of the test view [N, F], then those of the training images in each of their views."""
    name, views = passing.recipe.backbone.name, passing.recipe.views
    kept = []
    for view in passing.views():
        which = f"view {view.number + 1} of {views}" if view.kind == "train" else "test view"
        kept.append(kept_features(cache, passing, view, f"computing features of {name}, {which}", progress))
    return kept


def _rows(is_train: Tensor, views: int) -> Tensor:
    """Where each image is in the rows of the views; without views, training sees the test view, which has all."""
    if not views:
        return torch.arange(len(is_train)).unsqueeze(0)
    first = is_train.cumsum(0) - 1
    return first + int(is_train.sum()) * torch.arange(views).unsqueeze(1)


def _on_device(blocks: Blocks, device: torch.device) -> Blocks:
    """On a GPU that holds them they are one block; elsewhere they stay mapped, shared by all workers of the machine."""
    if fits_on(device, *blocks):
        return (torch.cat([block.to(device) for block in blocks]),)
    return blocks
