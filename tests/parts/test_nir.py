"""Non-isotropy regularization: what its options mean."""

import pytest
import torch
from part_batches import balanced_batch

from harness.errors import OptionError
from harness.geometry import normalized
from harness.registry import OBJECTIVES, build

PROXIES = [
    "proxy_anchor",
    "proxy_nca",
    "proxy_nca_plus_plus",
    "soft_triple",
    "normalized_softmax",
    "arcface",
    "cosface",
]
SMALL = {"blocks": 2, "depth": 2, "width": 16}


def parts(objective="proxy_anchor", dim=8, classes=6, dtype=torch.float64, **options):
    """Regularizer, objective, embeddings [12, D] that want a gradient, labels."""
    embeddings, labels = balanced_batch(classes=classes, per_class=2, dim=dim, dtype=dtype)
    torch.manual_seed(1)
    regularizer = build("regularizer", "nir", embedding_dim=dim, **{**SMALL, **options}).to(dtype)
    objective = build("objective", objective, num_classes=classes, embedding_dim=dim).to(dtype)
    return regularizer, objective, embeddings.requires_grad_(), labels


def likelihoods(regularizer, embeddings, conditions):
    """n of each sample, and the squared length of its latent, by the definition."""
    latent, logdet = regularizer.flow(embeddings, conditions)
    squares = torch.stack([sum(x * x for x in row) for row in latent])
    return squares / 2 - logdet, squares


def own_proxies(objective, labels):
    return normalized(objective.proxies)[labels]


@pytest.mark.parametrize("weight_on", ["nir", "proxy"])
@pytest.mark.parametrize("per_dimension", [False, True])
@pytest.mark.parametrize("form", ["nll", "nll_paper", "exp_nll"])
def test_the_loss_is_that_of_its_form(form, per_dimension, weight_on):
    options = {"form": form, "per_dimension": per_dimension, "weight_on": weight_on, "weight": 0.3}
    regularizer, objective, embeddings, labels = parts(**options)
    n, squares = likelihoods(regularizer, embeddings, own_proxies(objective, labels))
    share = 1 / 8 if per_dimension else 1
    each = {"nll": n * share, "nll_paper": (n + squares / 2) * share, "exp_nll": (n * share).exp()}[form]
    proxy_loss = objective(embeddings, labels)
    expected = proxy_loss + 0.3 * each.mean() if weight_on == "nir" else 0.3 * proxy_loss + each.mean()
    torch.testing.assert_close(regularizer.on_loss(proxy_loss, embeddings, labels, objective), expected)


@pytest.mark.parametrize(("weight_on", "factor"), [("proxy", 0.25), ("nir", 1.0)])
def test_without_a_flow_only_the_weight_is_at_work(weight_on, factor):
    regularizer, objective, embeddings, labels = parts(form="none", weight_on=weight_on, weight=0.25)
    loss = objective(embeddings, labels)
    assert regularizer.on_loss(loss, embeddings, labels, objective) == factor * loss
    assert list(regularizer.parameters()) == []
    assert regularizer.epoch_numbers() == {}


@pytest.mark.parametrize("name", PROXIES)
def test_it_regularizes_every_proxy_objective_and_moves_flow_embeddings_and_proxies(name):
    regularizer, objective, embeddings, labels = parts(name, dtype=torch.float32)
    table = getattr(objective, objective.proxy_table)
    term = regularizer.term(embeddings, labels, table)
    term.backward()
    for one in (embeddings, table, *regularizer.parameters()):
        assert one.grad.isfinite().all()
        assert one.grad.abs().sum() > 0


def test_every_objective_with_proxies_is_among_them():
    assert {name for name in OBJECTIVES.names() if OBJECTIVES.get(name).proxy_table} == set(PROXIES)


