"""What a report says of tuning: budgets, what they bought, looks at the test, and when it may not say best."""

import itertools

import numpy as np
import pandas as pd
import pytest

from harness.report.analyses._trials import expectations, importances, ledger, slices
from harness.report.analyses.tuning import analyze
from harness.report.evidence import Evidence
from harness.report.statistics.budget import expected_best
from harness.report.style import styled

LR = {"name": "FloatDistribution", "attributes": {"step": None, "low": 1e-4, "high": 1e-2, "log": True}}
MARGIN = {"name": "FloatDistribution", "attributes": {"step": None, "low": 0.0, "high": 1.0, "log": False}}


def make_trials(**counts):
    """Trials of each method: the score follows the learning rate alone; the third fails, the fifth is pruned."""
    rows = []
    for place, (method, count) in enumerate(counts.items()):
        rng = np.random.default_rng(place)
        for trial in range(count):
            rate, margin = 10 ** rng.uniform(-4, -2), rng.uniform()
            state = {2: "failed", 4: "pruned"}.get(trial, "complete")
            score = None if state == "failed" else 0.6 - 0.1 * abs(np.log10(rate) + 3) - 0.05 * place
            rows.append(
                {"method": method, "trial": trial, "state": state, "score": score, "metric": "map_at_r"}
                | {"cause": "out_of_memory" if state == "failed" else None, "epoch": None if score is None else 7}
                | {"parameters": {"optimizer.lr": rate, "objective.margin": margin}, "runs": [f"{place}{trial}"]}
                | {"space": {"optimizer.lr": LR, "objective.margin": MARGIN}, "trained": 3, "seconds": 600.0}
            )
    return pd.DataFrame(rows).astype({"score": float})


def make_evidence(trials, looks=()):
    empty = pd.DataFrame()
    found = pd.DataFrame(
        [
            {"look": number, "choices": choices, "runs": 4, "classes": {}, "by": {"host": "here"}}
            | {"began": "2026-11-21T00:00:00", "ended": "2026-11-21T00:01:00"}
            for number, choices in enumerate(looks, 1)
        ]
    )
    frames = [empty] * 4
    return Evidence("mini", "", None, "last", empty, {}, *frames, trials=trials, looks=found)


@pytest.mark.parametrize("scores", [[0.3], [0.1, 0.5], [0.2, 0.2, 0.7], [0.4, 0.1, 0.3, 0.1]])
def test_the_closed_form_is_the_mean_over_every_sequence_of_draws(scores):
    found = expected_best(scores)
    for place, draws in enumerate(range(1, len(scores) + 1)):
        highest = np.sort([max(drawn) for drawn in itertools.product(scores, repeat=draws)])
        assert found.expected[place] == pytest.approx(highest.mean())
        assert found.low[place] == highest[int(np.ceil(0.025 * len(highest))) - 1]
        assert found.high[place] == highest[int(np.ceil(0.975 * len(highest))) - 1]


def test_more_trials_never_lead_one_to_expect_less():
    expected = expected_best(np.random.default_rng(0).uniform(size=20).tolist())
    assert (np.diff(expected.expected) > 0).all()
    assert (expected.low <= expected.expected).all()
    assert (expected.expected <= expected.high).all()


def test_the_ledger_counts_every_trial_and_names_the_choice():
    frame = ledger(make_trials(margin=8, triplet=8))
    assert list(frame["trials"]) == [8, 8]
    assert frame[["complete", "pruned", "failed"]].to_numpy().tolist() == [[6, 1, 1]] * 2
    assert list(frame["causes"]) == ["1 out of memory"] * 2
    assert list(frame["runs"]) == [24, 24]
    assert list(frame["hours"]) == pytest.approx([8 / 6, 8 / 6])
    assert frame["chosen"].is_monotonic_decreasing
    trials = make_trials(margin=8)
    complete = trials[trials["state"] == "complete"]
    assert frame.set_index("method").loc["margin", "chosen"] == complete["score"].max()
    assert frame.set_index("method").loc["margin", "defaults"] == trials["score"][0]


