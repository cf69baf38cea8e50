"""Estimate against truth: what `harness plan` foresaw beside what runs took."""

import pandas as pd
import pytest

from harness.report import report_json, write_report


def estimate_of(database):
    return report_json(database, "fair_comparison", analyses=["estimate"])["analyses"]["estimate"]


def test_planned_and_actual_seconds_are_compared_by_method(database):
    found = estimate_of(database)
    rows = found["tables"]["estimate"]
    assert len(rows) == 12  # of 15 methods the last three were not planned
    assert {row["planned"] for row in rows} == {10.0}
    assert {row["actual"] for row in rows} == {12.0}
    assert [row["ratio"] for row in rows] == pytest.approx([1.2] * 12)
    assert sum(row["n"] for row in rows) == 12 * 3 - 2  # without the runs that failed or are pending
    assert "34 planned runs are done" in found["text"][0]
    assert "1.20 times as long" in found["text"][0]
    assert "12 of 12 methods lie within a factor of two" in found["text"][0]
    assert "2 more planned runs are not done" in found["text"][0]


def test_the_time_before_the_first_epoch_belongs_to_the_truth(make):
    database = make()
    database._runs["setup_seconds"] = 8.0
    assert [row["actual"] for row in estimate_of(database)["tables"]["estimate"]] == [20.0] * 12


def test_a_study_without_a_plan_says_so(make):
    database = make()
    database.estimates = lambda study, profile=None: pd.DataFrame({"run_id": [], "seconds": []})
    assert "No estimate was recorded" in estimate_of(database)["text"][0]
    assert estimate_of(database)["tables"] == {}


def test_a_plan_of_which_nothing_is_done_says_so(make):
    holes = {(position, seed): ("pending", None, None) for position in range(12) for seed in range(3)}
    assert "None of the 36 planned runs is done yet" in estimate_of(make(holes=holes))["text"][0]


def test_estimates_of_two_kinds_are_told_apart_in_the_figure(make, tmp_path):
    database = make()
    mixed = database.estimates("fair_comparison")
    mixed["source"] = ["measured", "database"] * (len(mixed) // 2)
    database.estimates = lambda study, profile=None: mixed
    page = write_report(database, "fair_comparison", out=tmp_path, analyses=["estimate"]).read_text()
    assert "steps timed before" in page
    assert "earlier runs" in page
    assert (tmp_path / "figures" / "estimate.png").stat().st_size > 5000


def test_a_study_that_was_planned_shows_it_though_its_file_names_other_analyses(make):
    database = make()
    database._studies["about"] = [{"analyses": ["leaderboard"]}]
    assert list(report_json(database, "fair_comparison")["analyses"]) == ["leaderboard", "estimate"]
    database.estimates = lambda study, profile=None: pd.DataFrame({"run_id": [], "seconds": []})
    assert list(report_json(database, "fair_comparison")["analyses"]) == ["leaderboard"]
