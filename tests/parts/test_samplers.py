"""Batch samplers."""

import pytest
import torch

from harness.errors import DataError, StudyError
from harness.registry import build


def labels_of(*sizes):
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def batches(name, labels, batch_size, seed=0, **options):
    return build("sampler", name, labels=labels, batch_size=batch_size, **options).epoch(
        torch.Generator().manual_seed(seed)
    )


def test_an_epoch_has_as_many_whole_batches_as_the_training_set():
    drawn = batches("class_balanced", labels_of(*[5] * 9), 8)
    assert drawn.shape == (5, 8)
    assert drawn.dtype == torch.int64


@pytest.mark.parametrize("samples_per_class", [2, 4, 8])
def test_class_balanced_batches_are_groups_of_distinct_samples_of_one_class(samples_per_class):
    labels = labels_of(*[9] * 30)[torch.randperm(270, generator=torch.Generator().manual_seed(1))]
    groups = batches("class_balanced", labels, 24, samples_per_class=samples_per_class).view(-1, samples_per_class)
    assert (labels[groups] == labels[groups][:, :1]).all()
    assert all(len(group.unique()) == samples_per_class for group in groups)


def test_small_classes_are_drawn_from_with_replacement():
    labels = labels_of(1, 2, 9)
    groups = batches("class_balanced", labels, 4, samples_per_class=4, seed=3).view(-1, 4)
    assert (labels[groups] == labels[groups][:, :1]).all()


def test_a_class_can_occur_twice_in_a_batch_unless_classes_are_not_replaced():
    labels = labels_of(*[10] * 8)
    several = labels[batches("class_balanced", labels, 16)]
    once = labels[batches("class_balanced", labels, 16, replace_classes=False)]
    assert any(len(batch.unique()) < 8 for batch in several)
    assert all(len(batch.unique()) == 8 for batch in once)


@pytest.mark.parametrize("replace_classes", [True, False])
def test_classes_and_the_pairs_inside_them_are_drawn_uniformly(replace_classes):
    labels = labels_of(6, 3, 5, 4)
    sampler = build("sampler", "class_balanced", labels=labels, batch_size=6, replace_classes=replace_classes)
    generator = torch.Generator().manual_seed(0)
    pairs = torch.cat([sampler.epoch(generator).view(-1, 2) for _ in range(4000)])
    share = torch.bincount(labels[pairs[:, 0]]) / len(pairs)
    torch.testing.assert_close(share, torch.full((4,), 0.25), atol=0.01, rtol=0)
    for label, size in enumerate((6, 3, 5, 4)):
        inside = pairs[labels[pairs[:, 0]] == label] - (labels < label).sum()
        low, high = inside.amin(1), inside.amax(1)
        counts = torch.bincount(low * size + high, minlength=size * size).view(size, size)
        assert counts.tril().sum() == 0
        pairs_of_class = counts[torch.ones(size, size).triu(1).bool()]
        expected, freedom = pairs_of_class.double().mean(), len(pairs_of_class) - 1
        chi_square = ((pairs_of_class - expected) ** 2 / expected).sum()
        assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


def test_the_seed_alone_decides_the_batches():
    labels = labels_of(*[10] * 8)
    torch.manual_seed(1)
    first = batches("class_balanced", labels, 16, seed=7)
    torch.manual_seed(2)
    assert torch.equal(batches("class_balanced", labels, 16, seed=7), first)
    assert not torch.equal(batches("class_balanced", labels, 16, seed=8), first)


def test_impossible_batches_are_refused_with_what_would_be_right():
    with pytest.raises(StudyError, match="not a multiple of samples_per_class 4; right would be 8 or 12"):
        batches("class_balanced", labels_of(9, 9), 10, samples_per_class=4)
    with pytest.raises(StudyError, match="needs 8 classes, but there are 2; right would be a batch_size of at most 4"):
        batches("class_balanced", labels_of(9, 9), 16, replace_classes=False)
    with pytest.raises(DataError, match="18 samples, fewer than one batch of 32"):
        batches("class_balanced", labels_of(9, 9), 32)
