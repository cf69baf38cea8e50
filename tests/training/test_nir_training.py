"""Non-isotropy regularization in whole runs: the identities of its control arms, and runs that are left and resumed."""

import dataclasses
import itertools

import pytest

from harness.errors import Interrupted
from harness.training.execute import Context, execute

FLOW = {"blocks": 2, "depth": 2, "width": 8, "lr_multiplier": 5.0}
WEIGHT = 2.0**-7
"""Near the published 0.0075; products with a power of two are exact, so that the identities hold bit for bit."""
DECAY, EPS = 4e-4, 1e-8


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(data_root=tmp_path, cache=bank_cache)


@pytest.fixture
def numbers(spec_with, context):
    """All numbers of a run of Proxy-Anchor but for the loss and those of the flow."""

    def run(regularizer=None, weight_decay=DECAY, eps=EPS):
        optimizer = {"weight_decay": weight_decay, "eps": eps, "warmup_epochs": 1}
        spec = spec_with("proxy_anchor", None, regularizer, epochs=3, optimizer=optimizer)
        result = execute(spec, context)
        assert result.state == "done", result.traceback
        kept = [c for c in result.curves if c.metric != "loss" and not c.metric.startswith("nir_")]
        assert {"recall_at_1", "proxy_step", "backbone_weight_norm"} <= {curve.metric for curve in kept}
        return kept

    return run


def scaled(weight):
    return ("nir", {"form": "none", "weight_on": "proxy", "weight": weight})


def test_a_scaled_loss_with_scaled_weight_decay_and_eps_is_the_run_without(numbers):
    assert numbers(scaled(WEIGHT), DECAY * WEIGHT, EPS * WEIGHT) == numbers()


def test_a_scaled_loss_alone_is_a_run_with_so_much_more_weight_decay_and_eps(numbers):
    same = numbers(scaled(WEIGHT))
    assert same == numbers(None, DECAY / WEIGHT, EPS / WEIGHT)
    assert same != numbers()


def test_with_any_other_weight_the_identity_holds_up_to_rounding(numbers):
    for one, other in zip(numbers(scaled(0.0075), DECAY * 0.0075, EPS * 0.0075), numbers(), strict=True):
        if one.metric in ("proxy_step", "backbone_weight_norm", "uniformity", "rho"):
            assert one.values == pytest.approx(other.values, rel=0.02), one.metric


def test_a_flow_that_nothing_feels_leaves_the_run_with_the_scaled_loss(numbers):
    form = {"form": "exp_nll", "weight_on": "proxy", "weight": WEIGHT, "per_dimension": False}
    detached = ("nir", {**FLOW, **form, "detach_embeddings": True, "detach_proxies": True})
    assert numbers(detached) == numbers(scaled(WEIGHT))
    assert numbers(("nir", {**FLOW, **form})) != numbers(scaled(WEIGHT))


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("proxy_anchor", {"form": "exp_nll", "weight_on": "proxy", "weight": 0.0075, "noise": 0.1}),
        ("soft_triple", {"condition": "shuffled_labels"}),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_run_left_between_any_two_steps_ends_with_the_numbers_of_an_undisturbed_one(
    objective, options, step, spec_with, context, tmp_path
):
    spec = spec_with(objective, None, ("nir", {**FLOW, **options}), epochs=2)
    undisturbed = execute(spec, context)
    assert undisturbed.state == "done", undisturbed.traceback
    kept = dataclasses.replace(context, checkpoint=tmp_path / "checkpoint.pt")
    calls = itertools.count()
    with pytest.raises(Interrupted):
        execute(spec, dataclasses.replace(kept, should_stop=lambda: next(calls) >= step))
    resumed = execute(spec, kept)
    assert dataclasses.replace(resumed, cost={}, provenance={}) == dataclasses.replace(
        undisturbed, cost={}, provenance={}
    )
    told = {curve.metric: curve for curve in resumed.curves if curve.split == "train"}
    quantiles = [f"nir_nll_{name}" for name in ("min", "median", "p99", "max")]
    for name in (*quantiles, "nir_gradient_ratio", "nir_gradient_ratio_max"):
        assert told[name].epochs == [1, 2]
        assert None not in told[name].values
