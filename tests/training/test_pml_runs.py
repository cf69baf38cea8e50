"""Runs with parts of pytorch-metric-learning: an interruption changes nothing, whatever they remember or draw."""

import dataclasses
import threading

import pytest

from harness.errors import Interrupted
from harness.training.execute import Context, execute


@pytest.mark.parametrize(
    ("objective", "miner", "regularizer"),
    [
        ("pml:DynamicSoftMarginLoss", "pml:DistanceWeightedMiner", None),  # a running histogram, and chance
        ("pml:ProxyAnchorLoss", None, None),
        ("pml:TripletMarginLoss", "semihard", ("rho", {"probability": 0.3})),
    ],
)
def test_a_run_that_is_interrupted_and_continued_ends_like_an_undisturbed_one(
    objective, miner, regularizer, mini_spec, bank_cache, tmp_path
):
    spec = mini_spec(objective, miner, regularizer, epochs=3)
    undisturbed = execute(spec, Context(tmp_path, bank_cache))
    stop, context = threading.Event(), Context(tmp_path, bank_cache, checkpoint=tmp_path / "checkpoint.pt")
    stopping = dataclasses.replace(context, should_stop=stop.is_set, on_progress=lambda told: stop.set())
    with pytest.raises(Interrupted):
        execute(spec, stopping)
    resumed = execute(spec, context)
    numbers = [dataclasses.replace(result, cost={}, provenance={}) for result in (resumed, undisturbed)]
    assert numbers[0] == numbers[1]
