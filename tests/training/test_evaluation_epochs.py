"""Which families are measured after which epoch, and that their options reach them."""

import pytest

from harness.registry import METRICS
from harness.specs import Evaluation
from harness.training.execute import Context, execute

RECALL = METRICS.check("retrieval", {"k": [1, 10, 40]})


@pytest.fixture
def curves(mini_spec, bank_cache, tmp_path):
    """(split, metric) -> the epochs at which it was measured."""

    def run(epochs, evaluation):
        result = execute(mini_spec(epochs=epochs, evaluation=evaluation), Context(data_root=tmp_path, cache=bank_cache))
        assert result.state == "done", result.traceback
        return {(curve.split, curve.metric): curve.epochs for curve in result.curves}, result

    return run


def test_clustering_is_measured_on_its_own_epochs_and_the_last(curves):
    found, result = curves(5, Evaluation(clustering_every=2, train=["clustering", "spectrum"]))
    assert found["test", "nmi"] == found["train", "f1"] == [2, 4, 5]
    assert found["test", "recall_at_1"] == found["train", "rho"] == [1, 2, 3, 4, 5]
    last = {(m.split, m.metric) for m in result.measurements if m.selection == "last"}
    assert {("test", "nmi"), ("train", "ami")} <= last


def test_clustering_is_measured_only_where_anything_is(curves):
    found, _ = curves(7, Evaluation(every=2, clustering_every=3, train=[]))
    assert found["test", "recall_at_1"] == [2, 4, 6, 7]
    assert found["test", "nmi"] == [6, 7]


def test_a_best_epoch_without_clustering_does_not_borrow_that_of_another(curves):
    _, result = curves(4, Evaluation(clustering_every=3, train=[]))
    best = {m.metric: m.epoch for m in result.measurements if m.selection == "best_test"}
    assert set(best.values()) == {1}  # of these four epochs the first is the best, and has no clustering
    assert "map_at_r" in best
    assert "nmi" not in best


def test_a_split_with_nothing_but_clustering_is_passed_over_between(curves):
    found, _ = curves(3, Evaluation(clustering_every=2, test=["clustering"], train=[]))
    assert found["test", "nmi"] == [2, 3]


def test_clustering_less_often_moves_no_number(curves):
    _, seldom = curves(2, Evaluation(clustering_every=2))
    _, always = curves(2, Evaluation())
    last = [{m for m in result.measurements if m.selection == "last"} for result in (seldom, always)]
    assert last[0] == last[1]


def test_the_options_of_a_family_decide_what_it_measures(curves):
    found, _ = curves(1, Evaluation(test=[RECALL], train=[]))
    recalls = {metric for _, metric in found if metric.startswith("recall")}
    assert recalls == {"recall_at_1", "recall_at_10", "recall_at_40"}
