"""Wrong labels on purpose: how many, which, and that neither the test nor the measuring sees them."""

import dataclasses

import pytest
import torch

from harness.errors import OptionError
from harness.registry import DATASETS
from harness.training.assemble import Context, assemble
from harness.training.label_noise import noisy_labels


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5])
def test_the_share_of_labels_is_wrong_and_uniform_over_the_other_classes(share):
    labels = torch.arange(6000) % 5 * 3
    noisy = noisy_labels(labels, share, seed=1)
    wrong = noisy != labels
    assert wrong.sum() == round(share * 6000)
    assert set(noisy.tolist()) == set(labels.tolist())
    if share:
        steps = ((noisy - labels)[wrong] // 3 % 5).bincount(minlength=5)
        assert steps[0] == 0
        assert ((steps[1:] / wrong.sum() - 0.25).abs() < 0.06).all()


def test_the_seed_decides_which():
    labels = torch.arange(300) % 5
    assert torch.equal(noisy_labels(labels, 0.2, 7), noisy_labels(labels, 0.2, 7))
    assert not torch.equal(noisy_labels(labels, 0.2, 7), noisy_labels(labels, 0.2, 8))


def test_one_class_has_no_other():
    assert noisy_labels(torch.zeros(10, dtype=torch.int64), 0.5, 0).tolist() == [0] * 10


def test_training_sees_the_noise_and_what_is_measured_does_not(spec_with, bank_cache, tmp_path):
    context = Context(data_root=tmp_path, cache=bank_cache)
    plain, noisy, again = (
        assemble(spec_with(dataset={"label_noise": share}), context).data for share in (0.0, 0.25, 0.25)
    )
    assert (noisy.train_labels != plain.train_labels).sum() == 12
    assert torch.equal(noisy.train_labels, again.train_labels)
    assert torch.equal(noisy.split("train")[1], plain.train_labels)
    assert torch.equal(noisy.test_labels, plain.test_labels)
    assert noisy.num_classes == plain.num_classes
    assert noisy.digest == plain.digest


def test_another_seed_is_misled_otherwise(spec_with, bank_cache, tmp_path):
    context = Context(data_root=tmp_path, cache=bank_cache)
    spec = spec_with(dataset={"label_noise": 0.25})
    one, other = (assemble(dataclasses.replace(spec, seed=seed), context).data for seed in (0, 1))
    assert not torch.equal(one.train_labels, other.train_labels)


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_data_set_has_the_option(name):
    assert "label_noise" in DATASETS.schema(name).model_fields


def test_a_share_is_below_1():
    assert DATASETS.check("glyphs").options["label_noise"] == 0
    with pytest.raises(OptionError, match="label_noise"):
        DATASETS.check("glyphs", {"label_noise": 1.0})
