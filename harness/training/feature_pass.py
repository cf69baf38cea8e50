"""The pass of a frozen backbone over images, in fixed batches: features have the same bits whenever computed."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.registry import BACKBONES
from harness.seeding import seed_for
from harness.specs import PROTOCOL, Choice, RunSpec, canonical_json
from harness.training.bank import Bank
from harness.training.precision import autocast, tensorfloat32
from harness.training.views import plan_view

BATCH = {"cpu": 16, "cuda": 256}
"""Images a batch. It moves the last bits of features; on a CPU, small batches are twice as fast as large ones."""

VIEW_SEED = 0
"""The seed of the views of training images: not the run's, so that runs of all seeds share their features."""


@dataclass(frozen=True)
class Recipe:
    """What of a spec decides features; the rest is the bank."""

    backbone: Choice  # without the options that say what the harness does with features
    augmentation: str
    views: int
    precision: str
    tf32: bool


def is_frozen(spec: RunSpec) -> bool:
    """Whether a run trains on features of a backbone that stays as it is."""
    return spec.backbone.options.get("trainable") == "head"


def recipe_of(spec: RunSpec) -> Recipe:
    """The recipe of the features of a run with a frozen backbone."""
    training, backbone = spec.training, spec.backbone
    own = Choice(backbone.name, BACKBONES.own_options(backbone), backbone.revision)
    views = int(backbone.options["views"])
    return Recipe(own, training.augmentation, views, training.precision, training.tf32)


@dataclass(frozen=True, eq=False)
class View:
    """One look at images: the test view of all of them, or a numbered augmentation of each training image."""

    kind: Literal["train", "test"]
    number: int
    index: Tensor  # int64 [n]: positions in the bank


class FeaturePass:
    """A backbone over a bank. Nothing is built before the first batch is wanted: usually all features are there."""

    def __init__(self, bank: Bank, recipe: Recipe, data_root: Path, device: torch.device) -> None:
        self.bank, self.recipe, self.data_root, self.device = bank, recipe, data_root, device
        self.batch_size = BATCH[device.type]

    def views(self) -> list[View]:
        """The test view, then those of the training images; without augmentation they are the test view."""
        everything = View("test", 0, torch.arange(len(self.bank)))
        if self.recipe.augmentation == "none":
            return [everything]
        train = self.bank.is_train.nonzero().squeeze(1)
        return [everything, *(View("train", number, train) for number in range(self.recipe.views))]

    def key(self, view: View) -> str:
        """The name of everything that decides the features of a view, to the last bit."""
        bank, recipe = self.bank, self.recipe
        nothing = np.zeros(0, dtype=np.int64)
        no_images = nothing.reshape(0, 2)
        size = plan_view(recipe.augmentation, bank.resize, bank.crop, no_images, nothing, 0, 0, train=False).size
        said = {
            "bank": [bank.key, bank.resize, size],  # `big` has a test view of its own
            "index": hashlib.sha256(view.index.numpy().tobytes()).hexdigest(),
            "view": [recipe.augmentation, VIEW_SEED, view.number] if view.kind == "train" else "test",
            "backbone": asdict(recipe.backbone),
            "arithmetic": [self.device.type, self.batch_size, recipe.precision, self._tf32],
            "code": [PROTOCOL, torch.__version__],
        }
        return hashlib.sha256(canonical_json(said).encode()).hexdigest()[:24]

    @property
    def _tf32(self) -> bool:
        return self.recipe.tf32 and self.device.type == "cuda"

    @cached_property
    def backbone(self) -> nn.Module:
        """In evaluation mode, on the device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(VIEW_SEED, "weights"))  # whatever ready weights do not cover is the same always
            built: nn.Module = BACKBONES.build(self.recipe.backbone, data_root=self.data_root)
        return built.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]

    @cached_property
    def images(self) -> Bank:
        """The bank on the device, if that holds it."""
        return self.bank.on(self.device, self.recipe.augmentation)

    @cached_property
    def width(self) -> int:
        """The number of features of an image."""
        assert isinstance(self.backbone.features, int)
        return self.backbone.features

    def run(self, view: View, batches: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The features [b, F] of some batches of a view, in this order; batch i starts at image i * `batch_size`."""
        chunks = [view.index[i * self.batch_size : (i + 1) * self.batch_size] for i in batches]
        bank = self.images
        if self.device.type == "cpu":
            return self._on_all_cores(lambda chunk: bank.batch(chunk, view.kind, VIEW_SEED, view.number), chunks)
        return self._on_device(bank.batches(chunks, view.kind, VIEW_SEED, view.number))

    def _on_device(self, batches: Iterator[Tensor]) -> Iterator[NDArray[np.float32]]:
        # The algorithms of convolutions must not depend on what is quickest today.
        with torch.backends.cudnn.flags(benchmark=False, deterministic=True), tensorfloat32(self._tf32):
            for images in batches:
                yield self._features(images)

    def _on_all_cores(self, cut: Callable[[Tensor], Tensor], chunks: Sequence[Tensor]) -> Iterator[NDArray[np.float32]]:
        """A batch a thread: faster than many threads a batch, and the same bits with any number of them."""
        threads = torch.get_num_threads()
        assert self.backbone is not None  # built here, not by several threads at once
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            waiting: deque[Future[NDArray[np.float32]]] = deque()
            for chunk in chunks:
                waiting.append(pool.submit(lambda chunk: self._features(cut(chunk)), chunk))
                if len(waiting) > 2 * threads:  # no further ahead: results would pile up, and nobody could stop
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # threads that are yet to come look at what was set last

    @torch.inference_mode()
    def _features(self, images: Tensor) -> NDArray[np.float32]:
        with autocast(self.device, self.recipe.precision):
            features: Tensor = self.backbone(images)
        found: NDArray[np.float32] = features.float().cpu().numpy()
        return found
