"""A run is a pure function of its spec and the data, whatever happens to it on the way."""

import dataclasses
import math
import threading

import pytest
import torch

from harness.errors import Interrupted
from harness.registry import OBJECTIVES
from harness.specs import Evaluation
from harness.training import execute as execution
from harness.training.execute import Context, cause_of, execute


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(data_root=tmp_path, cache=bank_cache, checkpoint=tmp_path / "checkpoint.pt")


def without_cost(result):
    return dataclasses.replace(result, cost={}, provenance={})


def numbers(result, selection="last"):
    return {(m.split, m.metric): m.value for m in result.measurements if m.selection == selection}


@pytest.mark.parametrize(
    "choices",
    [
        {"objective": "triplet", "miner": "semihard"},
        {"objective": "margin", "miner": "distance_weighted", "regularizer": ("rho", {"probability": 0.5})},
        {"objective": "proxy_nca", "miner": None},
        {"objective": "n_pair", "miner": None},
    ],
    ids=lambda choices: choices["objective"],
)
def test_the_same_spec_gives_the_same_numbers_bit_for_bit(mini_spec, context, tmp_path, choices):
    first = execute(mini_spec(**choices), context)
    torch.manual_seed(12345)
    second = execute(mini_spec(**choices), dataclasses.replace(context, checkpoint=tmp_path / "other.pt"))
    assert first.state == "done", first.traceback
    assert without_cost(first) == without_cost(second)


def test_another_seed_gives_other_numbers(mini_spec, context, tmp_path):
    first = execute(mini_spec(seed=0), context)
    second = execute(mini_spec(seed=1), dataclasses.replace(context, checkpoint=tmp_path / "other.pt"))
    assert numbers(first) != numbers(second)


def test_an_interrupted_run_goes_on_to_the_numbers_of_an_undisturbed_one(mini_spec, context, tmp_path):
    spec = mini_spec("margin", "distance_weighted", epochs=4)
    undisturbed = execute(spec, dataclasses.replace(context, checkpoint=tmp_path / "undisturbed.pt"))
    stop = threading.Event()
    stopping = dataclasses.replace(
        context, should_stop=stop.is_set, on_progress=lambda told: stop.set() if told["epoch"] == 2 else None
    )
    with pytest.raises(Interrupted):
        execute(spec, stopping)
    assert context.checkpoint.exists()
    epochs = []
    resumed = execute(spec, dataclasses.replace(context, on_progress=lambda told: epochs.append(told["epoch"])))
    assert epochs == [2, 3, 4]  # where it goes on is told first, and it does not begin anew
    assert without_cost(resumed) == without_cost(undisturbed)


def test_a_torn_or_foreign_checkpoint_costs_its_epochs_and_nothing_else(mini_spec, context):
    expected = execute(mini_spec(), dataclasses.replace(context, checkpoint=None))
    context.checkpoint.write_bytes(b"half a checkpoint")
    assert without_cost(execute(mini_spec(), context)) == without_cost(expected)
    assert numbers(execute(mini_spec(seed=1), context)) != numbers(expected)  # the checkpoint there is of seed 0


def test_every_epoch_is_on_the_curves_and_both_selections_have_all_numbers(mini_spec, context):
    result = execute(mini_spec(epochs=3), context)
    curves = {(curve.split, curve.metric): curve for curve in result.curves}
    assert curves["test", "recall_at_1"].epochs == [1, 2, 3]
    assert curves["train", "loss"].epochs == [1, 2, 3]
    wanted = {"recall_at_1", "recall_at_8", "map_at_r", "map_at_c", "map_at_1000", "nmi", "f1", "density", "rho"}
    assert wanted <= {metric for split, metric in numbers(result) if split == "test"}
    assert {"pi_intra", "pi_inter", "density", "rho", "uniformity"} <= {m for s, m in numbers(result) if s == "train"}
    recall = curves["test", "recall_at_1"].values
    assert numbers(result, "best_test")["test", "recall_at_1"] == max(recall)
    assert numbers(result, "last")["test", "recall_at_1"] == recall[-1]
    best = {m.epoch for m in result.measurements if m.selection == "best_test"}
    assert best == {recall.index(max(recall)) + 1}  # one epoch for all numbers, the first of the best
    assert {(s.split, s.selection) for s in result.spectra} >= {("test", "last"), ("train", "best_test")}
    assert all(math.isclose(sum(s.values), 1, abs_tol=1e-6) for s in result.spectra)