@pytest.mark.parametrize(("embeddings_too", "proxies_too"), [(True, False), (False, True), (True, True)])
def test_what_is_detached_feels_nothing_while_the_flow_learns(embeddings_too, proxies_too):
    options = {"detach_embeddings": embeddings_too, "detach_proxies": proxies_too}
    regularizer, objective, embeddings, labels = parts(**options)
    regularizer.term(embeddings, labels, objective.proxies).backward()
    assert (embeddings.grad is None) == embeddings_too
    assert (objective.proxies.grad is None) == proxies_too
    assert all(parameter.grad.abs().sum() > 0 for parameter in regularizer.parameters())


def test_of_several_centers_the_nearest_of_the_own_class_is_the_condition():
    regularizer, objective, embeddings, labels = parts("soft_triple")
    centers = normalized(objective.centers.flatten(0, 1)).view(objective.centers.shape)
    chosen = [max(centers[y], key=lambda c, e=e: (c @ e).item()) for e, y in zip(embeddings, labels, strict=True)]
    assert len({tuple(center.tolist()) for center in chosen}) > 6  # not always the same center of a class
    n, _ = likelihoods(regularizer, embeddings, torch.stack(chosen))
    torch.testing.assert_close(regularizer.term(embeddings, labels, objective.centers), n.mean() / 8)


def test_the_mean_of_the_centers_can_be_the_condition():
    regularizer, objective, embeddings, labels = parts("soft_triple", center="mean")
    centers = normalized(objective.centers.flatten(0, 1)).view(objective.centers.shape)
    n, _ = likelihoods(regularizer, embeddings, normalized(centers.mean(1))[labels])
    torch.testing.assert_close(regularizer.term(embeddings, labels, objective.centers), n.mean() / 8)


def test_an_unconditional_flow_does_not_look_at_proxies():
    regularizer, objective, embeddings, labels = parts(condition="none")
    term = regularizer.term(embeddings, labels, objective.proxies)
    assert term == regularizer.term(embeddings, labels.flip(0), objective.proxies + 1)


def test_shuffled_labels_give_each_sample_the_proxy_of_another_one_anew_in_each_step():
    regularizer, objective, embeddings, labels = parts(condition="shuffled_labels")
    seen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        seen.append(regularizer._condition(embeddings, labels, objective.proxies))
    own = own_proxies(objective, labels)
    for conditions in seen:
        assert not torch.equal(conditions, own)
        assert sorted(conditions.tolist()) == sorted(own.tolist())
    assert not torch.equal(*seen)


def test_noise_moves_what_the_flow_sees_and_not_what_the_objective_sees():
    regularizer, _, embeddings, _ = parts(noise=0.5)
    torch.manual_seed(3)
    noisy = regularizer._noisy(embeddings)
    torch.manual_seed(3)
    torch.testing.assert_close(noisy, normalized(embeddings + 0.5 * torch.rand(12, 8, dtype=torch.float64)))
    assert parts()[0]._noisy(embeddings) is embeddings


def test_all_of_the_flow_learns_at_its_multiple():
    regularizer = parts(lr_multiplier=7.0, condition_mode="dense_embed")[0]
    assert regularizer.lr_multipliers == {name: 7.0 for name, _ in regularizer.named_parameters()}


def test_an_embedding_of_one_dimension_is_refused():
    with pytest.raises(OptionError, match="dimension 1"):
        build("regularizer", "nir", embedding_dim=1)


def test_the_exponential_does_not_overflow_where_float32_would():
    regularizer, objective, embeddings, labels = parts(form="exp_nll", per_dimension=False, dtype=torch.float32)
    for _, first, second in regularizer.flow.blocks:
        for coupling in (first, second):
            coupling.hyper[-1].bias.data[0::2] = 3.0  # shifts: latents so long that n is above 88
    term = regularizer.term(embeddings, labels, objective.proxies)
    assert term.dtype == torch.float64
    assert 1e38 < term < torch.inf


