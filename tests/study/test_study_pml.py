"""Losses and miners of pytorch-metric-learning in a study: with and without each other, and checked like any part."""

import sys

import pytest

from harness.errors import EnvironmentLacks


def test_a_loss_goes_with_a_miner_of_either_side_and_without_one(flats):
    text = (
        "grid:\n"
        "  - objective: {name: 'pml:CircleLoss', gamma: [40, 80]}\n"
        "    miner: [none, anyone, 'pml:TripletMarginMiner']\n"
        "  - objective: pull\n"
        "    miner: {name: 'pml:MultiSimilarityMiner', epsilon: 0.2}\n"
    )
    circle = [("pml:CircleLoss", gamma, m) for gamma in (40, 80) for m in ("none", "anyone", "pml:TripletMarginMiner")]
    found = flats(text, "objective", "objective.gamma", "miner", "miner.epsilon")
    named = [(objective, gamma, miner or "none") for objective, gamma, miner, _ in found]
    assert set(named) == {*circle, ("pull", None, "pml:MultiSimilarityMiner")}
    assert found[-1][-1] == 0.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  objective: 'pml:CircelLoss'", "8:14: objective 'pml:CircelLoss' is not among the losses"),
        (
            "  objective: {name: 'pml:CircleLoss', gama: 1}",
            "8:39: objective 'pml:CircleLoss' has no option 'gama'; did",
        ),
        (
            "  objective: 'pml:CircleLoss'\n  regularizer: spread",
            "9:16: regularizer 'spread' needs tuples, which objective 'pml:CircleLoss' does not have without a miner",
        ),
        (
            "  objective: {name: 'pml:RankedListLoss', margin: 0.4, Tn: 1}\n  miner: anyone",
            "9:10: objective 'pml:RankedListLoss' takes the whole batch and has no use for miner 'anyone'",
        ),
        ("  sampler: 'pml:MPerClassSampler'", "sampler 'pml:MPerClassSampler' cannot be imported"),
    ],
)
def test_mistakes_are_told_where_they_are(refused, text, message):
    head = "schema: 1\nname: small\nquestion: What is it?\nrun:\n  dataset: dots\n  backbone: tiny\n"
    head += "  training: {epochs: 1}\n" if "sampler" in text else "  sampler: pairs\n"
    assert message in refused(text + "\n", head=head)


def test_a_regularizer_of_tuples_goes_with_a_miner(flats):
    text = "  objective: 'pml:TripletMarginLoss'\n  miner: anyone\n  regularizer: spread\n"
    assert flats(text, "regularizer") == ["spread"]


def test_proxies_of_a_loss_are_proxies_for_a_regularizer(flats):
    text = "  objective: 'pml:ProxyAnchorLoss'\n  regularizer: {name: proxy_spread, strength: 1.0}\n"
    assert flats(text, "regularizer") == ["proxy_spread"]


def test_a_study_that_needs_the_package_says_how_to_get_it(load, monkeypatch):
    for module in [module for module in sys.modules if module.partition(".")[0] == "pytorch_metric_learning"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(EnvironmentLacks, match=r"pip install 'harness\[pml\]'"):
        load("  objective: 'pml:NoSuchLoss'\n")
