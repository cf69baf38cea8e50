"""A run whose numbers are no longer finite ends soon, and says when, how and what of it is broken."""

import math
import re

import pytest
import torch

from harness.registry import OBJECTIVES
from harness.training.assemble import Context
from harness.training.divergence import LOOK_EVERY, StepLog
from harness.training.execute import execute


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(tmp_path, bank_cache)


class Scripted(torch.nn.Module):
    """An objective that misbehaves at one step."""

    takes, normalize, proxies = "batch", True, None
    at, how, steps = 2, "nan", 0

    def forward(self, embeddings, labels, tuples=None):
        type(self).steps += 1
        if self.steps != self.at:
            return embeddings.square().sum()
        if self.how == "nan":
            return embeddings.sum() * math.nan
        return embeddings.square().sum() * math.inf


@pytest.fixture
def scripted(monkeypatch, spec_with, context):
    def run(at, how, **settings):
        monkeypatch.setitem(OBJECTIVES._parts, "scripted", type("Fresh", (Scripted,), {"at": at, "how": how}))
        result = execute(spec_with("scripted", None, **settings), context)
        return result, OBJECTIVES._parts["scripted"].steps

    return run


def test_a_learning_rate_far_too_high_is_told_with_the_step_and_what_it_showed(spec_with, context):
    result = execute(spec_with(lr=1e30), context)
    assert (result.state, result.cause) == ("failed", "diverged")
    said = result.message
    assert said.startswith("the loss became nan at step 2 of epoch 1 (step 1: loss 0.")
    assert "step 2: loss nan, largest |embedding| nan; learning rate 1e+30); at step 3 the norm of the gradient" in said
    assert "is nan, with nan or infinity in 11 of 11 tensors of weights (backbone.stem.weight, " in said
    assert "smaller optimizer.lr" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("how", ["nan", "inf"])
def test_a_loss_that_is_no_number_is_found_though_nobody_looks_at_every_step(how, scripted):
    result, _ = scripted(2, how)
    assert result.cause == "diverged"
    assert f"the loss became {how} at step 2 of epoch 1" in result.message


def test_a_run_that_diverges_early_in_a_long_epoch_ends_at_the_next_look(scripted):
    result, steps = scripted(3, "nan", training={"batch_size": 2}, dataset={"instances": 15})
    assert result.cause == "diverged", result.message
    assert "step 3 of epoch 1" in result.message
    assert steps == LOOK_EVERY


def test_a_run_that_clips_tells_the_gradient_of_each_step(spec_with, context):
    result = execute(spec_with(lr=1e30, training={"gradient_clip": 1.0}), context)
    assert re.search(
        r"\(step 1: loss 0[.]\d+, largest \|embedding\| 0[.]\d+, norm of the gradient [\d.]+; step 2", result.message
    )


def test_proxies_that_broke_are_named(spec_with, context):
    result = execute(spec_with("proxy_nca", None, lr=1e30), context)
    assert result.cause == "diverged"
    assert "of 12 tensors of weights" in result.message


def test_a_last_step_that_ruins_the_weights_is_a_divergence_and_not_bad_data(spec_with, context):
    result = execute(spec_with(lr=1e30, training={"batch_size": 48, "epochs": 1}), context)
    assert result.cause == "diverged", result.message
    assert result.message.startswith("embeddings of test images became nan or infinite in epoch 1")


def test_embeddings_that_are_no_numbers_count_even_where_the_loss_does_not_see_them():
    log = StepLog(4)
    for step in range(3):
        embeddings = torch.ones(5, 2) * (math.nan if step == 1 else 1.0)
        log.note(torch.tensor(0.5), embeddings, torch.tensor(math.inf))  # a gradient may overflow and be clipped
    assert log.first_bad() == 1
    assert not log.due()
    log.note(torch.tensor(2.5), torch.ones(5, 2), torch.tensor(1.0))
    assert log.due()
    assert log.mean_loss() == 1.0
