from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from harness.training.bank import build_bank
from harness.training.bank_decoding import squared
from harness.training.resampling import sample_boxes, sample_by_products, sample_one_by_one
from harness.training.views import plan_view


def noisy(side: int, seed: int) -> np.ndarray:
    """Nothing but edges: uint8 [side, side, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def crops(side: int, size: int):
    """Eight crops: boxes [8, 4] in pixels of a bank, and which are flipped."""
    sizes = np.broadcast_to([500, 375], (8, 2))
    planned = plan_view("base", 256, size, sizes, np.arange(8), seed=5, epoch=6)
    return planned.boxes * side, planned.flip


def test_images_are_squashed_to_the_side_and_their_size_is_kept(array_source, tmp_path):
    for height, kind in ((8, Image.Resampling.BILINEAR), (12, Image.Resampling.BICUBIC)):
        source = array_source(height=height, width=20, channels=3, side=10, crop=10, resize=10)
        bank = build_bank(source, tmp_path)
        assert bank.images.shape == (12, 10, 10, 3)
        assert (bank.sizes == [20, height]).all()
        expected = Image.fromarray(source.read(5)).resize((10, 10), kind)
        assert (bank.images[5].numpy() == np.asarray(expected)).all()


def test_one_pixel_becomes_a_square_of_it():
    assert (squared(np.array([[[1, 2, 3]]], dtype=np.uint8), 4) == [1, 2, 3]).all()


def test_a_crop_is_not_snapped_to_whole_pixels_of_the_bank():
    ramp = torch.arange(0, 256, 4, dtype=torch.uint8).view(1, 1, 64, 1).expand(1, 64, 64, 1)
    for start in (10.0, 10.25, 10.5, 10.75):
        view = sample_boxes(ramp, np.array([[start, 8, 16, 16]]) / 64, 32)
        expected = 4 * (start - 0.5 + (np.arange(32) + 0.5) / 2)  # the middle of pixel x shows 4 (x - 0.5)
        assert np.abs(view[0, 0].numpy() * 255 - expected).max() <= 1.01


@pytest.mark.parametrize(("side", "size"), [(256, 224), (64, 96), (100, 30)])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_forms_of_resampling_agree_to_one_255th(side, size, channels):
    images = torch.from_numpy(np.stack([noisy(side, seed)[:, :, :channels] for seed in range(8)]))
    boxes, flip = crops(side, size)
    one_by_one = sample_one_by_one(images, np.arange(8), boxes, size, flip)
    gap = (one_by_one - sample_by_products(images, boxes, size, flip)).abs() * 255
    assert gap.max() < 1.01
    assert gap.mean() < 0.3


def test_with_the_ten_bits_of_tf32_the_forms_agree_to_two(monkeypatch):
    def rounded(x: torch.Tensor) -> torch.Tensor:
        mantissa, exponent = torch.frexp(x)
        return torch.ldexp((mantissa * 2**11).round() / 2**11, exponent)

    exact = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: exact(rounded(a), rounded(b)))
    images = torch.from_numpy(np.stack([noisy(256, seed) for seed in range(8)]))
    boxes, flip = crops(256, 224)
    one_by_one = sample_one_by_one(images, np.arange(8), boxes, 224, flip)
    gap = (one_by_one - sample_by_products(images, boxes, 224, flip)).abs() * 255
    assert gap.max() < 2.01
    assert gap.mean() < 0.4


def test_beyond_the_edge_of_a_resampled_image_its_edge_goes_on():
    image = torch.from_numpy(noisy(20, 0))[None]
    view = sample_boxes(image, np.array([[-4.5, -4.5, 20, 20]]) / 20, 40)[0]
    assert torch.equal(view[:, :8, :8], view[:, :1, :1].expand(-1, 8, 8))
    assert torch.equal(view[:, :1, :1], image[0, 0, 0].view(3, 1, 1) / 255)
    assert view.std() > 0.01


def test_whole_pixels_are_picked_as_they_are_and_the_edge_goes_on():
    image = torch.arange(25, dtype=torch.uint8).view(1, 5, 5, 1)
    view = sample_boxes(image, np.array([[2, -1, 5, 5]]) / 5, 5)
    rows, columns = [0, 0, 1, 2, 3], [2, 3, 4, 4, 4]
    assert torch.equal(view[0, 0] * 255, image[0, rows][:, columns, 0].float())
    flipped = sample_boxes(image, np.array([[2, -1, 5, 5]]) / 5, 5, np.array([True]))
    assert torch.equal(flipped, view.flip(3))
