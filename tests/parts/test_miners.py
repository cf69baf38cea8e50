"""Miners: what they draw and how often, against definitions and golden distributions (oracles/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from part_batches import all_triplets, balanced_batch, drawn_by
from scipy.stats import chi2

from harness.errors import OptionError
from harness.geometry import normalized
from harness.registry import build
from harness.tuples import choose, found_rows, negative_mask, partner_mask

NUMBERS = np.load(Path(__file__).parent / "oracles" / "miners.npz")
BATCHES = ("s0_b16_d8_norm", "s0_b24_d8_norm", "s1_b24_d32_norm")
DRAWS = dict(zip(BATCHES, (30_000, 100_000, 30_000), strict=True))
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])


def golden(batch, *names):
    return [torch.tensor(NUMBERS[f"{batch}/{name}"]) for name in names]


def counts_of(miner, embeddings, labels, draws=100_000, **options):
    """How often each (anchor, positive, negative) is drawn in about that many draws: [B, B, B]."""
    part, generator = build("miner", miner, **options), torch.Generator().manual_seed(0)
    size = len(labels)
    counts = torch.zeros(size**3, dtype=torch.int64)
    for _ in range(draws // size):
        anchor, positive, negative = part(embeddings, labels, generator)
        counts += torch.bincount((anchor * size + positive) * size + negative, minlength=size**3)
    return counts.view(size, size, size)


def assert_drawn_as(counts, probabilities):
    """Chi-square of counts against probabilities of any common shape, cells of low expectation pooled."""
    counts, expected = counts.flatten().double(), probabilities.flatten().double()
    expected = expected / expected.sum() * counts.sum()
    assert counts[expected == 0].sum() == 0
    rare = expected < 8
    observed = torch.cat((counts[~rare], counts[rare].sum()[None]))
    expected = torch.cat((expected[~rare], expected[rare].sum()[None]))
    some = expected > 0
    statistic = ((observed - expected)[some] ** 2 / expected[some]).sum()
    assert chi2.sf(float(statistic), int(some.sum()) - 1) > 1e-4


def uniform_rows(mask):
    return mask / mask.sum(-1, keepdim=True).clamp_min(1)


def independent(positives, negatives):
    """Probabilities [B, B, B] of a positive and a negative drawn independently for each anchor."""
    return positives[:, :, None] * negatives[:, None, :]


def test_choose_draws_in_proportion_and_never_a_column_without_weight():
    weights = torch.tensor([0.0, 1.0, 0.0, 2.5, 1e-3, 0.5, 0.0])
    drawn = choose(weights.expand(100_000, -1), torch.Generator().manual_seed(0))
    assert_drawn_as(torch.bincount(drawn, minlength=7), weights)


def test_choose_gives_minus_1_for_a_row_without_weight_and_takes_any_layout():
    weights = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]])
    assert choose(weights).tolist() == [-1, 2, 0]
    assert choose(weights.T.contiguous().T).tolist() == [-1, 2, 0]
    assert choose(weights.bool()).tolist() == [-1, 2, 0]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_choose_stays_inside_the_weight_at_both_ends_of_the_uniform_numbers(uniform, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, uniform, dtype=torch.float64))
    weights = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.1, 0.0], [0.0, 1e-30, 0.0, 0.0, 0.0, 0.0]])
    assert choose(weights).tolist() == [1 if uniform == 0 else 4, 1]
    totals = torch.linspace(0.1, 4, 10_000, dtype=torch.float64)[:, None]
    assert (choose(torch.cat((totals, 0 * totals), 1)) == 0).all()
    assert choose(torch.tensor([[5e-324, 0.0]], dtype=torch.float64)) == -1


def test_rows_with_a_member_that_was_not_found_are_dropped():
    rows = [torch.tensor(row) for row in ([0, 1, -1, 3], [1, -1, 0, 2], [2, 0, 1, -1])]
    assert [row.tolist() for row in found_rows(*rows)] == [[0], [1], [2]]


def test_rows_not_found_become_absent_where_dropping_them_would_make_the_host_wait():
    rows = [torch.empty(4, dtype=torch.int64, device="meta") for _ in range(3)]
    assert all(row.shape == (4,) for row in found_rows(*rows))


def test_random_triplets_are_uniform_over_all_valid_ones():
    embeddings = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.stack(all_triplets(LABELS.tolist()))
    valid = torch.zeros(9, 9, 9)
    valid[tuple(rows)] = 1
    assert_drawn_as(counts_of("random", embeddings, LABELS), valid)


@pytest.mark.parametrize("batch", BATCHES)
def test_distance_weighted_without_upper_cutoff_has_the_golden_probabilities(batch):
    embeddings, labels, expected = golden(batch, "emb", "labels", "distance")
    weights = build("miner", "distance_weighted", upper_cutoff=None).weights(embeddings, labels)
    torch.testing.assert_close(weights / weights.sum(1, keepdim=True), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("options", [{}, {"lower_cutoff": 0.8, "upper_cutoff": 1.2}, {"upper_cutoff": None}])
def test_distance_weighted_draws_with_its_probabilities(options):
    embeddings, labels = golden("s0_b16_d8_norm", "emb", "labels")
    lower, upper = options.get("lower_cutoff", 0.5), options.get("upper_cutoff", 1.4)
    expected = torch.zeros(16, 16, dtype=torch.float64)
    for i in range(16):
        for j in range(16):
            d = max(float((embeddings[i] - embeddings[j]).norm()), lower)
            if labels[i] != labels[j] and (upper is None or d < upper):
                expected[i, j] = d ** (2 - 8) * (1 - d * d / 4) ** (-(8 - 3) / 2)
    fallback = expected.sum(1, keepdim=True) == 0
    negatives = uniform_rows(torch.where(fallback, negative_mask(labels), expected))
    counts = counts_of("distance_weighted", embeddings, labels, **options)
    assert_drawn_as(counts, independent(uniform_rows(partner_mask(labels)), negatives))


@pytest.mark.parametrize("upper", [1.4, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 3, 128, 2048])
def test_distance_weights_are_finite_for_near_far_equal_and_opposite_points(dim, dtype, upper):
    generator = torch.Generator().manual_seed(dim)
    points = normalized(torch.randn(20, dim, dtype=dtype, generator=generator))
    tiny = normalized(points[:10] + 1e-6 * torch.randn(10, dim, dtype=dtype, generator=generator))
    embeddings, labels = torch.cat((points, -points, points, tiny)), torch.arange(70) // 2
    weights = build("miner", "distance_weighted", upper_cutoff=upper).weights(embeddings, labels)
    assert weights.isfinite().all()
    assert (weights.sum(1) > 0).all()
    assert weights[~negative_mask(labels)].abs().sum() == 0


def test_beyond_the_upper_cutoff_nothing_is_drawn_while_there_is_something_nearer():
    embeddings = normalized(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.8, 0.6], [-1.0, 0.0], [0.0, -1.0]]))
    labels = torch.tensor([0, 0, 1, 2, 3])
    weights = build("miner", "distance_weighted").weights(embeddings, labels)
    assert weights[0].tolist() == [0, 0, 1, 0, 0]
    assert weights[3].tolist() == [1, 1, 1, 0, 1]  # All of them are beyond: uniform.


@pytest.mark.parametrize("batch", BATCHES)
def test_semihard_draws_uniformly_from_the_golden_sets(batch):
    embeddings, labels, eligible, fallback = golden(batch, "emb", "labels", "semihard", "semihard_fallback")
    eligible = torch.where(fallback.bool()[:, :, None], negative_mask(labels)[:, None, :], eligible.bool())
    expected = uniform_rows(partner_mask(labels))[:, :, None] * uniform_rows(eligible)
    assert_drawn_as(counts_of("semihard", embeddings, labels, DRAWS[batch]), expected)


def test_the_semihard_margin_widens_the_window():
    embeddings, labels = torch.tensor([[0.0], [1.0], [1.3], [1.7], [0.5]]), torch.tensor([0, 0, 1, 2, 3])
    assert counts_of("semihard", embeddings, labels, 500, margin=0.4)[0, 1].nonzero().flatten().tolist() == [2]
    assert counts_of("semihard", embeddings, labels, 500, margin=0.8)[0, 1].nonzero().flatten().tolist() == [2, 3]
    assert counts_of("semihard", embeddings, labels, 500, margin=0.1)[0, 1].nonzero().flatten().tolist() == [2, 3, 4]


@pytest.mark.parametrize("batch", BATCHES)
def test_softhard_draws_uniformly_and_independently_from_the_golden_sets(batch):
    embeddings, labels, positives, negatives = golden(
        batch, "emb", "labels", "softhard_positives", "softhard_negatives"
    )
    counts = counts_of("softhard", embeddings, labels, DRAWS[batch])
    assert_drawn_as(counts, independent(uniform_rows(positives), uniform_rows(negatives)))


def test_hard_takes_the_farthest_positive_and_the_nearest_negative():
    embeddings, labels = balanced_batch(classes=4, per_class=4, dim=3, dtype=torch.float64)
    anchor, positive, negative = drawn_by("hard", embeddings, labels)
    distances = torch.cdist(embeddings, embeddings)
    assert anchor.tolist() == list(range(16))
    for a, p, n in zip(anchor, positive, negative, strict=True):
        assert distances[a, p] == max(distances[a, j] for j in range(16) if labels[j] == labels[a] and j != a)
        assert distances[a, n] == min(distances[a, j] for j in range(16) if labels[j] != labels[a])


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("uniform", [2, 3, 4, 5, 6, 7]),
        ("hard", [2, 3, 4]),
        ("semi_hard", [4, 5]),
        ("very_hard", [2, 3]),
    ],
)
def test_parametric_draws_uniformly_from_the_wanted_bins(mode, wanted):
    # Edges at 0.1, 0.289, 0.478, 0.667, 0.856, ..., 1.8.
    places = [0.0, 5.0, 0.11, 0.47, 0.6, 0.84, 0.9, 1.7, 0.05, 1.9]
    embeddings, labels = torch.tensor(places)[:, None], torch.tensor([0, 0, *range(1, 9)])
    expected = torch.zeros(10)
    expected[wanted] = 1
    assert_drawn_as(counts_of("parametric", embeddings, labels, 20_000, mode=mode)[0, 1], expected)


def test_parametric_edges_are_options_and_without_a_wanted_negative_all_are_drawn():
    embeddings, labels = torch.tensor([0.0, 0.1, 0.4, 0.9])[:, None], torch.tensor([0, 0, 1, 2])
    one_bin = {"mode": "hard", "lower": 0.45, "upper": 2.0, "edges": 2}
    assert build("miner", "parametric", **one_bin).wanted(embeddings, labels)[0].tolist() == [0, 0, 0, 1]
    no_bin = {"mode": "very_hard", "lower": 0.45, "upper": 2.0, "edges": 2}
    assert build("miner", "parametric", **no_bin).wanted(embeddings, labels)[0].tolist() == [0, 0, 1, 1]
    with pytest.raises(OptionError, match="lower 2 is not below upper 1"):
        build("miner", "parametric", lower=2.0, upper=1.0)


def test_random_label_is_distance_weighted_mining_of_shuffled_labels(monkeypatch):
    embeddings, labels, order, negatives = golden("s0_b16_d8_norm", "emb", "labels", "permutation", "random_distance")
    monkeypatch.setattr(torch.Tensor, "argsort", lambda self, *_: order)
    counts = counts_of("random_label", embeddings, labels, upper_cutoff=None)
    assert_drawn_as(counts, independent(uniform_rows(partner_mask(labels[order])), negatives))


def test_random_label_does_not_see_the_true_classes():
    embeddings = torch.ones(8, 2)
    counts = counts_of("random_label", embeddings, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), 40_000)
    off_diagonal = ~torch.eye(8, dtype=torch.bool)
    assert_drawn_as(counts.sum(2), off_diagonal)
    assert_drawn_as(counts.sum(1), off_diagonal)


def test_intra_class_draws_classes_uniformly_and_members_independently():
    same = LABELS[:, None] == LABELS[None, :]
    sizes = same.sum(1)
    expected = (1 / sizes)[:, None, None] * independent(uniform_rows(same), uniform_rows(same))
    everyone = torch.arange(9)
    expected[everyone, everyone, everyone] = 0
    counts = counts_of("intra_class", torch.zeros(9, 2), LABELS)
    assert_drawn_as(counts, expected)
