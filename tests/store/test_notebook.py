"""The questions that `harness.store.frames` asks of a database in its own words, answered by a real one."""

import doctest

import pytest
from store_samples import make_failed, make_result, make_spec, run_it

from harness.specs import Curve, Measurement
from harness.store import frames
from harness.store.database import collect, record_study

RECALLS = {"triplet": [0.1, 0.3, 0.4, 0.47], 0.6: [0.2, 0.4, 0.54, 0.54], 1.2: [0.3, 0.58, 0.58, 0.58]}


@pytest.fixture
def small_study(tmp_path, monkeypatch):
    """Three methods with two seeds each, and one run that failed."""
    specs = {key: [spec_of(key, seed) for seed in (0, 1)] for key in RECALLS}
    failed = spec_of(1.2, 2)
    for key, of_method in specs.items():
        for spec in of_method:
            run_it(tmp_path / "results", spec, result_of(spec, key))
    run_it(tmp_path / "results", failed, make_failed(failed))
    others = [make_spec(seed=seed, objective="contrastive", miner=None) for seed in (0, 1)]
    record = [*specs["triplet"], *specs[0.6], *specs[1.2], failed]
    record_study(tmp_path / "results" / "harness.db", "fair_comparison", None, record)
    record_study(tmp_path / "results" / "harness.db", "another", None, others)
    collect(tmp_path / "results" / "harness.db", tmp_path / "results")
    monkeypatch.chdir(tmp_path)


def spec_of(key, seed):
    return make_spec(seed=seed) if key == "triplet" else make_spec(seed=seed, objective="margin", beta=key)


def result_of(spec, key):
    values = [value + 0.01 * spec.seed for value in RECALLS[key]]
    values[-1] += 0.01 * spec.seed if key != "triplet" else 0
    return make_result(
        spec,
        measurements=[Measurement("test", "recall_at_1", "last", 4, values[-1])],
        curves=[Curve("test", "recall_at_1", [1, 2, 3, 4], values), Curve("train", "loss", [1, 2], [1.0, 0.5])],
        cost={"train_seconds": 8.0 if key == "triplet" else 10.0},
    )


def test_the_worked_questions_have_the_answers_that_stand_there(small_study):
    found = doctest.testmod(frames, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted >= 9
    assert found.failed == 0
