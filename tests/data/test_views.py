from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2_contingency, ks_2samp, kstest
from sklearn.datasets import load_sample_image
from torchvision.transforms import ColorJitter, RandomCrop, RandomGrayscale, RandomHorizontalFlip, RandomResizedCrop
from torchvision.transforms import functional as TF

from harness.training.bank_decoding import squared
from harness.training.pixels import apply_view, jitter_colors
from harness.training.resampling import sample_boxes
from harness.training.views import MAX_SHIFT, ORDERS, Plan, center_boxes, plan_view, uniforms

MANY = np.arange(4000)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with edges and gradients: uint8 [h, w, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def noisy(side: int, seed: int) -> np.ndarray:
    """Nothing but edges: uint8 [side, side, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def plans(augmentation: str, size: tuple[int, int], resize: int = 256, crop: int = 224, indices=MANY) -> Plan:
    sizes = np.broadcast_to(np.array(size), (len(indices), 2))
    return plan_view(augmentation, resize, crop, sizes, indices, seed=5, epoch=6)


# Chance ---------------------------------------------------------------------------------------------------------------


def test_the_hash_is_splitmix64():
    # The first outputs of the reference implementation for the state 0 (Vigna, 2015), as fractions of 2**64.
    reference = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], dtype=np.uint64)
    assert (uniforms(0, np.array([0]), 3)[0] == (reference >> np.uint64(11)) * 2.0**-53).all()


def test_the_numbers_are_uniform_and_unrelated_over_samples_draws_and_keys():
    numbers = uniforms(7, MANY, 8)
    assert kstest(numbers.ravel(), "uniform").pvalue > 0.001
    assert np.abs(np.corrcoef(numbers.T) - np.eye(8)).max() < 0.06
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.06
    assert abs(np.corrcoef(numbers[:, 0], uniforms(8, MANY, 1)[:, 0])[0, 1]) < 0.06
    assert len(np.unique(numbers)) == numbers.size


# Where: against torchvision's distributions ---------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(500, 333), (64, 64), (300, 60)])
def test_random_resized_crops_are_distributed_as_torchvisions(width, height):
    torch.manual_seed(0)
    image = torch.zeros(1, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(len(MANY))]
    )  # top, left, height, width
    ours = plans("base", (width, height)).boxes * [width, height, width, height]
    assert np.allclose(ours, np.rint(ours), atol=1e-6)
    ours = np.rint(ours)  # the test compares values for equality, too
    for mine, yours in ((0, 1), (1, 0), (2, 3), (3, 2)):
        assert ks_2samp(ours[:, mine], theirs[:, yours]).pvalue > 0.001
    areas = ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]
    assert ks_2samp(*areas).pvalue > 0.001


def test_an_image_too_long_for_any_crop_gets_torchvisions_center_crop():
    image = torch.zeros(1, 10, 1000)
    top, left, height, width = RandomResizedCrop.get_params(image, [0.9, 1.0], [3 / 4, 4 / 3])
    boxes = plans("base", (1000, 10), indices=np.arange(50)).boxes * [1000, 10, 1000, 10]
    central = boxes[boxes[:, 3] == 10]
    assert len(central) > 0
    assert np.allclose(central, [left, top, width, height])


def test_red_is_resize_and_random_crop():
    torch.manual_seed(0)
    resized = torch.zeros(1, 256, int(256 * 500 / 333))
    theirs = np.array([RandomCrop.get_params(resized, (224, 224))[:2] for _ in range(len(MANY))])
    ours = np.rint(plans("red", (500, 333)).boxes * [resized.shape[2], 256, resized.shape[2], 256])
    assert (ours[:, 2:] == 224).all()
    assert ks_2samp(ours[:, 0], theirs[:, 1]).pvalue > 0.001
    assert ks_2samp(ours[:, 1], theirs[:, 0]).pvalue > 0.001


def test_shift_moves_by_whole_pixels_in_all_directions_alike():
    boxes = plans("shift", (28, 28), 28, 28).boxes * 28
    steps = np.rint(boxes[:, :2]).astype(int)
    assert np.allclose(boxes[:, :2], steps)
    assert np.allclose(boxes[:, 2:], 28)
    table = np.array([[np.sum((steps == [x, y]).all(1)) for x in range(-2, 3)] for y in range(-2, 3)])
    assert table.sum() == len(MANY)
    assert chi2_contingency(np.stack([table.ravel(), np.full(25, len(MANY) / 25)])).pvalue > 0.001


def test_flip_grey_jitter_and_order_have_their_probabilities():
    plan = plans("adv", (64, 64))
    assert abs(plan.flip.mean() - 0.5) < 0.03
    assert abs(plan.grey.mean() - 0.2) < 0.03
    for column, low in zip(plan.jitter.T, (0.8, 0.8, 0.8, -0.2), strict=True):
        assert kstest(column, "uniform", args=(low, 0.4)).pvalue > 0.001
    assert np.bincount(plan.order, minlength=24).min() > 0.6 * len(MANY) / 24
    assert plans("base", (64, 64)).grey is None
    assert plans("red", (64, 64)).jitter is None


def test_flip_grey_jitter_and_order_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    plan, draws = plans("adv", (64, 64)), range(len(MANY))
    flip, grey, jitter = RandomHorizontalFlip(), RandomGrayscale(0.2), ColorJitter(0.2, 0.2, 0.2, 0.2)
    flipped = [bool(flip(torch.tensor([[[0, 1]]]))[0, 0, 0]) for _ in draws]
    color = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    greyed = [bool(grey(color)[1, 0, 0] > 0) for _ in draws]
    theirs = [jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) for _ in draws]
    assert ks_2samp(plan.flip, flipped).pvalue > 0.001
    assert ks_2samp(plan.grey, greyed).pvalue > 0.001
    for number in range(4):
        assert ks_2samp(plan.jitter[:, number], [drawn[1 + number] for drawn in theirs]).pvalue > 0.001
    orders = [ORDERS.tolist().index(drawn[0].tolist()) for drawn in theirs]
    assert chi2_contingency([np.bincount(plan.order), np.bincount(orders)]).pvalue > 0.001


def test_what_is_drawn_for_an_image_is_drawn_apart():
    plan = plans("adv", (500, 375))
    drawn = np.column_stack([plan.boxes[:, 0], plan.flip, plan.grey, plan.jitter, plan.order])
    assert np.abs(np.corrcoef(drawn.T) - np.eye(8)).max() < 0.06


def test_big_crops_as_large_as_it_resizes_in_training_and_test():
    assert plans("big", (500, 333)).size == 256
    sizes = np.array([[500, 333]])
    assert plan_view("big", 256, 224, sizes, np.array([0]), 0, 0, train=False).size == 256


# What: against torchvision's pixels -----------------------------------------------------------------------------------


def difference(view: torch.Tensor, expected: Image.Image) -> float:
    """Mean absolute difference in 255ths. view [1, 3, s, s]."""
    other = torch.from_numpy(np.asarray(expected).copy()).permute(2, 0, 1).float() / 255
    return float((view[0] - other).abs().mean() * 255)


@pytest.mark.parametrize(("width", "height"), [(500, 333), (240, 375), (100, 80), (256, 256)])
def test_the_test_view_is_resize_and_center_crop(width, height):
    image = photo(height, width)
    banked = np.asarray(Image.fromarray(image).resize((256, 256), Image.Resampling.BILINEAR)).copy()
    plan = Plan(224, center_boxes(np.array([[width, height]]), 256, 224))
    expected = TF.center_crop(TF.resize(Image.fromarray(image), 256), [224, 224])
    assert difference(apply_view(torch.from_numpy(banked)[None], plan), expected) < 2


@pytest.mark.parametrize("size", [32, 64, 224])
@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_of_the_original_is_the_same_crop_of_the_squashed_bank(size, flip):
    image = photo(333, 500)
    banked = np.asarray(Image.fromarray(image).resize((256, 256), Image.Resampling.BILINEAR)).copy()
    top, left, height, width = 41, 102, 230, 301
    boxes = np.array([[left / 500, top / 333, width / 500, height / 333]])
    expected = TF.resized_crop(Image.fromarray(image), top, left, height, width, [size, size])
    expected = TF.hflip(expected) if flip else expected
    view = sample_boxes(torch.from_numpy(banked)[None], boxes, size, np.array([flip]))
    assert difference(view, expected) < 2


@pytest.mark.parametrize("size", [16, 64, 150])
def test_without_squashing_a_crop_is_torchvisions_to_the_last_bit_but_one(size):
    image = photo(64, 64)
    boxes = np.array([[10, 5, 40, 50]]) / 64
    view = sample_boxes(torch.from_numpy(image.copy())[None], boxes, size)
    expected = TF.resized_crop(torch.from_numpy(image.copy()).permute(2, 0, 1), 5, 10, 50, 40, [size, size])
    inside = slice(3, -3)  # torchvision cuts first, so that its edge pixels cannot see their neighbours
    worst = (view[0] * 255 - expected).abs()[:, inside, inside].max()
    assert worst <= 1.01


@pytest.mark.parametrize(
    ("name", "height", "side", "augmentation"),
    [("china.jpg", 400, 400, "base"), ("flower.jpg", 300, 640, "base"), ("flower.jpg", 300, 640, "red")],
)
def test_a_bank_that_keeps_a_photos_pixels_gives_torchvisions_crops(name, height, side, augmentation):
    image = Image.fromarray(load_sample_image(name).copy()).resize((400, height), Image.Resampling.LANCZOS)
    banked = torch.from_numpy(squared(np.asarray(image), side).copy())
    plan = plans(augmentation, image.size, 256, 224, np.arange(40))
    views = apply_view(banked.expand(40, -1, -1, -1), plan)
    source = image if augmentation == "base" else TF.resize(image, 256)
    for view, box, flip in zip(views, plan.boxes, plan.flip, strict=True):
        left, top, width, height = np.rint(box * [*source.size, *source.size]).astype(int)
        expected = TF.resized_crop(source, top, left, height, width, [224, 224])
        assert difference(view[None], TF.hflip(expected) if flip else expected) < 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("augmentation", ["base", "adv", "red", "shift", "none"])
def test_a_gpus_views_are_those_of_the_cpu(augmentation):
    images = torch.from_numpy(np.stack([noisy(256, seed) for seed in range(8)]))
    plan = plans(augmentation, (500, 375), 256, 224, np.arange(8))
    here = apply_view(images, plan, np.arange(8)[::-1].copy())
    there = apply_view(images.cuda(), plan, np.arange(8)[::-1].copy())
    assert there.is_contiguous(memory_format=torch.channels_last)
    gap = (here - there.cpu()).abs() * 255
    assert gap.mean() < 0.6
    if plan.jitter is None:  # a hue may jump where two channels are equal but for one 255th
        assert gap.max() < 2.01


def test_a_shift_is_a_translation_of_the_image():
    images = torch.from_numpy(photo(28, 28).copy()).expand(200, -1, -1, -1)
    plan = plans("shift", (28, 28), 28, 28, np.arange(200))
    views = apply_view(images, plan)
    inner = slice(MAX_SHIFT, 28 - MAX_SHIFT)
    for view, box in zip(views, plan.boxes * 28, strict=True):
        x, y = round(box[0]), round(box[1])
        moved = images[0, MAX_SHIFT + y : 28 - MAX_SHIFT + y, MAX_SHIFT + x : 28 - MAX_SHIFT + x]
        assert torch.equal(view[:, inner, inner], moved.permute(2, 0, 1) / 255)


# Color ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(24))
def test_color_jitter_is_torchvisions_in_every_order(number):
    changes = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    views = torch.from_numpy(photo(20, 20, seed=number).copy()).permute(2, 0, 1)[None] / 255
    amounts = np.array([[1.17, 0.83, 1.2, -0.13]])
    expected = views
    for change in ORDERS[number]:
        expected = changes[change](expected, float(amounts[0, change]))
    jitter_colors(views, amounts, np.array([number]))
    assert torch.allclose(views, expected, atol=1e-5)


def test_color_jitter_of_the_paper_is_what_torchvision_draws():
    ranges = ColorJitter(0.2, 0.2, 0.2, 0.2)
    assert tuple(ranges.brightness) == (0.8, 1.2)
    assert tuple(ranges.hue) == (-0.2, 0.2)


def test_grey_makes_the_channels_equal_and_leaves_the_others_alone():
    images = torch.from_numpy(np.stack([photo(16, 16, seed) for seed in range(2)]))
    boxes = np.array([[0, 0, 1, 1]] * 2, dtype=float)
    views = apply_view(images, Plan(16, boxes, grey=np.array([False, True])))
    assert torch.equal(views[0], images[0].permute(2, 0, 1) / 255)
    expected = TF.rgb_to_grayscale(images[1].permute(2, 0, 1) / 255)
    assert torch.allclose(views[1], expected.expand(3, -1, -1), atol=1e-6)


def test_grey_images_are_jittered_in_brightness_and_contrast():
    views = torch.from_numpy(photo(16, 16)[:, :, :1].copy()).permute(2, 0, 1)[None] / 255
    expected = TF.adjust_contrast(TF.adjust_brightness(views, 1.2), 0.8)
    jitter_colors(views, np.array([[1.2, 0.8, 1.2, 0.2]]), np.array([0]))
    assert torch.allclose(views, expected, atol=1e-5)
