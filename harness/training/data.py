"""The data of a run: the image bank of its data set, split into training, test and the classes that are held out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.images import ImageSource, Progress, silent
from harness.registry import DATASETS
from harness.specs import Choice, Tuned, canonical_json
from harness.training.bank import Bank, build_bank
from harness.training.features import FeatureBank
from harness.training.folds import class_digests, held_out
from harness.training.label_noise import noisy_labels


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Images of the splits. Indices are positions in the bank, on the CPU; labels are on the device."""

    bank: Bank | FeatureBank
    train_index: Tensor  # int64 [N]
    test_index: Tensor
    train_labels: Tensor  # int64 [N], 0..C-1
    test_labels: Tensor
    digest: str
    split_digest: str  # of the names of training and test classes
    true_train_labels: Tensor | None = None  # int64 [N], where `train_labels` are wrong on purpose
    test_gallery: Tensor | None = None  # bool [N], on the device: test images in which the others, the queries, search
    validation_index: Tensor | None = None  # int64 [N], where a fold of the training classes is held out
    validation_labels: Tensor | None = None  # int64 [N], as the bank has them
    class_digests: Mapping[str, str] = field(default_factory=dict)  # split -> digest of the names of its classes

    @property
    def num_classes(self) -> int:
        """Number of training classes."""
        return int(self.split("train")[1].max()) + 1

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Indices and labels of "train", "validation" or "test", as they are measured: with the true labels."""
        if name == "validation":
            assert self.validation_index is not None
            assert self.validation_labels is not None
            return self.validation_index, self.validation_labels
        true = self.train_labels if self.true_train_labels is None else self.true_train_labels
        return (self.train_index, true) if name == "train" else (self.test_index, self.test_labels)

    def gallery(self, name: str) -> Tensor | None:
        """Which images of a split are its gallery, bool [N]; None where each image is both query and gallery."""
        return self.test_gallery if name == "test" else None


def open_data(
    choice: Choice,
    data_root: Path,
    cache: Path,
    device: torch.device,
    augmentation: str,
    features: Callable[[Bank], FeatureBank] | None = None,
    seed: int = 0,
    tuned: Tuned | None = None,
) -> TrainingData:
    """The data of a choice, with its bank on the device when it fits there, or with what `features` makes of it.

    The run's seed decides which labels are wrong where the choice has `label_noise`; `tuned` says which of the training
    classes are held out. Raises DataError where that cannot be done, or where two splits share a class.
    """
    source, bank = _bank_of(choice, data_root, cache)
    test = (~bank.is_train).nonzero().squeeze(1)
    train, validation = _cut(bank, tuned)
    labels = bank.labels[train] if validation is None else _consecutive(bank.labels[train])
    noise = float(choice.options.get("label_noise", 0))
    names = {split: _names(bank, index) for split, index in (("train", train), ("test", test))}
    return TrainingData(
        bank=features(bank) if features else bank.on(device, augmentation),
        train_index=train,
        test_index=test,
        train_labels=(noisy_labels(labels, noise, seed) if noise else labels).to(device),
        true_train_labels=labels.to(device) if noise else None,
        test_labels=bank.labels[test].to(device),
        digest=source.digest,
        split_digest=source.split_digest,
        test_gallery=None if bank.gallery is None else bank.gallery[test].to(device),
        validation_index=validation,
        validation_labels=None if validation is None else bank.labels[validation].to(device),
        class_digests=class_digests(names | ({} if validation is None else {"validation": _names(bank, validation)})),
    )


def _cut(bank: Bank, tuned: Tuned | None) -> tuple[Tensor, Tensor | None]:
    """Positions of the images to train on, and of those that are held out, if any."""
    train = bank.is_train.nonzero().squeeze(1)
    if tuned is None or tuned.role != "fold":
        return train, None
    known = {bank.class_names[label]: label for label in sorted(set(bank.labels[train].tolist()))}
    chosen = torch.tensor([known[name] for name in held_out(list(known), tuned)])
    out = torch.isin(bank.labels[train], chosen)
    return train[~out], train[out]


def _consecutive(labels: Tensor) -> Tensor:
    """Labels 0..C-1 in the same order: tables of proxies are indexed by them."""
    consecutive: Tensor = torch.unique(labels, return_inverse=True)[1]
    return consecutive


def _names(bank: Bank, index: Tensor) -> list[str]:
    return [bank.class_names[label] for label in sorted(set(bank.labels[index].tolist()))]


def open_bank(choice: Choice, data_root: Path, cache: Path) -> Bank:
    """The image bank of a choice, on no device."""
    return _bank_of(choice, data_root, cache)[1]


def _bank_of(choice: Choice, data_root: Path, cache: Path) -> tuple[ImageSource, Bank]:
    options = {name: value for name, value in choice.options.items() if name != "label_noise"}
    return _opened(canonical_json([choice.name, options]), data_root, cache)


@lru_cache(maxsize=4)
def _opened(choice: str, data_root: Path, cache: Path) -> tuple[ImageSource, Bank]:
    # A worker trains many runs on one data set; listing the files again for each would cost more than some runs do.
    name, options = json.loads(choice)
    source = _source(name, options, data_root, silent)
    return source, build_bank(source, cache)


def prepare_bank(choice: Choice, data_root: Path, cache: Path, progress: Progress = silent) -> Bank:
    """Build the bank of a data set if it is not there; what a launcher does once before its workers need it."""
    return build_bank(_source(choice.name, choice.options, data_root, progress), cache, progress)


def _source(name: str, options: Any, data_root: Path, progress: Progress) -> ImageSource:
    source: ImageSource = DATASETS.build(Choice(name, options), data_root=data_root).source(progress)
    return source
