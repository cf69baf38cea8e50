from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from harness.datasets.glyphs import DEJAVU, TEST_LETTERS, TRAIN_LETTERS, Glyphs, _centered, _font, draw, fonts_of
from harness.errors import OptionError
from harness.registry import DATASETS

SCRIPTS = {"train": {"LATIN", "GREEK"}, "test": {"CYRILLIC", "ARMENIAN", "GEORGIAN"}}


@pytest.mark.parametrize(("side", "letters"), [("train", TRAIN_LETTERS), ("test", TEST_LETTERS)])
def test_a_hundred_different_letters_of_the_right_scripts_without_decomposition(side, letters):
    assert len(letters) == len(set(letters)) == 100
    assert {unicodedata.name(letter).split()[0] for letter in letters} == SCRIPTS[side]
    assert not any(unicodedata.decomposition(letter) for letter in letters)


def test_each_font_of_a_letter_draws_its_own_shape():
    for letter in (TRAIN_LETTERS + TEST_LETTERS)[::3]:
        assert set(DEJAVU) <= set(fonts_of(letter))
        shapes = {draw(letter, instance).tobytes() for instance in range(16)}
        assert len(shapes) == 16


def shape(letter: str) -> np.ndarray:
    """The letter in four fonts, fitted to a box and blurred; each font's part has norm 1/2."""
    parts = []
    for name in DEJAVU[::3]:
        large = _centered(letter, _font(name))
        tight = large.crop(large.getbbox())
        fitted = ImageOps.pad(tight, (24, 24), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1))
        parts.append(np.asarray(fitted, dtype=float).ravel() / np.linalg.norm(fitted) / 2)
    return np.concatenate(parts)


def test_no_two_classes_look_nearly_the_same():
    shapes = np.stack([shape(letter) for letter in TRAIN_LETTERS + TEST_LETTERS])
    alike = shapes @ shapes.T - np.eye(len(shapes))
    assert shape("A") @ shape("\N{CYRILLIC CAPITAL LETTER A}") > 0.99  # what the same shape in two scripts measures
    assert shape("s") @ shape("S") > 0.94  # ... and nearly the same shape in two sizes
    assert alike.max() < 0.92


def test_an_instance_is_the_same_whatever_else_is_drawn_and_by_whom():
    small, large = Glyphs(instances=3, classes=2).source(), Glyphs(instances=5, classes=4).source()
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(large.read, range(len(large))))
    assert small.names[4] == large.names[6] == "B #1"
    assert (small.read(4) == drawn[6]).all()
    assert (small.read(4) != small.read(5)).any()


def test_ink_is_bright_on_black_and_stays_inside():
    source = Glyphs().source()
    images = np.stack([source.read(i) for i in range(0, 4800, 7)])
    assert images.shape[1:] == (28, 28, 1)
    assert (images.reshape(len(images), -1).max(1) > 150).all()
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert (border > 128).any(axis=(1, 2)).mean() < 0.03


def test_the_miniature_has_the_first_letters_of_both_sides():
    source = Glyphs(instances=2, classes=3).source()
    assert source.class_names == tuple(TRAIN_LETTERS[:3] + TEST_LETTERS[:3])
    assert source.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert source.is_train.tolist() == [True] * 6 + [False] * 6


def test_the_digest_follows_the_options():
    digests = {Glyphs(instances=k, classes=c).source().digest for k, c in [(2, 2), (3, 2), (2, 3), (2, 2)]}
    assert len(digests) == 3


@pytest.mark.parametrize("options", [{"instances": 1}, {"classes": 1}, {"classes": 101}, {"instance": 3}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(OptionError, match="option"):
        DATASETS.check("glyphs", options)


def test_raw_pixels_neither_fail_nor_solve_the_task():
    source = Glyphs(instances=8).source()
    test = np.flatnonzero(~source.is_train)
    pixels = np.stack([source.read(i).ravel() for i in test]).astype(float)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    similarity = pixels @ pixels.T - 2 * np.eye(len(pixels))
    recall = (source.labels[test][similarity.argmax(1)] == source.labels[test]).mean()
    assert 0.05 < recall < 0.3  # chance is below 0.01
