"""What learns, at which rate, for how long, and how far a step may go."""

import math

import pytest
import torch
from torch import nn

from harness.registry import BACKBONES
from harness.specs import Optimizer
from harness.training.assemble import Context, assemble
from harness.training.epoch import train_one_epoch
from harness.training.history import History
from harness.training.network import EmbeddingNetwork
from harness.training.optimizer import gradient_norm, make_optimizer, parameters_of


def small_network():
    return EmbeddingNetwork(BACKBONES.build(BACKBONES.check("convnet", {"width": 2})), 4, True)


def rates(settings, epochs, network=None):
    """The learning rates of all groups in each epoch."""
    optimizer, schedule = make_optimizer(settings, epochs, network or small_network())
    found = []
    for _ in range(epochs):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return found, [group["lr"] for group in optimizer.param_groups]


def test_cosine_falls_from_the_rate_to_nothing_over_the_epochs():
    found, after = rates(Optimizer(lr=0.1, schedule="cosine"), 7)
    assert [lr for lr, _ in found] == pytest.approx([0.05 * (1 + math.cos(math.pi * epoch / 7)) for epoch in range(7)])
    assert after == pytest.approx([0, 0], abs=1e-12)


def test_multistep_falls_after_each_milestone():
    found, _ = rates(Optimizer(lr=0.1, milestones=[1, 3], gamma=0.5), 4)
    assert [lr for lr, _ in found] == pytest.approx([0.1, 0.05, 0.05, 0.025])


@pytest.mark.parametrize("schedule", ["multistep", "cosine"])
def test_backbone_and_embedding_layer_learn_at_their_multiples(schedule):
    settings = Optimizer(
        lr=0.1, backbone_lr_multiplier=0.5, embedding_lr_multiplier=3, schedule=schedule, milestones=[1]
    )
    found, _ = rates(settings, 3)
    assert found[0] == pytest.approx([0.05, 0.3])
    assert all(embedding == pytest.approx(6 * backbone) for backbone, embedding in found)


def test_weights_that_were_frozen_from_the_start_are_not_in_the_optimizer():
    network = small_network()
    network.backbone.stem.requires_grad_(False)
    optimizer, _ = make_optimizer(Optimizer(), 1, network)
    moved = set(map(id, parameters_of(optimizer)))
    assert id(network.backbone.stem.weight) not in moved
    assert id(network.embedding.weight) in moved


def test_the_parameters_of_a_part_learn_in_one_group_for_each_rate():
    part = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    part.lr_multipliers = {"0.weight": 50.0, "0.bias": 3.0, "1.weight": 50.0}
    optimizer, _ = make_optimizer(Optimizer(lr=0.1, weight_decay=0.5), 1, small_network(), part)
    own = [(group["lr"], len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups[2:]]
    assert own == [(0.1 * 50.0, 2, 0.0), (0.1 * 3.0, 1, 0.0), (0.1, 1, 0.0)]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_eps_of_adam_is_that_of_the_settings(name):
    optimizer, _ = make_optimizer(Optimizer(name=name, eps=0.5), 1, small_network())
    assert {group["eps"] for group in optimizer.param_groups} == {0.5}


# Warm-up --------------------------------------------------------------------------------------------------------------


def states_by_epoch(spec, context, epochs):
    parts, history = assemble(spec, context), History()
    states = [{name: value.clone() for name, value in parts.network.state_dict().items()}]
    for _ in range(epochs):
        train_one_epoch(parts, history, context)
        states.append({name: value.clone() for name, value in parts.network.state_dict().items()})
    return parts, states


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_warm_up_leaves_weights_and_statistics_of_the_backbone_alone_and_then_trains_all(spec_with, context):
    spec = spec_with(optimizer={"warmup_epochs": 2, "weight_decay": 0.1})
    parts, states = states_by_epoch(spec, context, 3)
    for epoch in (0, 1):
        changed = moved(states[epoch], states[epoch + 1])
        assert changed
        assert all(name.startswith("embedding.") for name in changed)
    changed = moved(states[2], states[3])
    assert {"backbone.stem.weight", "backbone.blocks.0.running_mean", "embedding.weight"} <= changed
    assert all(weight.grad is not None for weight in parts.network.parameters())


def test_no_gradient_is_computed_for_a_backbone_that_is_held(spec_with, context):
    parts, _ = states_by_epoch(spec_with(optimizer={"warmup_epochs": 1}), context, 1)
    assert all(weight.grad is None for weight in parts.network.backbone.parameters())
    assert parts.network.embedding.weight.grad is not None


def test_weights_frozen_for_good_stay_so_after_the_warm_up(spec_with, context, monkeypatch):
    class HalfFrozen(BACKBONES.get("convnet")):
        def __init__(self, **options):
            super().__init__(**options)
            self.stem.requires_grad_(False)

    monkeypatch.setitem(BACKBONES._parts, "convnet", HalfFrozen)
    _, states = states_by_epoch(spec_with(optimizer={"warmup_epochs": 1}), context, 2)
    assert "backbone.stem.weight" not in moved(states[0], states[2])
    assert "backbone.blocks.0.weight" in moved(states[0], states[2])


# Clipping -------------------------------------------------------------------------------------------------------------


def with_gradients(scale=1.0):
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(2))]
    for parameter in parameters[:2]:  # the last has none, like a held backbone
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return parameters


def norm_of(parameters):
    return math.sqrt(sum(value**2 for p in parameters if p.grad is not None for value in p.grad.flatten().tolist()))


def test_the_norm_is_that_of_all_gradients_together():
    parameters = with_gradients()
    assert gradient_norm(parameters).item() == pytest.approx(norm_of(parameters))


@pytest.mark.parametrize("limit", [1e-3, 1e6])
def test_the_gradient_of_network_and_proxies_together_is_scaled_down_to_the_limit(limit, spec_with, context):
    def gradients(**training):
        spec = spec_with("proxy_nca", None, training={"batch_size": 48, **training})  # an epoch of one step
        parts, _ = states_by_epoch(spec, context, 1)
        everything = parameters_of(parts.optimizer)
        assert any(parameter is parts.objective.proxies for parameter in everything)
        return everything

    plain, limited = gradients(), gradients(gradient_clip=limit)
    factor = min(1.0, limit / norm_of(plain))
    assert norm_of(limited) == pytest.approx(norm_of(plain) * factor, rel=1e-3)
    for parameter, other in zip(limited, plain, strict=True):
        torch.testing.assert_close(parameter.grad, other.grad * factor, rtol=1e-3, atol=1e-12)


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(tmp_path, bank_cache)
