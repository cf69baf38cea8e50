"""In what arithmetic a run computes, in which memory format, and that it is put back afterwards."""

import pytest
import torch

from harness.measured import Measured
from harness.training import execute as execution
from harness.training.assemble import Context, assemble
from harness.training.divergence import StepLog
from harness.training.epoch import embed, set_mode, train_one_step
from harness.training.execute import execute
from harness.training.history import History
from harness.training.measure import measure_all
from harness.training.precision import tensorfloat32


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(tmp_path, bank_cache)


def tf32_now():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("allowed", [False, True])
def test_tensorfloat32_is_as_the_spec_says_in_products_and_convolutions(allowed, spec_with, context, monkeypatch):
    seen, before = [], tf32_now()
    assert before != (allowed, allowed)  # torch has it on in convolutions alone
    evaluate = execution.evaluate
    monkeypatch.setattr(execution, "evaluate", lambda *given: (seen.append(tf32_now()), evaluate(*given))[1])
    assert execute(spec_with(training={"tf32": allowed}), context).state == "done"
    assert set(seen) == {(allowed, allowed)}
    assert tf32_now() == before


def test_embeddings_are_measured_in_exact_products_however_they_were_trained(monkeypatch):
    seen = []

    def family(embeddings, labels, seed):
        seen.append(tf32_now())
        return Measured()

    with tensorfloat32(True):
        measure_all(torch.eye(4), torch.tensor([0, 0, 1, 1]), [family], seed=0)
        assert tf32_now() == (True, True)
    assert seen == [(False, False)]


def test_tensorfloat32_is_put_back_when_a_run_fails():
    before = tf32_now()
    with pytest.raises(ZeroDivisionError), tensorfloat32(True):
        1 / 0  # noqa: B018
    assert tf32_now() == before


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_convolutions_run_in_the_precision_of_the_spec_and_embeddings_are_float32(precision, spec_with, context):
    parts = assemble(spec_with(training={"precision": precision}), context)
    seen = []
    convolution = next(m for m in parts.network.backbone.blocks if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda module, given, made: seen.append((given[0], made)))
    assert embed(parts, parts.data.test_index).dtype == torch.float32
    set_mode(parts, 0)
    images, labels = parts.data.bank.batch(parts.data.train_index[:16], "train"), parts.data.train_labels[:16]
    train_one_step(parts, images, labels, torch.Generator(), History(), StepLog(1))
    assert [made.dtype for _, made in seen] == [getattr(torch, precision)] * 2
    assert all(weight.grad.dtype == torch.float32 for weight in parts.network.parameters())
    for given, made in seen:
        assert given.is_contiguous(memory_format=torch.channels_last)
        assert made.is_contiguous(memory_format=torch.channels_last)
