from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from harness.training import transfer
from harness.training.bank import build_bank
from harness.training.transfer import fetched, fits_on, one_ahead


def test_one_ahead_gives_every_item_with_what_was_made_of_it_in_order():
    assert list(one_ahead(lambda x: 10 * x, iter(range(5)))) == [(x, 10 * x) for x in range(5)]
    assert list(one_ahead(lambda x: 10 * x, [])) == []


def test_work_on_the_next_item_begins_before_an_item_is_handed_out_and_no_further():
    begun = [threading.Event() for _ in range(4)]

    def work(number: int) -> int:
        begun[number].set()
        return number

    items = one_ahead(work, range(4))
    next(items)
    assert begun[1].wait(10)
    next(items)
    assert begun[2].wait(10)
    assert not begun[3].is_set()
    items.close()
    assert not begun[3].is_set()


def test_what_goes_wrong_with_an_item_is_raised_when_its_turn_comes():
    items = one_ahead(lambda x: 1 / (x - 2), range(1, 4))
    assert next(items) == (1, -1.0)
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_a_bank_that_is_where_its_batches_are_is_not_moved():
    images = torch.zeros(6, 2, 2, 1, dtype=torch.uint8)
    ((indices, same, rows),) = fetched(images, [torch.tensor([5, 1])], torch.device("cpu"))
    assert same is images
    assert indices.tolist() == rows.tolist() == [5, 1]


def test_a_bank_goes_to_a_gpu_that_has_twice_its_size_free(monkeypatch):
    images = torch.zeros(10, 10, 10, 1, dtype=torch.uint8)
    for free, fits in ((2000, True), (1999, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**6))
        assert fits_on(torch.device("cuda"), images) is fits
    assert not fits_on(torch.device("cpu"), images)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("headroom", [0.5, 0.0])
def test_batches_on_a_gpu_are_those_of_the_cpu_wherever_the_bank_is(array_source, tmp_path, monkeypatch, headroom):
    monkeypatch.setattr(transfer, "HEADROOM", headroom)
    bank = build_bank(array_source(20, 30, 3, each=40, side=24, resize=16, crop=12), tmp_path)
    there = bank.on("cuda", "base")
    assert there.images.is_cuda is (headroom > 0)
    chosen = [torch.from_numpy(np.random.default_rng(seed).integers(0, 160, 64)) for seed in range(20)]
    for indices, batch in zip(chosen, there.batches(chosen, "train", 1, 2), strict=True):
        assert batch.is_cuda
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert (batch.cpu() - bank.on("cpu", "base").batch(indices, "train", 1, 2)).abs().max() * 255 < 2.01