def test_evaluation_every_other_epoch_still_measures_the_last(mini_spec, context):
    result = execute(mini_spec(epochs=3, evaluation=Evaluation(every=2, train=[])), context)
    curves = {(curve.split, curve.metric): curve.epochs for curve in result.curves}
    assert curves["test", "recall_at_1"] == [2, 3]
    assert curves["train", "loss"] == [1, 2, 3]
    assert ("train", "density") not in curves


class Exploding(torch.nn.Module):
    """An objective whose loss stops being a number in the fourth step."""

    takes, normalize, proxies = "batch", True, None

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, embeddings, labels, tuples=None):
        self.steps += 1
        return embeddings.sum() * (math.nan if self.steps == 4 else 1.0)


def test_a_loss_that_is_no_number_is_a_failure_that_names_the_step(mini_spec, context, monkeypatch):
    monkeypatch.setitem(OBJECTIVES._parts, "exploding", Exploding)
    result = execute(mini_spec("exploding", None), context)
    assert (result.state, result.cause) == ("failed", "diverged")
    assert result.message.startswith("the loss became nan at step 1 of epoch 2 ")  # 48 images are 3 batches of 16
    assert not result.measurements


def test_every_failure_has_its_cause(mini_spec, context, monkeypatch):
    assert cause_of(torch.cuda.OutOfMemoryError("CUDA out of memory")) == "out_of_memory"
    assert cause_of(MemoryError()) == "out_of_memory"
    assert cause_of(ZeroDivisionError()) == "exception"
    monkeypatch.setattr(execution, "assemble", lambda spec, context: 1 / 0)
    result = execute(mini_spec(), context)
    assert (result.state, result.cause, result.message) == ("failed", "exception", "division by zero")
    assert "ZeroDivisionError" in result.traceback


def test_the_cpu_allocator_running_out_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert cause_of(caught.value) == "out_of_memory"


def test_fewer_images_than_a_batch_is_told_as_such(mini_spec, context):
    spec = dataclasses.replace(mini_spec(), training=mini_spec().training.model_copy(update={"batch_size": 64}))
    result = execute(spec, context)
    assert result.cause == "bad_data"
    assert "48 training images, fewer than one batch of 64" in result.message


def test_methods_with_the_same_seed_start_from_the_same_network_and_see_the_same_batches(mini_spec, context):
    from harness.training.assemble import assemble
    from harness.training.epoch import epoch_batches

    one, other = (assemble(spec, context) for spec in (mini_spec(), mini_spec("proxy_nca", None)))
    weights = zip(one.network.parameters(), other.network.parameters(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in weights)
    assert torch.equal(epoch_batches(one, 3), epoch_batches(other, 3))
    assert not torch.equal(epoch_batches(one, 3), epoch_batches(one, 4))


def test_objectives_that_want_raw_embeddings_get_them_in_evaluation_too(mini_spec, context):
    from harness.training.assemble import assemble
    from harness.training.epoch import embed

    for objective, unit in (("n_pair", False), ("proxy_nca", True)):
        parts = assemble(mini_spec(objective, None), context)
        norms = embed(parts, parts.data.test_index).norm(dim=1)
        assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5) == unit


def test_the_objectives_own_parameters_learn_at_their_multiple_without_weight_decay(mini_spec, context):
    from harness.training.assemble import assemble

    parts = assemble(mini_spec("proxy_nca", None, lr=1e-3), context)
    groups = parts.optimizer.param_groups
    assert groups[0]["weight_decay"] == parts.spec.optimizer.weight_decay
    assert groups[-1]["weight_decay"] == 0
    assert groups[-1]["lr"] == pytest.approx(1e-3 * parts.objective.lr_multipliers["proxies"])
