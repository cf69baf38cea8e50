"""Commands that look and tidy up: `status`, `retry`, `explain`, `parts`, `report --json`."""

import json
from pathlib import Path

import pytest

from harness.specs import Measurement, RunResult
from harness.store.database import record_study
from harness.store.spool import RunFolder


@pytest.fixture
def study(mini_spec, tmp_path):
    """A study of one finished and one failed run, as its launch would have left it; gives their ids."""
    done, failed = mini_spec(), mini_spec(seed=1)
    results = tmp_path / "results"
    results.mkdir()
    record_study(f"sqlite:///{results / 'harness.db'}", "mini", None, [done, failed], {"question": "Does it work?"})
    measured = [Measurement("test", "recall_at_1", "last", 2, 0.5)]
    for spec, result in (
        (done, RunResult(done.run_id, "done", measurements=measured)),
        (failed, RunResult(failed.run_id, "failed", "diverged", "the loss became nan at step 3 of epoch 1")),
    ):
        folder = RunFolder(results, spec.run_id)
        folder.write_spec(spec)
        folder.publish(result, folder.take())
    return done.run_id, failed.run_id


def test_status_counts_the_runs_and_says_why_one_failed(harness, study):
    code, out, _ = harness("status", "mini")
    assert code == 0
    assert "1 done  1 failed  0 running  0 pending" in out
    assert f"failed {study[1]}" in out
    assert "diverged: the loss became nan at step 3 of epoch 1" in out
    told = json.loads(harness("status", "mini", "--json")[1])
    assert (told["done"], told["failed"]) == (1, 1)
    assert told["failures"][0]["run_id"] == study[1]


def test_retry_makes_a_failed_run_pending_and_keeps_what_it_left(harness, study):
    assert "0 runs" in harness("retry", "mini", "--cause", "out_of_memory")[2]
    assert "1 run (1 diverged) will be tried again" in harness("retry", "mini")[2]
    folder = RunFolder(Path("results"), study[1])
    assert folder.state() == "pending"
    assert list(folder.path.glob("attempts/retried-*.json"))
    assert "1 done  0 failed  0 running  1 pending" in harness("status", "mini")[1]
    assert RunFolder(Path("results"), study[0]).state() == "done"


def test_explain_shows_what_is_in_a_run_and_what_differs_between_two(harness, study):
    _, out, _ = harness("explain", study[0][:8])
    assert "optimizer.lr" in out
    _, out, _ = harness("explain", *study)
    assert [line.split() for line in out.splitlines()] == [["seed", "0", "|", "1"]]


def test_explaining_a_run_that_is_not_there_is_told_plainly(harness, study):
    code, _, err = harness("explain", "0123456789abcdef")
    assert code == 3
    assert "0123456789abcdef" in err


def test_report_json_carries_the_numbers(harness, study):
    code, out, err = harness("report", "mini", "--json")
    assert code == 0, err
    assert json.loads(out)["study"] == "mini"
    assert "50.0" in out or "0.5" in out


def test_a_selection_that_nobody_knows_is_a_usage_error(harness, study):
    code, _, err = harness("report", "mini", "--selection", "best")
    assert code == 2
    assert "best_test" in err


def test_parts_lists_names_options_and_defaults(harness):
    rows = json.loads(harness("parts", "objectives", "--json")[1])
    margin = next(row for row in rows if row["name"] == "margin")
    assert margin["options"]["beta"] == 1.2
    assert harness("parts", "objectivs")[0] == 2


def test_a_study_that_is_not_in_the_database_is_told_plainly(harness, study):
    for command in ("status", "report", "retry"):
        code, _, err = harness(command, "nothing")
        assert code in (2, 3), command
        assert "nothing" in err
        assert "Traceback" not in err


@pytest.mark.parametrize("name", ["fair", "../elsewhere"])
def test_a_study_that_was_never_launched_cannot_be_cancelled_and_nothing_is_made(harness, tmp_path, name):
    code, _, err = harness("cancel", name)
    assert code == 2
    assert f"no study '{name}' was ever launched into" in err
    assert list(tmp_path.iterdir()) == []
