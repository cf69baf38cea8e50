from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.training.bank import build_bank


@pytest.fixture
def color_bank(array_source, tmp_path):
    return build_bank(array_source(20, 30, 3, each=8, side=24, resize=16, crop=12), tmp_path)


ALL = ["none", "shift", "base", "big", "adv", "red"]


@pytest.mark.parametrize("augmentation", ALL)
def test_a_batch_is_float_in_the_unit_interval_of_the_crop_size(color_bank, augmentation):
    bank = color_bank.on("cpu", augmentation)
    for view in ("train", "test"):
        batch = bank.batch(torch.tensor([5, 0, 31]), view, seed=1, epoch=2)
        side = 16 if augmentation == "big" else 12
        assert batch.shape == (3, 3, side, side)
        assert batch.dtype == torch.float32
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch.min() >= 0
        assert batch.max() <= 1
        assert batch.std() > 0.01


@pytest.mark.parametrize("augmentation", ALL)
def test_a_view_depends_neither_on_the_batch_nor_on_the_order(color_bank, augmentation):
    bank = color_bank.on("cpu", augmentation)
    together = bank.batch(torch.arange(32), "train", seed=3, epoch=4)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    shuffled = torch.cat([bank.batch(part, "train", seed=3, epoch=4) for part in order.split(5)])
    assert torch.equal(shuffled, together[order])


@pytest.mark.parametrize("augmentation", ALL[1:])
def test_run_seed_and_epoch_alone_decide_the_views(color_bank, augmentation):
    bank, some = color_bank.on("cpu", augmentation), torch.arange(12)
    torch.manual_seed(1)
    first = bank.batch(some, "train", seed=3, epoch=4)
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(bank.batch(some, "train", seed=3, epoch=4), first)
    assert not torch.equal(bank.batch(some, "train", seed=4, epoch=4), first)
    assert not torch.equal(bank.batch(some, "train", seed=3, epoch=5), first)
    assert torch.equal(bank.batch(some, "test", seed=3, epoch=4), bank.batch(some, "test", seed=9, epoch=9))


@pytest.mark.parametrize("augmentation", ["base", "adv", "red", "shift"])
def test_neither_threads_nor_company_move_a_bit(array_source, tmp_path, augmentation):
    source = array_source(90, 120, 3, each=4, side=80, resize=200, crop=200)
    bank = build_bank(source, tmp_path).on("cpu", augmentation)
    threads, views = torch.get_num_threads(), []
    try:
        for number, parts in ((1, 16), (2, 16), (3, 5), (1, 1)):
            torch.set_num_threads(number)
            views.append(torch.cat([bank.batch(part, "train", 1, 2) for part in torch.arange(16).split(parts)]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(view, views[0]) for view in views[1:])


def test_batches_are_the_batch_of_each(color_bank):
    chosen = list(torch.arange(32).split(7))
    batches = list(color_bank.on("cpu", "base").batches(iter(chosen), "train", 3, 4))
    assert len(batches) == len(chosen)
    for indices, batch in zip(chosen, batches, strict=True):
        assert torch.equal(batch, color_bank.on("cpu", "base").batch(indices, "train", 3, 4))


def test_an_array_at_its_own_side_is_tested_pixel_by_pixel(array_source, tmp_path):
    source = array_source()
    batch = build_bank(source, tmp_path).batch(torch.tensor([4, 4, 9]), "test")
    expected = np.stack([source.read(i) for i in (4, 4, 9)])
    assert torch.equal(batch, torch.from_numpy(expected).permute(0, 3, 1, 2) / 255)
