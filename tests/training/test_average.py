"""The moving average of the weights: what it is, and that it is what a run is measured by."""

import pytest
import torch

from harness.training.assemble import Context, assemble
from harness.training.average import MovingAverage
from harness.training.epoch import embed, look, train_one_epoch
from harness.training.history import History


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(tmp_path, bank_cache)


def test_the_average_is_that_of_a_loop_over_all_steps(spec_with, context):
    network = assemble(spec_with(), context).network
    average = MovingAverage(network, 0.9)
    expected = {name: weight.detach().double() for name, weight in network.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for name, weight in network.named_parameters():
            weight.data += torch.randn(weight.shape, generator=generator)
            expected[name] = 0.9 * expected[name] + 0.1 * weight.detach().double()
        average.update()
    for name, weight in average.network().named_parameters():
        torch.testing.assert_close(weight.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not weight.requires_grad


def test_statistics_of_batch_norms_are_taken_as_they_are(spec_with, context):
    parts, history = assemble(spec_with(training={"ema": 0.99}), context), History()
    train_one_epoch(parts, history, context)
    measured = parts.average.network()
    buffers = dict(parts.network.named_buffers())
    assert buffers["backbone.blocks.0.running_mean"].abs().sum() > 0
    for name, buffer in measured.named_buffers():
        assert torch.equal(buffer, buffers[name])


def test_a_run_is_measured_by_the_average_and_trained_by_the_weights(spec_with, context):
    spec = spec_with(training={"ema": 0.9})
    parts, history = assemble(spec, context), History()
    train_one_epoch(parts, history, context)
    seen = look(parts, history)["test"].embeddings
    assert torch.equal(seen, embed(parts, parts.data.test_index, parts.average.network()))
    assert not torch.allclose(seen, embed(parts, parts.data.test_index), atol=1e-4)
    plain = assemble(spec_with(), context)
    train_one_epoch(plain, History(), context)
    for mine, theirs in zip(parts.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)  # the average is only looked at


def test_measuring_leaves_every_module_in_the_mode_it_was_in(spec_with, context):
    parts = assemble(spec_with(optimizer={"warmup_epochs": 1}), context)
    train_one_epoch(parts, History(), context)
    modes = [module.training for module in parts.network.modules()]
    assert len(set(modes)) == 2  # the backbone is held
    embed(parts, parts.data.test_index)
    assert [module.training for module in parts.network.modules()] == modes
