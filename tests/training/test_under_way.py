"""A run that is left in the middle of an epoch goes on between the same two steps."""

import dataclasses
import itertools

import pytest
import torch
from torch import nn

from harness.errors import Interrupted
from harness.registry import BACKBONES, SAMPLERS
from harness.training import checkpoint as checkpoints
from harness.training import epoch
from harness.training.execute import Context, execute


class Dropping(nn.Module):
    """A backbone whose steps draw from the global stream of chance."""

    def __init__(self):
        super().__init__()
        self.features = 12
        self.layers = nn.Sequential(nn.Conv2d(1, 12, 5, stride=3), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1))

    def forward(self, images):
        return self.layers(images).flatten(1)


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(data_root=tmp_path, cache=bank_cache, checkpoint=tmp_path / "checkpoint.pt")


def without_cost(result):
    assert result.state == "done", result.traceback
    return dataclasses.replace(result, cost={}, provenance={})


def stopping_at(step):
    """Asks to stop before the step of that number, counted over the whole run."""
    calls = itertools.count()
    return lambda: next(calls) >= step  # it is asked once before each step


@pytest.fixture(params=["draws", "planned", "averaged"])
def spec(request, spec_with, monkeypatch):
    if request.param == "planned":
        chosen = spec_with("margin", "distance_weighted", epochs=2)
        return dataclasses.replace(chosen, sampler=SAMPLERS.check("frechet_matching"))
    if request.param == "averaged":
        training = {"ema": 0.9, "gradient_clip": 0.5}
        return spec_with("proxy_nca", None, epochs=3, training=training, optimizer={"warmup_epochs": 1})
    chosen = spec_with("triplet", "random", ("rho", {"probability": 0.5}), epochs=2)
    return dataclasses.replace(chosen, backbone=BACKBONES.check(f"{__name__}:Dropping", {"embedding_dim": 8}))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_run_left_between_any_two_steps_ends_with_the_numbers_of_an_undisturbed_one(spec, context, tmp_path, step):
    undisturbed = execute(spec, dataclasses.replace(context, checkpoint=tmp_path / "undisturbed.pt"))
    with pytest.raises(Interrupted):
        execute(spec, dataclasses.replace(context, should_stop=stopping_at(step)))
    left = torch.load(context.checkpoint, weights_only=True)["under_way"]
    torch.manual_seed(4321)
    resumed = execute(spec, context)
    assert without_cost(resumed) == without_cost(undisturbed)
    assert left["step"] == step % len(left["batches"])


def test_no_step_is_computed_twice(mini_spec, context, monkeypatch):
    steps = []
    original = epoch.train_one_step
    monkeypatch.setattr(epoch, "train_one_step", lambda *arguments: (steps.append(1), original(*arguments)))
    for _ in range(2):
        with pytest.raises(Interrupted):
            execute(mini_spec(epochs=2), dataclasses.replace(context, should_stop=stopping_at(2)))
    result = execute(mini_spec(epochs=2), context)
    assert len(steps) == result.cost["steps"]


def test_a_long_epoch_is_kept_now_and_then(mini_spec, context, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoints.Checkpoint.__init__, "__defaults__", (-1.0,))
    original = checkpoints.Checkpoint.save

    def save(self, history, under_way=None):
        saved.append(under_way.step if under_way else None)
        original(self, history, under_way)

    monkeypatch.setattr(checkpoints.Checkpoint, "save", save)
    execute(mini_spec(epochs=1), context)
    assert saved == [*range(saved.index(None)), None]
    assert len(saved) > 2
