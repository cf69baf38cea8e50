"""The global loss against a hand computation in plain loops."""

import pytest
import torch
from part_batches import all_triplets, balanced_batch, drawn_by

from harness.errors import OptionError
from harness.registry import MINERS, build
from harness.tuples import Triplets

IN_A_BATCH = [name for name in MINERS.names() if not getattr(MINERS.get(name), "plans", False)]


def added_by(embeddings, labels, tuples, loss=0.0, **options):
    part = build("regularizer", "global_loss", **options)
    part.on_tuples(tuples, labels, None)
    return part.on_loss(torch.as_tensor(loss, dtype=embeddings.dtype), embeddings, labels, None)


def by_hand(embeddings, tuples, margin, weight):
    rows = embeddings.tolist()

    def quarter(i, j):
        return sum((u - v) ** 2 for u, v in zip(rows[i], rows[j], strict=True)) / 4

    near = [quarter(a, p) for a, p, _ in zip(*tuples, strict=True)]
    far = [quarter(a, n) for a, _, n in zip(*tuples, strict=True)]
    count = len(near)
    means = [sum(values) / count for values in (near, far)]
    spreads = [sum((v - m) ** 2 for v in values) / count for values, m in zip((near, far), means, strict=True)]
    return sum(spreads) + weight * max(0.0, means[0] - means[1] + margin)


@pytest.mark.parametrize(("margin", "weight"), [(0.01, 0.8), (0.4, 2.0), (0.0, 0.0)])
def test_it_is_the_sum_of_population_variances_and_the_gap_of_means(margin, weight):
    embeddings, labels = balanced_batch(classes=3, per_class=3, dtype=torch.float64)
    tuples = all_triplets(labels.tolist())
    given = added_by(embeddings, labels, tuples, margin=margin, mean_weight=weight)
    assert given.item() == pytest.approx(by_hand(embeddings, [row.tolist() for row in tuples], margin, weight))


def test_two_triplets_worked_by_hand():
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    tuples = Triplets(torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([2, 1]))
    # d+ = (0.5, 1) and d- = (1, 0.5): both means 0.75, both variances 0.0625.
    assert added_by(embeddings, None, tuples).item() == pytest.approx(0.125 + 0.8 * 0.01)


def test_the_objective_counts_as_much_as_its_weight_says():
    embeddings, labels = balanced_batch(classes=3, dtype=torch.float64)
    tuples = all_triplets(labels.tolist())
    term = added_by(embeddings, labels, tuples)
    assert added_by(embeddings, labels, tuples, loss=2.0, objective_weight=0.5).item() == pytest.approx(1 + term.item())


def test_its_gradient_is_that_of_finite_differences():
    embeddings, labels = balanced_batch(classes=3, dim=4, dtype=torch.float64)
    tuples = all_triplets(labels.tolist())
    assert torch.autograd.gradcheck(
        lambda x: added_by(x, labels, tuples, margin=0.5), embeddings.clone().requires_grad_()
    )


@pytest.mark.parametrize("miner", IN_A_BATCH)
def test_it_works_with_any_miner(miner):
    embeddings, labels = balanced_batch(classes=6)
    assert added_by(embeddings, labels, drawn_by(miner, embeddings, labels)).isfinite()


def test_absent_triplets_count_for_nothing_and_none_at_all_give_a_gradient_of_0():
    embeddings, labels = balanced_batch(classes=3, dtype=torch.float64)
    tuples, nothing = all_triplets(labels.tolist()), torch.zeros(5, dtype=torch.int64)
    padded = Triplets(*(torch.cat([row, nothing]) for row in tuples))
    torch.testing.assert_close(added_by(embeddings, labels, padded), added_by(embeddings, labels, tuples))
    embeddings.requires_grad_()
    empty = added_by(embeddings, labels, Triplets(nothing, nothing, nothing))
    empty.backward()
    assert empty == 0
    assert embeddings.grad.abs().sum() == 0


def test_without_the_triplets_of_the_batch_it_says_so():
    embeddings, labels = balanced_batch()
    with pytest.raises(OptionError, match="takes triplets"):
        build("regularizer", "global_loss").on_loss(torch.tensor(0.0), embeddings, labels, None)


def test_it_tells_the_means_of_its_batches_once():
    part = build("regularizer", "global_loss")
    terms = []
    for seed in range(3):
        embeddings, labels = balanced_batch(classes=4, seed=seed)
        part.on_tuples(all_triplets(labels.tolist()), labels, None)
        terms.append(part.on_loss(torch.tensor(0.0), embeddings, labels, None).item())
    told = part.epoch_numbers()
    assert told["global_loss"] == pytest.approx(sum(terms) / 3)
    assert 0 < told["mean_positive"] < 1
    assert part.epoch_numbers() == {}
