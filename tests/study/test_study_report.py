"""What a study says about its report: the region of practical equivalence and the baseline."""

import pytest

GRID = """
grid:
  - objective: {name: pull, beta: [0.6, 1.2]}
    miner: [anyone, nearby]
  - objective: whole
"""
BASELINE = "pull (beta=1.2) + nearby"


def with_report(text):
    return f"{GRID}report: {{{text}}}\n"


def test_equivalence_and_baseline_reach_the_database(load):
    about = load(with_report(f'equivalence: 0.5, baseline: "{BASELINE}"')).about()
    assert about["equivalence"] == 0.5
    assert about["baseline"] == BASELINE
    assert load(GRID).about()["equivalence"] == 0.25
    assert load(GRID).about()["baseline"] is None


@pytest.mark.parametrize("value", ["0", "-0.25", "21", ".nan", "true"])
def test_an_equivalence_that_is_no_small_difference_is_refused(refused, value):
    said = refused(with_report(f"equivalence: {value}"))
    assert "equivalence" in said
    assert "^" in said


def test_a_baseline_that_is_no_method_of_the_study_is_refused_at_its_place(refused):
    said = refused(with_report("baseline: pull (beta=1.2) + nearbi"))
    assert (
        "no method of this study is named 'pull (beta=1.2) + nearbi'; did you mean 'pull (beta=1.2) + nearby'?" in said
    )
    assert "^^^^" in said


def test_a_baseline_is_looked_for_among_the_methods_of_the_profile(load, refused):
    text = with_report("baseline: whole") + "profiles: {other: {grid: [{objective: anchors}]}}\n"
    assert load(text).report.baseline == "whole"
    assert "no method of this study is named 'whole'" in refused(text, profile="other")


def test_a_wrong_baseline_of_the_command_line_is_shown_there(refused):
    said = refused(GRID, overrides={"report.baseline": "hole"})
    assert "--set report.baseline=hole: no method of this study is named 'hole'; did you mean 'whole'?" in said
