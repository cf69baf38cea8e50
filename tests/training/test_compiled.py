"""A compiled network: the same weights and names, evaluated without compiling; a plain word without a compiler."""

import pytest
import torch
import torch._inductor.config
from torch import nn

from harness.training.assemble import Context, assemble
from harness.training.compiled import compiled
from harness.training.epoch import embed, train_one_epoch
from harness.training.execute import execute
from harness.training.history import History


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(tmp_path, bank_cache)


@pytest.fixture
def inductor(tmp_path, monkeypatch):
    """The settings of torch's compiler, with nothing in its caches."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch.compiler.reset()
    yield torch._inductor.config
    torch.compiler.reset()


@pytest.fixture
def traced(monkeypatch):
    """torch.compile up to where code would be generated, which takes long: the batches that came through it."""
    batches = []

    def count(graph, inputs):
        def run(*given):
            batches.append(1)
            return graph(*given)

        return run

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, mode, dynamic: real(network, backend=count, dynamic=dynamic))
    yield batches
    torch.compiler.reset()


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_training_goes_through_the_compiled_network_and_evaluation_does_not(mode, traced, spec_with, context):
    parts = assemble(spec_with(training={"compile": mode}), context)
    embed(parts, parts.data.test_index)
    assert not traced
    train_one_epoch(parts, History(), context)
    steps = len(traced)
    assert steps == 3
    embed(parts, parts.data.test_index)
    assert len(traced) == steps


def test_names_and_weights_are_those_of_the_network_that_is_not_compiled(traced, spec_with, context):
    pair = [assemble(spec_with(training={"compile": mode}), context) for mode in ("none", "default")]
    for parts in pair:
        train_one_epoch(parts, History(), context)
    plain, other = (parts.network.state_dict() for parts in pair)
    assert list(plain) == list(other)
    for name, values in plain.items():
        assert torch.equal(values, other[name]), name


def test_embeddings_of_one_step_outlive_the_next_where_graphs_would_write_over_them(monkeypatch):
    shared = torch.zeros(2, 3)

    def replay(images):
        return shared.copy_(images)

    monkeypatch.setattr(torch, "compile", lambda network, mode, dynamic: replay)
    forward = compiled(nn.Identity(), "reduce-overhead")
    first = forward(torch.ones(2, 3))
    forward(torch.full((2, 3), 2.0))
    assert torch.equal(first, torch.ones(2, 3))


def test_a_machine_without_a_compiler_fails_the_run_with_the_remedy(inductor, spec_with, context):
    with inductor.patch({"cpp.cxx": ("/nowhere/g++",)}):
        result = execute(spec_with(training={"compile": "default"}), context)
    assert (result.state, result.cause) == ("failed", "exception")
    assert "could not be compiled (training.compile: default): InvalidCxxCompiler" in result.message
    assert "g++" in result.message
    assert "right would be to install them, or training.compile: none" in result.message
