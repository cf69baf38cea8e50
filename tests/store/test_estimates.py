"""Estimates of runs in the database: kept beside the runs, replaced run by run, never lost by a rebuild."""

import pytest

from harness.specs import RunResult
from harness.store.database import collect, rebuild, record_study
from harness.store.estimates import Estimate, finished_runs, record_estimates
from harness.store.frames import Database
from harness.store.spool import RunFolder


def estimate(spec, seconds, source="measured"):
    return Estimate(spec.run_id, seconds, {"total_seconds": seconds}, source, "some CPU")


@pytest.fixture
def specs(mini_spec):
    return [mini_spec(seed=seed) for seed in range(3)]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'harness.db'}"


def told(url, study="s"):
    frame = Database(url).estimates(study)
    return list(zip(frame["run_id"], frame["seconds"], frame["source"], strict=True))


def test_an_estimate_may_come_before_its_study_and_is_replaced_run_by_run(url, specs):
    record_estimates(url, "s", None, [estimate(spec, 10.0) for spec in reversed(specs)])
    record_estimates(url, "s", "paper", [estimate(specs[0], 99.0)])
    record_study(url, "s", None, specs)
    record_estimates(url, "s", None, [estimate(specs[1], 7.0, "database")])
    expected = [(10.0, "measured"), (7.0, "database"), (10.0, "measured")]
    assert told(url) == [(spec.run_id, *rest) for spec, rest in zip(specs, expected, strict=True)]
    assert list(Database(url).estimates()["seconds"]).count(99.0) == 1


def test_more_estimates_than_a_statement_can_carry_are_kept(url, specs):
    many = [Estimate(f"{number:016x}", 1.0, {}, "measured", "cpu") for number in range(1201)]
    for _ in range(2):
        record_estimates(url, "s", None, [*many, estimate(specs[0], 2.0)])
    record_study(url, "s", None, specs)
    assert told(url) == [(specs[0].run_id, 2.0, "measured")]


def test_a_rebuild_and_a_new_launch_keep_estimates(url, specs, tmp_path):
    record_estimates(url, "s", None, [estimate(specs[0], 10.0)])
    record_study(url, "s", None, specs)
    folder = RunFolder(tmp_path, specs[0].run_id)
    folder.write_spec(specs[0])
    folder.publish(RunResult(specs[0].run_id, "done", cost={"total_seconds": 9.0}), folder.take())
    collect(url, tmp_path)
    record_study(url, "s", None, specs)
    rebuild(url, tmp_path)
    assert told(url) == [(specs[0].run_id, 10.0, "measured")]
    [finished] = finished_runs(url)
    assert (finished.run_id, finished.cost) == (specs[0].run_id, {"total_seconds": 9.0})


def test_where_there_is_no_database_nothing_is_finished_and_none_is_made(url, tmp_path):
    assert finished_runs(url) == []
    record_estimates(url, "s", None, [])
    assert list(tmp_path.iterdir()) == []
