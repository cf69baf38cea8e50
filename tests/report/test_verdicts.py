"""Verdicts: from numbers with a known truth to the table, the figure and the words."""

import re

import numpy as np
import pandas as pd
import pytest

from harness.report import report_json, write_report
from harness.report.analyses._comparisons import against_baseline, against_best, comparisons, verdict_text
from harness.report.evidence import read
from harness.report.queries import read_queries
from harness.store.spool import run_path
from harness.training.evidence import save

GRID = [(name, "none", "none", None) for name in ("proxy_nca", "n_pair", "margin", "arcface", "cosface")]
TRUTH = {"proxy_nca": 0.70, "n_pair": 0.64, "margin": 0.70, "arcface": 0.66, "cosface": 0.69}
"""n_pair and arcface are worse than the two best by points, cosface by one point, margin by nothing."""


def told(database, **about):
    """The analysis as JSON; `about` is what the study says of its report."""
    database._studies["about"] = [about]
    return report_json(database, "fair_comparison", analyses=["verdicts"])["analyses"]["verdicts"]


def with_truth(database, spread=0.001, seed=0):
    """Test R@1 is what TRUTH says, a luck that methods share with a seed, and noise of that spread."""
    rng = np.random.default_rng(seed)
    frame = database._measurements
    runs = database._runs.set_index("run_id")
    luck = 0.02 * rng.standard_normal(1000)
    chosen = (frame["metric"] == "recall_at_1") & (frame["split"] == "test")
    numbers = {
        run: TRUTH[runs.loc[run, "objective"]] + luck[runs.loc[run, "seed"]] + spread * rng.standard_normal()
        for run in frame["run_id"].unique()
    }
    frame.loc[chosen, "value"] = frame.loc[chosen, "run_id"].map(numbers)
    return database


@pytest.fixture
def database(make):
    return with_truth(make(seeds=8, grid=GRID))


def rows(analysis, name="verdicts_1"):
    return {row["method"]: row for row in analysis["tables"][name]}


def test_true_differences_are_worse_and_no_difference_is_practically_equal(database):
    found = rows(told(database))
    best = next(iter(found.values()))["reference"]
    assert best in ("proxy_nca", "margin")
    other = {"proxy_nca": "margin", "margin": "proxy_nca"}[best]
    assert found[other]["verdict"] == "practically equal"
    assert [found[name]["verdict"] for name in ("n_pair", "arcface", "cosface")] == ["worse"] * 3
    assert found["n_pair"]["difference"] == pytest.approx(-0.06, abs=0.002)
    assert all(row["family"] == 10 and row["n"] == 8 for row in found.values())


def test_few_noisy_runs_are_not_enough_and_the_words_tell_how_many_are(make):
    analysis = told(with_truth(make(seeds=3, grid=GRID), spread=0.02, seed=1))
    found = rows(analysis)
    assert {row["verdict"] for row in found.values()} == {"not enough runs"}
    assert found["n_pair"]["needed"] > 3
    assert verdict_text(found["n_pair"]) == f"not enough runs (about {found['n_pair']['needed']:.0f} needed)"
    assert any("with 3 seeds its p cannot fall below 0.25" in text for text in analysis["text"])


def test_the_region_of_the_study_decides_what_is_equal(database):
    assert rows(told(database, equivalence=3.0))["cosface"]["verdict"] == "practically equal"
    assert rows(told(database, equivalence=0.25))["cosface"]["verdict"] == "worse"
    assert any("±3 points" in text for text in told(database, equivalence=3.0)["text"])


def test_a_baseline_is_compared_with_all_others_as_one_family(database):
    analysis = told(database, baseline="arcface")
    found = rows(analysis, "verdicts_1_baseline")
    assert {name: row["verdict"] for name, row in found.items()} == {
        **dict.fromkeys(("proxy_nca", "margin", "cosface"), "better"),
        "n_pair": "worse",
    }
    assert {row["family"] for row in found.values()} == {4}
    assert "verdicts_1_baseline" not in told(database)["tables"]
    assert any("names its baseline" in text for text in told(database)["text"])


