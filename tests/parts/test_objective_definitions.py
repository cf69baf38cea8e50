"""Every objective against its definition, written as plain loops over samples in float64: value and gradients.

The loops follow the formulas of the papers (or, for `as_published`, of the published code) one term at a time and share
nothing with the library but the batch.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from part_batches import all_triplets, uneven_batch

from harness.registry import OBJECTIVES, build
from harness.tuples import Triplets

ZERO = torch.zeros((), dtype=torch.float64)


def hinge(x):
    return x.clamp_min(0)


def apart(u, v):
    return (u - v).norm()


def mean(terms):
    return torch.stack(terms).mean() if terms else ZERO


def log_sum_exp(terms):
    return torch.stack(terms).exp().sum().log()


def log_1_plus_sum_exp(terms):
    return (1 + torch.stack(terms).exp().sum()).log() if terms else ZERO


def unit(u):
    return u / u.norm()


def partners(y, i):
    return [j for j in range(len(y)) if j != i and y[j] == y[i]]


def strangers(y, i):
    return [j for j in range(len(y)) if y[j] != y[i]]


def contrastive(z, y, triplets, part, apart=apart):
    pull = [hinge(apart(z[a], z[p]) - 0.1) for a, p, n in triplets]
    push = [hinge(0.9 - apart(z[a], z[n])) for a, p, n in triplets]
    return mean(pull) + mean(push)


def apart_as_published(u, v):
    return (u - v + 1e-6).square().sum().sqrt()


def contrastive_as_published(z, y, triplets, part):
    return contrastive(z, y, triplets, part, apart_as_published)


def triplet(z, y, triplets, part):
    return mean([hinge(apart(z[a], z[p]) ** 2 - apart(z[a], z[n]) ** 2 + 0.3) for a, p, n in triplets])


def triplet_ratio(z, y, triplets, part):
    return mean([hinge(1 - apart(z[a], z[n]) / (apart(z[a], z[p]) + 0.3)) for a, p, n in triplets])


def margin_terms(z, y, triplets, part):
    return [
        (hinge(apart(z[a], z[p]) - part.beta[y[a]] + 0.3), hinge(part.beta[y[a]] - apart(z[a], z[n]) + 0.3))
        for a, p, n in triplets
    ]


def margin(z, y, triplets, part):
    terms = [term for pair in margin_terms(z, y, triplets, part) for term in pair]
    return sum(terms, ZERO) / max(sum(term > 0 for term in terms), 1)


def margin_as_published(z, y, triplets, part):
    pairs = margin_terms(z, y, triplets, part)
    return sum((pull + push for pull, push in pairs), ZERO) / max(sum(pull + push > 0 for pull, push in pairs), 1)


def quadruplet(z, y, triplets, part):
    first = [hinge(apart(z[a], z[p]) - apart(z[a], z[n]) + 0.3) for a, p, n in triplets]
    second = []
    for a, p, n in triplets:
        thirds = [f for f in range(len(y)) if y[f] not in (y[a], y[n])]
        if thirds:
            second.append(mean([hinge(apart(z[a], z[p]) - apart(z[n], z[f]) + 0.1) for f in thirds]))
    return mean(first) + mean(second)


def quadruplet_as_published(z, y, triplets, part):
    first = [hinge(apart(z[a], z[p]) - apart(z[a], z[n]) + 0.3) for a, p, n in triplets]
    second = [hinge(apart(z[a], z[p]) - apart(z[n], z[f]) + 0.1) for a, p, n in triplets for f in range(len(y))]
    return mean(first) + mean(second)


def snr(z, y, triplets, part):
    terms = [hinge((z[a] - z[p]).var() / z[a].var() - (z[a] - z[n]).var() / z[a].var() + 0.3) for a, p, n in triplets]
    active = [term for term in terms if term > 0]
    return mean(active) + 0.01 * mean([z[a].sum().abs() for a, p, n in triplets])


def pairwise(y, of_pair):
    """Mean over anchors of the mean over their positives."""
    return mean([mean([of_pair(a, p) for p in partners(y, a)]) for a in range(len(y)) if partners(y, a)])


def length_penalty(z, y):
    return 0.01 * mean([u.norm() for u in z]) if any(partners(y, i) for i in range(len(y))) else ZERO


def n_pair(z, y, triplets, part):
    def of_pair(a, p):
        return log_1_plus_sum_exp([z[a] @ z[n] - z[a] @ z[p] for n in strangers(y, a)])

    return pairwise(y, of_pair) + length_penalty(z, y)


def angular(z, y, triplets, part, negatives=lambda y, a, p: strangers(y, a)):
    t = math.tan(math.radians(40)) ** 2
    h = [unit(u) for u in z]

    def of_pair(a, p):
        others = negatives(y, a, p)
        plain = log_1_plus_sum_exp([z[a] @ z[n] - z[a] @ z[p] for n in others])
        angle = log_1_plus_sum_exp([4 * t * (h[a] + h[p]) @ h[n] - 2 * (1 + t) * h[a] @ h[p] for n in others])
        return plain + 1.5 * angle

    return pairwise(y, of_pair) + length_penalty(z, y)


def angular_as_published(z, y, triplets, part):
    return angular(z, y, triplets, part, lambda y, a, p: [n for n in range(len(y)) if n not in (a, p)])


def generalized_lifted(z, y, triplets, part, apart=apart):
    anchors = [a for a in range(len(y)) if partners(y, a)]
    terms = []
    for a in anchors:
        far = log_sum_exp([apart(z[a], z[p]) for p in partners(y, a)])
        near = [0.8 - apart(z[a], z[n]) for n in strangers(y, a)]
        terms.append(hinge(far + log_sum_exp(near)) if near else ZERO)
    return mean(terms) + length_penalty(z, y)


def generalized_lifted_as_published(z, y, triplets, part):
    return generalized_lifted(z, y, triplets, part, apart_as_published)


def histogram(z, y, triplets, part, bins=9, upper_kept=(1,) * 8):
    width = 2 / (bins - 1)
    positive, negative = [], []
    for i, j in itertools.combinations(range(len(y)), 2):
        (positive if y[i] == y[j] else negative).append(z[i] @ z[j])

    def weight(s, node):
        place = -1 + node * width
        kept = s >= place or not 0 < node < bins or upper_kept[node - 1]
        return hinge(1 - (s - place).abs() / width) * kept

    def share(values, node):
        return sum((weight(s, node) for s in values), ZERO) / max(len(values), 1)

    total = ZERO
    for r in range(bins):
        total = total + share(negative, r) * sum((share(positive, q) for q in range(r + 1)), ZERO)
    return total


def histogram_as_published(z, y, triplets, part):
    return histogram(z, y, triplets, part, 11, (1, 1, 0, 0, 0, 0, 0, 0, 1, 1))


def multi_similarity_terms(z, y):
    terms = []
    for i in range(len(y)):
        if not partners(y, i) or not strangers(y, i):
            continue
        least = min(z[i] @ z[p] for p in partners(y, i))
        most = max(z[i] @ z[n] for n in strangers(y, i))
        kept_p = [p for p in partners(y, i) if z[i] @ z[p] - 0.2 < most]
        kept_n = [n for n in strangers(y, i) if z[i] @ z[n] + 0.2 > least]
        if kept_p and kept_n:
            pull = log_1_plus_sum_exp([-3 * (z[i] @ z[p] - 0.4) for p in kept_p]) / 3
            push = log_1_plus_sum_exp([30 * (z[i] @ z[n] - 0.4) for n in kept_n]) / 30
            terms.append(pull + push)
    return terms


def multi_similarity(z, y, triplets, part):
    return mean(multi_similarity_terms(z, y))


def multi_similarity_over_the_batch(z, y, triplets, part):
    return sum(multi_similarity_terms(z, y), ZERO) / len(y)


def cross_entropy(logits, y):
    return mean([log_sum_exp(row) - row[c] for row, c in zip(logits, y, strict=True)])


def proxy_nca(z, y, triplets, part):
    x, q = [2.5 * unit(u) for u in z], [2.5 * unit(p) for p in part.proxies]
    terms = []
    for i, c in enumerate(y):
        others = [-(apart(x[i], q[k]) ** 2) for k in range(len(q)) if k != c]
        terms.append(apart(x[i], q[c]) ** 2 + log_sum_exp(others))
    return mean(terms)


def proxy_nca_plus_plus(z, y, triplets, part):
    return cross_entropy([[-(apart(unit(u), unit(p)) ** 2) / 0.2 for p in part.proxies] for u in z], y)


def proxy_anchor(z, y, triplets, part, as_published=False):
    s = [[unit(u) @ unit(p) for p in part.proxies] for u in z]
    classes = range(len(part.proxies))
    pull, weights, push = [], [], []
    for c in classes:
        own = [-20 * (s[i][c] - 0.2) for i in range(len(y)) if y[i] == c]
        other = [20 * (s[i][c] + 0.2) for i in range(len(y)) if y[i] != c]
        push.append(log_1_plus_sum_exp(other))
        if own:
            pull.append(log_1_plus_sum_exp(own))
            weights.append(len(own) if as_published else 1)
    return sum(w * t for w, t in zip(weights, pull, strict=True)) / sum(weights) + mean(push)


def proxy_anchor_as_published(z, y, triplets, part):
    return proxy_anchor(z, y, triplets, part, as_published=True)


def normalized_softmax(z, y, triplets, part):
    return cross_entropy([[u @ unit(p) / 0.1 for p in part.proxies] for u in z], y)


def arcface(z, y, triplets, part):
    def logit(i, c):
        cosine = unit(z[i]) @ unit(part.proxies[c])
        if c != y[i]:
            return 10 * cosine
        angle = cosine.acos()
        return 10 * ((angle + 0.4).cos() if angle + 0.4 <= math.pi else cosine - 0.4 * math.sin(0.4))

    return cross_entropy([[logit(i, c) for c in range(len(part.proxies))] for i in range(len(y))], y)


def arcface_as_published(z, y, triplets, part):
    rows = []
    for i, c in enumerate(y):
        cosines = [(z[i] @ unit(p)).clamp(1e-10, 1 - 1e-10) for p in part.proxies]
        shift = (cosines[c].acos() + 0.4).cos() - cosines[c]
        rows.append([10 * (cosine + shift) for cosine in cosines])
    return cross_entropy(rows, y)


def cosface(z, y, triplets, part):
    rows = [[20 * (unit(u) @ unit(p)) for p in part.proxies] for u in z]
    return cross_entropy([[s - 20 * 0.3 * (k == c) for k, s in enumerate(r)] for r, c in zip(rows, y, strict=True)], y)


def soft_triple(z, y, triplets, part):
    centers = [[unit(w) for w in of_class] for of_class in part.centers]
    return soft_triple_of(centers, z, y, lambda s: [(torch.stack(row) / 0.2).softmax(0) for row in s])


def soft_triple_as_published(z, y, triplets, part):
    lengths = part.centers.square().sum((0, 1)).sqrt()
    centers = [[w / lengths for w in of_class] for of_class in part.centers]

    def over_classes(s):
        per_center = [torch.stack([0.2 * row[k] for row in s]).softmax(0) for k in range(len(s[0]))]
        return [[per_center[k][c] for k in range(len(per_center))] for c in range(len(s))]

    return soft_triple_of(centers, z, y, over_classes)


def soft_triple_of(centers, z, y, assign):
    rows = []
    for u, c in zip(z, y, strict=True):
        s = [[u @ w for w in of_class] for of_class in centers]
        q = assign(s)
        logits = [sum(q[k][j] * s[k][j] for j in range(len(s[k]))) for k in range(len(s))]
        rows.append([6 * (value - 0.05 * (k == c)) for k, value in enumerate(logits)])
    total = ZERO
    for of_class in centers:
        for v, w in itertools.combinations(of_class, 2):
            total = total + hinge(2 + 1e-5 - 2 * v @ w).sqrt()
    count = len(centers) * len(centers[0]) * (len(centers[0]) - 1)
    return cross_entropy(rows, y) + 0.3 * total / count


PUBLISHED = {"as_published": True}
CONTRASTIVE = {"positive_margin": 0.1, "negative_margin": 0.9}
LIFTED = {"margin": 0.8, "l2_weight": 0.01}
MARGIN = {"margin": 0.3}
QUADRUPLET = {"margin": 0.3, "second_margin": 0.1}
ANGULAR = {"alpha": 40.0, "angular_weight": 1.5, "l2_weight": 0.01}
SIMILARITY = {"alpha": 3.0, "beta": 30.0, "threshold": 0.4, "margin": 0.2}
ANCHOR = {"alpha": 20.0, "delta": 0.2}
ARC = {"margin": 0.4, "scale": 10.0}
CENTERS = {"centers_per_class": 3, "scale": 6.0, "gamma": 0.2, "margin": 0.05, "merge_weight": 0.3}
DEFINITIONS = [
    (contrastive, "contrastive", CONTRASTIVE),
    (contrastive_as_published, "contrastive", CONTRASTIVE | PUBLISHED),
    (triplet, "triplet", MARGIN),
    (triplet_ratio, "triplet_ratio", MARGIN),
    (margin, "margin", MARGIN | {"beta": 0.8}),
    (margin_as_published, "margin", MARGIN | {"beta": 0.8} | PUBLISHED),
    (quadruplet, "quadruplet", QUADRUPLET),
    (quadruplet_as_published, "quadruplet", QUADRUPLET | PUBLISHED),
    (snr, "snr", MARGIN | {"zero_mean_weight": 0.01}),
    (n_pair, "n_pair", {"l2_weight": 0.01}),
    (angular, "angular", ANGULAR),
    (angular_as_published, "angular", ANGULAR | PUBLISHED),
    (generalized_lifted, "generalized_lifted", LIFTED),
    (generalized_lifted_as_published, "generalized_lifted", LIFTED | PUBLISHED),
    (histogram, "histogram", {"bins": 9}),
    (histogram_as_published, "histogram", {"bins": 11} | PUBLISHED),
    (multi_similarity, "multi_similarity", SIMILARITY),
    (multi_similarity_over_the_batch, "multi_similarity", SIMILARITY | {"average": "batch"}),
    (proxy_nca, "proxy_nca", {"scale": 2.5}),
    (proxy_nca_plus_plus, "proxy_nca_plus_plus", {"temperature": 0.2}),
    (proxy_anchor, "proxy_anchor", ANCHOR),
    (proxy_anchor_as_published, "proxy_anchor", ANCHOR | PUBLISHED),
    (normalized_softmax, "normalized_softmax", {"temperature": 0.1}),
    (arcface, "arcface", ARC),
    (arcface_as_published, "arcface", ARC | PUBLISHED),
    (cosface, "cosface", {"margin": 0.3, "scale": 20.0}),
    (soft_triple, "soft_triple", CENTERS),
    (soft_triple_as_published, "soft_triple", CENTERS | PUBLISHED),
]


def gradients(loss, variables):
    if not loss.requires_grad:
        return [torch.zeros_like(variable) for variable in variables]
    found = torch.autograd.grad(loss, variables, allow_unused=True)
    pairs = zip(found, variables, strict=True)
    return [torch.zeros_like(variable) if gradient is None else gradient for gradient, variable in pairs]


def some_triplets(labels, seed):
    """Triplets of the batch in any number, some of them swapped as the rho-regularizer does."""
    rows = torch.stack(all_triplets(labels), 1)
    if len(rows) == 0:
        return rows
    generator = torch.Generator().manual_seed(seed)
    rows = rows[torch.randint(len(rows), (1 + seed % 9,), generator=generator)]
    swapped = torch.stack((rows[:, 0], rows[:, 0], rows[:, 1]), 1)
    return torch.where(torch.rand(len(rows), 1, generator=generator) < 0.2, swapped, rows)


@pytest.mark.parametrize(
    ("definition", "name", "options"), DEFINITIONS, ids=lambda value: getattr(value, "__name__", "")
)
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=2, max_size=7),
    dim=st.integers(2, 5),
    seed=st.integers(0, 10_000),
)
def test_objectives_agree_with_their_definition_as_loops(definition, name, options, labels, dim, seed):
    torch.manual_seed(seed)
    part = build("objective", name, num_classes=4, embedding_dim=dim, **options).double()
    for parameter in part.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    embeddings, batch_labels = uneven_batch(labels, dim, seed)
    embeddings.requires_grad_()
    rows = some_triplets(labels, seed)
    tuples = Triplets(*rows.T) if part.takes == "triplets" else None
    variables = [embeddings, *part.parameters()]

    loss = part(embeddings, batch_labels, tuples)
    expected = definition(embeddings, labels, rows.tolist(), part)

    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-11)
    for found, wanted in zip(gradients(loss, variables), gradients(expected, variables), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


def test_every_objective_has_a_definition():
    assert {name for _, name, _ in DEFINITIONS} >= set(OBJECTIVES.names())


def test_every_option_of_an_objective_is_set_once_to_something_else():
    other = {"lr_multiplier", "learn_beta"}
    for name in OBJECTIVES.names():
        given = {option for _, of, options in DEFINITIONS if of == name for option in options}
        assert set(OBJECTIVES.schema(name).model_fields) - other <= given, name


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_the_learning_rate_multiplier_is_an_option(name):
    if "lr_multiplier" in OBJECTIVES.schema(name).model_fields:
        part = build("objective", name, num_classes=4, embedding_dim=3, lr_multiplier=7.0)
        assert set(part.lr_multipliers.values()) == {7.0}


def test_boundaries_start_at_beta_and_can_be_kept_there():
    learnt = build("objective", "margin", num_classes=4, beta=0.6)
    fixed = build("objective", "margin", num_classes=4, beta=0.6, learn_beta=False)
    assert learnt.beta.tolist() == pytest.approx([0.6] * 4)
    assert learnt.beta.requires_grad
    assert not fixed.beta.requires_grad


def test_given_pairs_replace_those_of_the_batch_in_n_pair_and_angular():
    labels = [0, 0, 0, 1, 1]
    embeddings, batch_labels = uneven_batch(labels)
    for name in ("n_pair", "angular"):
        part = build("objective", name)
        every = part(embeddings, batch_labels, all_triplets(labels))
        torch.testing.assert_close(every, part(embeddings, batch_labels, None))
        one = part(embeddings, batch_labels, Triplets(*torch.tensor([[0, 0], [1, 1], [3, 4]])))
        assert not torch.isclose(one, every)
    negatives = [embeddings[0] @ embeddings[n] - embeddings[0] @ embeddings[1] for n in (3, 4)]
    expected = log_1_plus_sum_exp(negatives) + 0.005 * embeddings.norm(dim=1).mean()
    only = build("objective", "n_pair")(embeddings, batch_labels, Triplets(*torch.tensor([[0], [1], [3]])))
    torch.testing.assert_close(only, expected)


def test_quadruplets_with_given_fourth_samples_compare_row_by_row_and_as_published_all_with_all():
    embeddings, labels = uneven_batch([0, 0, 1, 1, 2, 2])
    tuples, fourth = Triplets(*torch.tensor([[0, 2], [1, 3], [2, 4]])), torch.tensor([4, 0])
    first = mean(
        [
            hinge(apart(embeddings[a], embeddings[p]) - apart(embeddings[a], embeddings[n]) + 0.2)
            for a, p, n in ((0, 1, 2), (2, 3, 4))
        ]
    )
    near = [apart(embeddings[0], embeddings[1]), apart(embeddings[2], embeddings[3])]
    far = [[apart(embeddings[n], embeddings[f]) for f in (4, 0)] for n in (2, 4)]
    rows = mean([hinge(near[i] - far[i][i] + 0.2) for i in (0, 1)])
    table = mean([hinge(near[i] - far[i][j] + 0.2) for i in (0, 1) for j in (0, 1)])
    torch.testing.assert_close(build("objective", "quadruplet")(embeddings, labels, tuples, fourth), first + rows)
    published = build("objective", "quadruplet", as_published=True)
    torch.testing.assert_close(published(embeddings, labels, tuples, fourth), first + table)


def test_the_published_histogram_loses_the_upper_node_in_six_of_ten_cells():
    part = build("objective", "histogram", bins=11, as_published=True)
    assert part.upper_kept.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]


def test_the_published_histogram_is_exact_with_65_bins():
    embeddings, labels = uneven_batch([0, 0, 1, 1, 2])
    embeddings = torch.nn.functional.normalize(embeddings)
    exact = build("objective", "histogram")(embeddings, labels)
    torch.testing.assert_close(build("objective", "histogram", as_published=True)(embeddings, labels), exact)
    assert not torch.isclose(build("objective", "histogram", bins=11)(embeddings, labels), exact, rtol=1e-6)


def test_an_anchor_without_variance_is_not_active_in_snr():
    embeddings = torch.cat((torch.full((1, 7), 0.1), torch.randn(3, 7, generator=torch.Generator().manual_seed(0))))
    labels, part = torch.tensor([0, 0, 1, 1]), build("objective", "snr", margin=2.0, zero_mean_weight=0.0)
    both = Triplets(*torch.tensor([[0, 1], [1, 0], [2, 2]]))
    one = Triplets(*torch.tensor([[1], [0], [2]]))
    assert part(embeddings, labels, one) > 0
    torch.testing.assert_close(part(embeddings, labels, both), part(embeddings, labels, one))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_arcface_has_a_finite_gradient_at_and_opposite_its_class_weight(side):
    part = build("objective", "arcface", num_classes=4, embedding_dim=3)
    embeddings = (side * part.proxies.detach()).requires_grad_()
    loss = part(embeddings, torch.arange(4))
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()
    assert part.proxies.grad.isfinite().all()
    expected = math.cos(0.5) if side > 0 else -1 - 0.5 * math.sin(0.5)
    assert part._moved(torch.tensor(side)).item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "spread"),
    [
        ("proxy_nca", {}, 1 / 8),
        ("proxy_nca_plus_plus", {}, 1 / 8),
        ("proxy_anchor", {}, (2 / 200) ** 0.5),  # Kaiming's normal distribution, fan-out.
        ("proxy_anchor", PUBLISHED, 1 / 8),
        ("normalized_softmax", {}, (100 * 3) ** -0.5),  # Uniform within 1 / sqrt(dimension).
        ("arcface", {}, (100 * 3) ** -0.5),
        ("cosface", {}, (100 * 3) ** -0.5),
        ("soft_triple", {}, (400 * 3) ** -0.5),  # Uniform within 1 / sqrt(number of centers).
    ],
)
def test_tables_start_with_the_spread_of_their_source(name, options, spread):
    torch.manual_seed(0)
    part = build("objective", name, num_classes=200, embedding_dim=100, **options)
    table = getattr(part, part.proxy_table)
    assert table.std().item() == pytest.approx(spread, rel=0.02)
    assert abs(table.mean().item()) < 0.05 * spread
