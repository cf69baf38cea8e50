"""Runs whose miner plans the batches: resumed between any two steps, and what they tell."""

import dataclasses
import itertools

import pytest

from harness.errors import Interrupted
from harness.registry import MINERS
from harness.training.execute import Context, execute


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(data_root=tmp_path, cache=bank_cache, checkpoint=tmp_path / "checkpoint.pt")


@pytest.fixture
def planned(mini_spec):
    """A miniature run with a planning miner, 16 triplets an epoch in 3 batches."""

    def make(miner="smart", regularizer=None, epochs=4, **options):
        spec = mini_spec("triplet_ratio", "random", regularizer, epochs=epochs)
        training = spec.training.model_copy(update={"batch_size": 48})
        return dataclasses.replace(spec, miner=MINERS.check(miner, options), sampler=None, training=training)

    return make


def without_cost(result):
    assert result.state == "done", result.traceback
    return dataclasses.replace(result, cost={}, provenance={})


def curves(result):
    return {
        curve.metric: dict(zip(curve.epochs, curve.values, strict=True))
        for curve in result.curves
        if curve.split == "train"
    }


@pytest.mark.parametrize("step", [1, 5, 7, 8, 11])
@pytest.mark.parametrize("options", [{}, {"kappa_mode": "ls_anchored", "refresh": 2, "share": 1.0}])
def test_a_run_left_between_any_two_steps_ends_with_the_numbers_of_an_undisturbed_one(
    planned, context, tmp_path, step, options
):
    spec = planned(regularizer=("global_loss", {}), **options)
    undisturbed = execute(spec, dataclasses.replace(context, checkpoint=tmp_path / "undisturbed.pt"))
    calls = itertools.count()
    with pytest.raises(Interrupted):
        execute(spec, dataclasses.replace(context, should_stop=lambda: next(calls) >= step))
    assert without_cost(execute(spec, context)) == without_cost(undisturbed)


@pytest.mark.parametrize("miner", ["smart", "exhaustive", "random_global"])
def test_the_curves_and_the_cost_say_what_was_mined(planned, context, miner):
    result = execute(planned(miner), context)
    told = curves(result)
    assert result.state == "done", result.traceback
    assert result.cost["steps"] == 4 * 3
    assert list(told["active_fraction"]) == [1, 2, 3, 4]
    assert told["fraction_random"][1] == told["fraction_random"][2] == 1
    if miner != "random_global":
        assert told["fraction_random"][4] < 1
        assert result.cost["plan_embed_seconds"] > 0
        assert result.cost["plan_search_seconds"] > 0
    if miner == "smart":
        assert list(told["kappa"]) == [3, 4]
        assert told["index_recall_at_10"][3] == 1


def test_the_first_epochs_of_smart_mining_are_those_of_random_triplets(planned, context, tmp_path):
    smart, plain = (
        curves(execute(planned(miner), dataclasses.replace(context, checkpoint=tmp_path / miner)))
        for miner in ("smart", "random_global")
    )
    assert [smart["loss"][epoch] for epoch in (1, 2)] == [plain["loss"][epoch] for epoch in (1, 2)]
    assert smart["loss"][3] != plain["loss"][3]