def test_a_baseline_without_runs_is_told_and_hides_nothing(database):
    analysis = told(database, baseline="contrastive")
    assert set(analysis["tables"]) == {"verdicts_1"}
    assert any("The baseline contrastive cannot be compared in glyphs" in text for text in analysis["text"])


def test_differences_are_taken_seed_by_seed_over_shared_seeds_only(make):
    holes = {(0, 0): ("failed", "diverged", "nan"), (1, 3): ("pending", None, None)}
    database = with_truth(make(seeds=6, grid=GRID[:2], holes=holes))
    evidence = read(database, "fair_comparison")
    table = comparisons(evidence, against_best(evidence, evidence.settings[0]))
    values = evidence.values("recall_at_1", "test").pivot_table(index="seed", columns="method", values="value")
    expected = (values["n_pair"] - values["proxy_nca"]).dropna()
    assert len(expected) == 4
    assert table["n"].tolist() == [4]
    assert table["difference"].iloc[0] == pytest.approx(expected.mean())
    assert table["sd"].iloc[0] == pytest.approx(expected.std())


def test_a_method_with_one_run_is_never_the_best_and_never_judged(make):
    holes = {(0, seed): ("pending", None, None) for seed in range(1, 4)}
    found = rows(told(with_truth(make(seeds=4, grid=GRID[:3], holes=holes), spread=0.0005)))
    assert found["proxy_nca"]["reference"] == "margin"
    assert (found["proxy_nca"]["verdict"], found["proxy_nca"]["low"]) == ("not enough runs", None)
    assert verdict_text({**found["proxy_nca"], "needed": float("nan")}) == "not enough runs (n=1)"
    assert found["n_pair"]["family"] == 1


@pytest.mark.parametrize("seeds", [0, 1])
def test_a_study_without_two_runs_a_method_says_so(make, seeds):
    holes = {} if seeds else {(position, 0): ("pending", None, None) for position in range(5)}
    analysis = told(make(seeds=1, grid=GRID, holes=holes))
    assert analysis["tables"] == {}
    assert any("nothing to compare" in text or "no two can be compared" in text for text in analysis["text"])


def test_the_leaderboard_gives_each_row_its_verdict(database):
    database._studies["about"] = [{"baseline": "arcface"}]
    table = report_json(database, "fair_comparison", analyses=["leaderboard"])["analyses"]["leaderboard"]["tables"]
    words = {row["method"]: (row["against_best"], row["against_baseline"]) for row in table["leaderboard_1"]}
    assert words["n_pair"] == ("worse", "worse")
    assert words["arcface"] == ("worse", "the baseline")
    assert {words["proxy_nca"], words["margin"]} == {("the best", "better"), ("practically equal", "better")}


