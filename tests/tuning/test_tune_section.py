"""The section `tune` of a study: what is wrong with it is told like every mistake of a study."""

import math

import pytest

from harness.study.tune import Dimension, grid_size, with_values

LR = "{log: [1e-4, 1e-2]}"
MARGIN = "{uniform: [0.05, 0.5]}"

MISTAKES = {
    "an option that the part does not have": (
        [("{margin:", "{margn:")],
        "objective 'triplet' has no option 'margn'; did you mean 'margin'?",
    ),
    "a part that no run has": (
        [("{triplet:", "{tripet:")],
        "no run of this study has the objective 'tripet'; did you mean 'triplet'?",
    ),
    "a kind that cannot be tuned": (
        [("objective: {triplet", "dataset: {glyphs")],
        "'dataset' cannot be tuned; known: miner, objective, optimizer, regularizer, sampler",
    ),
    "a setting that the optimizer does not have": (
        [("{lr: {log", "{rl: {log")],
        "optimizer has no option 'rl'; known: ",
    ),
    "log of a negative": ([(LR, "{log: [-1, 1]}")], "optimizer.lr: -1 has no logarithm; both ends must be positive"),
    "log of zero": ([(LR, "{log: [0, 1]}")], "optimizer.lr: 0 has no logarithm"),
    "an empty choice": ([(MARGIN, "{choice: []}")], "an empty choice leaves nothing to try"),
    "a choice given twice": ([(MARGIN, "{choice: [0.2, 0.2]}")], "0.2 is given twice"),
    "a choice of lists": ([(MARGIN, "{choice: [[1], 0.2]}")], "a choice is a list of numbers, texts, true or false"),
    "ends the wrong way round": ([(MARGIN, "{uniform: [0.5, 0.05]}")], "the lower end comes first and the ends differ"),
    "one end": ([(MARGIN, "{uniform: [0.5]}")], "uniform wants its two ends, as in `uniform: [1, 8]`, not [0.5]"),
    "ends of int that are not whole": ([(MARGIN, "{int: [0.5, 2]}")], "the ends of int are whole numbers"),
    "a range that is none": ([(MARGIN, "0.3")], "a range is one of log, uniform, int or choice"),
    "two ranges": ([(MARGIN, "{log: [1, 2], uniform: [1, 2]}")], "a range is one of log, uniform, int or choice"),
    "a key that ranges have not": ([(MARGIN, "{uniform: [0.05, 0.5], step: 1}")], "a range has no key 'step'"),
    "a grid of one point": ([(MARGIN, "{uniform: [0.05, 0.5], points: 1}")], "2 or more"),
    "a value that the part cannot take": (
        [(MARGIN, "{uniform: [-0.5, 0.5]}")],
        "option 'margin' of objective 'triplet': input should be greater than or equal to 0, not -0.5",
    ),
    "a choice that the optimizer cannot take": (
        [(LR, "{choice: [1e-3, fast]}")],
        "optimizer.lr: input should be a valid number, not 'fast'",
    ),
    "defaults that the space does not hold": (
        [(MARGIN, "{uniform: [0.3, 0.5]}")],
        "the defaults are the first trial, but objective.margin of triplet + semihard is 0.2",
    ),
    "more folds than classes": (
        [("folds: 3", "folds: 13")],
        "17:10: dataset 'glyphs': 13 folds of 12 training classes have fewer than 2 classes each",
    ),
    "folds of a class each": ([("folds: 3", "folds: 12")], "at most 6 would be right"),
    "a share of nothing": ([("folds: 3", "folds: 1\n  share: 0.01")], "holds out 0 and leaves 12"),
    "a metric that is not computed": (
        [("folds: 3", "folds: 3\n  metric: map_at_q")],
        "metric 'map_at_q' is not computed by these runs; did you mean 'map_at_r'?",
    ),
    "a metric of which more is not better": ([("folds: 3", "folds: 3\n  metric: rho")], "more of it is not better"),
    "no trials": ([("  trials: 6\n", "")], "15:1: `tune` needs the number of trials"),
    "zero trials": ([("trials: 6", "trials: 0")], "tune.trials: input should be greater than or equal to 1, not 0"),
    "an unknown sampler": ([("folds: 3", "folds: 3\n  sampler: tpx")], "tune.sampler: input should be 'tpe'"),
    "an unknown key": ([("folds: 3", "flods: 3")], "a study (tune) has no key 'flods'; did you mean 'folds'?"),
    "no space": (
        [(f"  space:\n    optimizer: {{lr: {LR}}}\n    objective: {{triplet: {{margin: {MARGIN}}}}}\n", "")],
        "`tune` needs a `space` to search, as in",
    ),
    "a pruner without folds to judge by": (
        [("folds: 3", "folds: 1\n  share: 0.5\n  pruner: median")],
        "the pruner judges a trial by its first folds; with one fold there is none",
    ),
    "a grid too small for the budget": (
        [("folds: 3", "folds: 3\n  sampler: grid")],
        "the grid of proxy_nca has 5 points, too few for 6 trials of every method",
    ),
    "a method with nothing to tune": (
        [(f"    optimizer: {{lr: {LR}}}\n", "")],
        "nothing of proxy_nca is searched, so it would not be tuned like the others",
    ),
    "two methods that would be tuned to the same": (
        [("- objective: proxy_nca\n", "- objective: {name: triplet, margin: 0.4}\n    miner: random\n")],
        "differ only in what is searched",
    ),
    "an epoch selected on the sealed test": (
        [("seeds: 2", "seeds: 2\nreport: {selection: best_test}")],
        "keeps its test classes sealed, so no epoch is selected on them",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_at_its_place(refused, case):
    replaced, message = MISTAKES[case]
    assert message in refused(*replaced)


def test_mistakes_of_the_section_are_told_together_with_all_others(refused):
    told = refused((LR, "{log: [-1, 1]}"), ("{margin:", "{margn:"), ("folds: 3", "folds: 13"), ("seeds: 2", "seeds: 0"))
    assert ": 3 mistakes" in told or ": 4 mistakes" in told
    assert "has no logarithm" in told
    assert "margn" in told


def test_a_tuned_study_says_nothing_of_untuned_ones(load):
    tune = load().tune
    assert (tune.trials, tune.section.metric, tune.section.folds, tune.section.sampler) == (6, "map_at_r", 3, "tpe")
    assert [dimension.name for dimension in tune.dimensions] == ["optimizer.lr", "objective.margin"]


def test_a_profile_and_the_command_line_change_single_keys_of_the_section(load):
    profile = ("seeds: 2", "seeds: 2\nprofiles: {long: {tune: {trials: 50, sampler: random}}}")
    section = load(profile, profile="long", overrides={"tune.folds": "2"}).tune.section
    assert (section.trials, section.sampler, section.folds, section.batch) == (50, "random", 2, 3)


def test_the_command_line_cannot_tune_what_has_no_section(load, refused):
    import re

    told = refused(
        ("tune:\n", "report:\n"), ("  trials: 6\n  folds: 3\n  batch: 3\n", ""), overrides={"tune.folds": "2"}
    )
    assert re.search(r"--set tune.folds=2: this study has no section `tune`", told)


def test_values_are_laid_over_a_run_and_checked_as_in_a_study(load):
    spec = load().runs()[-1]
    changed = with_values(spec, {"optimizer.lr": 0.005, "objective.margin": 0.4})
    assert (changed.optimizer.lr, changed.objective.options["margin"]) == (0.005, 0.4)
    assert changed.optimizer.weight_decay == spec.optimizer.weight_decay
    assert with_values(spec, {}).run_id == spec.run_id


@pytest.mark.parametrize(
    ("dimension", "points"),
    [
        (Dimension(("optimizer", "lr"), "log", 0.001, 0.1, points=3), [0.001, 0.01, 0.1]),
        (Dimension(("optimizer", "lr"), "uniform", 0.0, 1.0, points=3), [0.0, 0.5, 1.0]),
        (Dimension(("objective", "a", "b"), "int", 1, 3), [1, 2, 3]),
        (Dimension(("objective", "a", "b"), "int", 0, 100, points=3), [0, 50, 100]),
        (Dimension(("objective", "a", "b"), "choice", choices=("x", None, True)), ["x", None, True]),
    ],
)
def test_a_grid_has_both_ends_of_a_range_and_every_choice(dimension, points):
    assert all(
        math.isclose(a, b) if isinstance(a, float) else a == b for a, b in zip(dimension.grid(), points, strict=True)
    )
    assert grid_size([dimension, dimension]) == len(points) ** 2
    assert all(dimension.contains(point) for point in dimension.grid())


def test_true_is_not_one_of_the_numbers_and_half_no_whole_one():
    assert not Dimension(("a", "b"), "uniform", 0, 2).contains(True)
    assert not Dimension(("a", "b"), "int", 0, 2).contains(0.5)
    assert not Dimension(("a", "b"), "choice", choices=(1,)).contains(True)