def test_a_failed_trial_counts_as_nothing_in_what_is_expected():
    frame = expectations(make_trials(margin=3))
    scores = make_trials(margin=3)["score"].fillna(0)
    assert frame["expected"][0] == pytest.approx(scores.mean())
    assert list(frame["trials"]) == [1, 2, 3]


def test_importances_find_the_option_that_decides_and_are_the_same_every_time():
    frame = importances(make_trials(margin=40))
    shares = frame.set_index("option")["importance"]
    assert shares["optimizer.lr"] > 0.8 > 0.2 > shares["objective.margin"]
    assert shares.sum() == pytest.approx(1)
    pd.testing.assert_frame_equal(frame, importances(make_trials(margin=40)))
    assert importances(make_trials(margin=1)).empty


def test_slices_mark_the_choice_and_the_logarithmic_options():
    frame = slices(make_trials(margin=8))
    assert len(frame) == 16
    assert frame.groupby("option")["log"].all().to_dict() == {"objective.margin": False, "optimizer.lr": True}
    assert frame["chosen"].sum() == 2


def test_equal_budgets_allow_the_word_best_and_unequal_ones_refuse_it():
    equal = make_evidence(make_trials(margin=10, triplet=11))
    assert equal.equally_tuned
    assert "The best score on held-out classes is that of margin" in " ".join(analyze(equal).text)
    unequal = make_evidence(make_trials(margin=10, triplet=12))
    assert not unequal.equally_tuned
    section = analyze(unequal)
    told = [*section.text, *(part.caption for part in (*section.tables, *section.drawings))]
    assert "Budgets differ by more than 10%: triplet had 12 trials, margin 10" in told[0]
    assert not [text for text in told if "best" in text.lower()]


def test_the_verdicts_do_not_call_a_method_best_that_was_tuned_longer(database):
    from dataclasses import replace

    from harness.report.analyses._comparisons import verdict_columns
    from harness.report.evidence import read

    evidence = read(database, "fair_comparison")
    [setting] = evidence.settings
    assert verdict_columns(evidence, setting)["best"][0] == "R@1 against the best"
    unequal = replace(evidence, trials=make_trials(margin=10, triplet=12))
    title, words = verdict_columns(unequal, setting)["best"]
    assert title == "R@1 against the highest"
    assert "the best" not in words.values()


def test_looks_at_the_test_are_told_and_a_change_of_choices_between_them():
    trials = make_trials(margin=5, triplet=5)
    assert "Looks at the test set: 0. It is sealed" in analyze(make_evidence(trials)).text[-1]
    assert analyze(make_evidence(trials, ["a", "a"])).text[-1] == "Looks at the test set: 2."
    assert "choices were changed between looks (2 different ones)" in analyze(make_evidence(trials, "ab")).text[-1]
    tables = {table.name: table for table in analyze(make_evidence(trials, "ab")).tables}
    assert list(tables["tuning_looks"].shown["Choices"]) == ["a", "b"]


def test_every_figure_can_be_drawn_and_has_its_table():
    section = analyze(make_evidence(make_trials(margin=6, triplet=6, contrastive=6, proxy_nca=6), ["a"]))
    names = {table.name for table in section.tables}
    with styled():
        for drawing in section.drawings:
            assert drawing.draw().axes
            assert drawing.table in names
    assert len(section.drawings) == 3


def test_a_study_that_was_not_tuned_says_so():
    section = analyze(make_evidence(pd.DataFrame()))
    assert "Nothing was tuned" in section.text[0]
    assert section.tables == []


def test_no_section_uses_the_word_of_methods_that_were_tuned_unequally(database):
    import re

    from harness.report import report_json

    class Tuned:
        def __init__(self, trials):
            self._trials = trials

        def __getattr__(self, name):
            return getattr(database, name)

        def trials(self, study, *, profile=None):
            return self._trials

    def words(**budgets):
        analyses = report_json(Tuned(make_trials(**budgets)), "fair_comparison")["analyses"].values()
        told = " ".join(text for section in analyses for text in section["text"])
        return re.findall("best (?!epoch|test|mean R@1)", told)

    assert words(margin=10, triplet=10)
    assert words(margin=10, triplet=12) == []