def test_the_page_has_the_forest_plots_and_the_words(database, tmp_path):
    database._studies["about"] = [{"baseline": "arcface"}]
    text = write_report(database, "fair_comparison", out=tmp_path, analyses=["verdicts", "leaderboard"]).read_text()
    assert "practically equal" in text
    for name in ("verdicts_1", "verdicts_1_baseline"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000
    shown = (tmp_path / "tables" / "verdicts_1.md").read_text()
    assert re.search(r"\| \[?n_pair.*\| worse *\|", shown)
    assert "≥ 0.0078" in shown


SETS = ("glyphs", "omniglot", "cub200", "cars196", "sop", "in_shop")


def test_over_six_data_sets_means_have_intervals_and_ranks_a_diagram(make, tmp_path):
    database = with_truth(make(seeds=5, datasets=SETS, grid=GRID), spread=0.004)
    analysis = told(database)
    means = rows(analysis, "interquartile_means")
    assert list(means)[:2] in (["proxy_nca", "margin"], ["margin", "proxy_nca"])
    assert means["n_pair"]["high"] < means["cosface"]["low"]
    assert means["n_pair"]["n"] == 30
    # relative to the mean of all five methods, 0.678, the truth of n_pair is -0.038
    assert means["n_pair"]["low"] < -0.038 < means["n_pair"]["high"]
    assert any("methods differ (Friedman test" in text for text in analysis["text"])
    write_report(database, "fair_comparison", out=tmp_path, analyses=["verdicts"])
    assert (tmp_path / "figures" / "mean_ranks.svg").is_file()


def test_over_two_data_sets_there_is_no_diagram_and_with_three_seeds_no_interval_and_both_say_why(make):
    analysis = told(with_truth(make(seeds=3, datasets=SETS[:2], grid=GRID)))
    assert any("A critical-difference diagram is left out: with 2 blocks" in text for text in analysis["text"])
    assert any(
        "There are no intervals: 3 runs on a data set; an interval needs 5." in text for text in analysis["text"]
    )


@pytest.fixture
def results(database, tmp_path):
    """Folders of runs with evidence: classes of which each method fails some, the recorded R@1 being their mean."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(60), 20)
    hard = rng.standard_normal(60)
    frame = database._measurements
    chosen = frame[(frame["metric"] == "recall_at_1") & (frame["split"] == "test") & (frame["selection"] == "last")]
    for index, row in chosen.iterrows():
        hits = (rng.standard_normal(1200) + 0.8 * hard[labels] < 3 * (row["value"] - 0.5)).astype(np.float16)
        hits[:7] = np.nan  # no queries
        frame.loc[index, "value"] = float(np.nanmean(hits.astype(float)))
        folder = run_path(tmp_path, row["run_id"])
        folder.mkdir(parents=True)
        empty = np.zeros((0, 4), dtype=np.float16)
        arrays = {"query_labels": labels, "query_indices": np.arange(1200), "query.recall_at_1": hits}
        arrays |= {"run_id": np.array(row["run_id"]), "epoch": np.array(row["epoch"]), "scale": np.array(1.0)}
        arrays |= {"classes": np.arange(60), "spectrum": np.zeros(0), "embeddings": empty}
        save(folder / "evidence.npz", arrays | {"labels": np.zeros(0, int), "indices": np.zeros(0, int)})
    return tmp_path


def over_classes(database, results, selection="last"):
    evidence = read(database, "fair_comparison", selection=selection, results=results)
    return comparisons(evidence, against_best(evidence, evidence.settings[0]), classes=True)


def test_the_interval_over_classes_comes_from_the_queries_of_the_runs(database, results):
    table = over_classes(database, results)
    assert (table["classes"] == 60).all()
    assert (table["class_low"] < table["difference"]).all()
    assert (table["difference"] < table["class_high"]).all()
    assert (table["class_reason"] == "").all()
    # what several seeds and methods find hard alike is no uncertainty of a difference between them
    assert (table["class_high"] - table["class_low"]).max() < 0.06


def test_without_evidence_of_the_very_number_there_is_no_interval_over_classes(database, results):
    other_rule = over_classes(database, results, selection="best_test")  # its numbers are others
    assert other_rule["class_low"].isna().all()
    assert "left no evidence of these numbers" in other_rule["class_reason"].iloc[0]
    assert "not at hand" in over_classes(database, None)["class_reason"].iloc[0]
    method = over_classes(database, results)["method"].iloc[-1]
    run = database._runs.query("method == @method")["run_id"].iloc[0]
    path = run_path(results, run) / "evidence.npz"
    path.write_bytes(b"PK torn")
    read_queries.cache_clear()
    last = over_classes(database, results).set_index("method").loc[method]
    assert last["class_reason"] == "1 of 16 runs left no evidence of these numbers"
    assert np.isfinite(last["low"])


def test_runs_that_were_asked_other_queries_have_no_interval_over_classes(database, results):
    method = over_classes(database, results)["method"].iloc[-1]
    run = database._runs.query("method == @method")["run_id"].iloc[0]
    path = run_path(results, run) / "evidence.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    save(path, arrays | {"query_indices": arrays["query_indices"] + 1})
    read_queries.cache_clear()
    last = over_classes(database, results).set_index("method").loc[method]
    assert last["class_reason"] == "the runs were not asked the same queries"


def test_a_baseline_named_by_the_study_is_the_reference_of_its_question(database):
    database._studies["about"] = [{"baseline": "cosface", "equivalence": 0.5}]
    evidence = read(database, "fair_comparison")
    question = against_baseline(evidence, evidence.settings[0])
    assert (question.reference, question.family, evidence.equivalence) == ("cosface", 4, 0.5)
    assert isinstance(comparisons(evidence, question), pd.DataFrame)