@pytest.mark.parametrize("weight_on", ["nir", "proxy"])
def test_the_epoch_tells_quantiles_of_likelihoods_and_the_ratio_of_gradients(weight_on):
    regularizer, objective, embeddings, labels = parts(weight_on=weight_on, weight=0.3)
    every, ratios = [], []
    for step in range(5):
        batch = normalized(embeddings.detach() + 0.1 * step).requires_grad_()
        share, proxy_share = (0.3, 1) if weight_on == "nir" else (1, 0.3)
        n, _ = likelihoods(regularizer, batch, own_proxies(objective, labels))
        mine = torch.autograd.grad(share * n.mean() / 8, batch)[0]
        other = torch.autograd.grad(proxy_share * objective(batch, labels), batch)[0]
        regularizer.on_loss(objective(batch, labels), batch, labels, objective).backward()
        every += n.tolist()
        ratios.append(float(mine.norm() / other.norm()))
    told = regularizer.epoch_numbers()
    every.sort()
    assert told["nir_nll_min"] == pytest.approx(every[0])
    assert told["nir_nll_median"] == pytest.approx((every[29] + every[30]) / 2)
    assert every[58] < told["nir_nll_p99"] < every[59]
    assert told["nir_nll_max"] == pytest.approx(every[-1])
    assert told["nir_gradient_ratio"] == pytest.approx(sorted(ratios)[2])
    assert told["nir_gradient_ratio_max"] == pytest.approx(max(ratios))
    regularizer.on_loss(objective(batch, labels), batch, labels, objective).backward()
    assert regularizer.epoch_numbers()["nir_nll_min"] == pytest.approx(min(n.tolist()))  # the epoch before is forgotten


def test_watching_changes_no_gradient_and_embeddings_that_are_detached_have_a_ratio_of_0():
    regularizer, objective, embeddings, labels = parts()
    regularizer.on_loss(objective(embeddings, labels), embeddings, labels, objective).backward()
    n, _ = likelihoods(regularizer, embeddings, own_proxies(objective, labels))
    expected = torch.autograd.grad(objective(embeddings, labels) + 0.1 * n.mean() / 8, embeddings)[0]
    torch.testing.assert_close(embeddings.grad, expected)
    regularizer, objective, embeddings, labels = parts(detach_embeddings=True)
    regularizer.on_loss(objective(embeddings, labels), embeddings, labels, objective).backward()
    assert regularizer.epoch_numbers()["nir_gradient_ratio"] == 0


def test_what_was_noted_of_an_epoch_is_part_of_the_state():
    regularizer, objective, embeddings, labels = parts()
    other = parts()[0]
    regularizer.on_loss(objective(embeddings, labels), embeddings, labels, objective).backward()
    other.load_state_dict(regularizer.state_dict())
    for one in (regularizer, other):
        batch = normalized(embeddings.detach() + 0.1).requires_grad_()
        one.on_loss(objective(batch, labels), batch, labels, objective).backward()
    assert other.epoch_numbers() == regularizer.epoch_numbers()


@pytest.mark.parametrize("name", ["proxy_anchor", "soft_triple"])
def test_half_precision_is_computed_in_float32(name):
    regularizer, objective, embeddings, labels = parts(name, dtype=torch.float32)
    half = embeddings.detach().bfloat16()
    table = getattr(objective, objective.proxy_table)
    assert torch.equal(regularizer.term(half, labels, table), regularizer.term(half.float(), labels, table))


@pytest.mark.parametrize("options", [{}, {"form": "exp_nll", "noise": 0.1}, {"condition": "shuffled_labels"}])
@pytest.mark.parametrize("name", ["proxy_anchor", "soft_triple"])
def test_a_gpu_is_never_waited_for(name, options):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    regularizer, objective, embeddings, labels = parts(name, dtype=torch.float32, **options)
    expected = regularizer.on_loss(objective(embeddings, labels), embeddings, labels, objective)
    regularizer, objective, labels = regularizer.cuda(), objective.cuda(), labels.cuda()
    there = embeddings.detach().cuda().requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = regularizer.on_loss(objective(there, labels), there, labels, objective)
        loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if not options:
        torch.testing.assert_close(loss.cpu(), expected, rtol=1e-4, atol=1e-4)
