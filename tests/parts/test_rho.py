"""The rho-regularizer."""

import torch
from part_batches import balanced_batch, drawn_by

from harness.registry import build
from harness.tuples import Triplets


def swapped(tuples, labels, probability, seed=0):
    regularizer = build("regularizer", "rho", probability=probability)
    return regularizer.on_tuples(tuples, labels, torch.Generator().manual_seed(seed))


def many_triplets(labels, embeddings, copies):
    drawn = drawn_by("random", embeddings, labels)
    return Triplets(*(row.repeat(copies) for row in drawn))


def test_a_swapped_triplet_pushes_the_anchor_from_its_own_class():
    embeddings, labels = balanced_batch(classes=5, per_class=3)
    tuples = drawn_by("random", embeddings, labels)
    anchor, positive, negative = swapped(tuples, labels, 1.0)
    assert torch.equal(anchor, tuples.anchor)
    assert torch.equal(positive, anchor)
    assert (labels[negative] == labels[anchor]).all()
    assert (negative != anchor).all()


def test_without_probability_nothing_is_swapped():
    embeddings, labels = balanced_batch(classes=5, per_class=3)
    tuples = drawn_by("random", embeddings, labels)
    assert all(torch.equal(one, other) for one, other in zip(swapped(tuples, labels, 0.0), tuples, strict=True))


def test_triplets_are_swapped_as_often_as_the_probability_says():
    embeddings, labels = balanced_batch(classes=5, per_class=3)
    tuples = many_triplets(labels, embeddings, 4000)
    result = swapped(tuples, labels, 0.35)
    share = (result.positive == result.anchor).double().mean()
    assert abs(share - 0.35) < 5 * (0.35 * 0.65 / len(tuples.anchor)) ** 0.5


def test_the_swapped_sample_is_uniform_over_the_class():
    labels = torch.tensor([0, 0, 0, 0, 1])
    tuples = Triplets(*(torch.full((30000,), position) for position in (1, 0, 4)))
    counts = torch.bincount(swapped(tuples, labels, 1.0).negative, minlength=5)
    assert counts[[1, 4]].sum() == 0
    assert ((counts[[0, 2, 3]] - 10000).abs() < 500).all()


def test_an_anchor_without_a_partner_and_an_absent_row_stay_as_they_are():
    labels = torch.tensor([0, 0, 1])
    tuples = Triplets(torch.tensor([2, 0]), torch.tensor([2, 0]), torch.tensor([0, 0]))
    assert all(torch.equal(one, other) for one, other in zip(swapped(tuples, labels, 1.0), tuples, strict=True))


def test_the_generator_alone_decides_what_is_swapped():
    embeddings, labels = balanced_batch(classes=8, per_class=3)
    tuples = drawn_by("random", embeddings, labels)
    torch.manual_seed(1)
    first = swapped(tuples, labels, 0.5, seed=7)
    torch.manual_seed(2)
    assert torch.equal(swapped(tuples, labels, 0.5, seed=7).negative, first.negative)
    assert not torch.equal(swapped(tuples, labels, 0.5, seed=8).negative, first.negative)


def test_the_loss_is_not_touched():
    loss = torch.tensor(1.5)
    assert build("regularizer", "rho").on_loss(loss, None, None, None) is loss
