"""Profiles, `--set` and `--only`."""

import pytest

GRID = """
seeds: 2
grid:
  - objective: {name: pull, beta: [0.6, 1.2]}
    miner: [anyone, nearby]
  - objective: whole
exclude: [{beta: 0.6, miner: nearby}]
report: {selection: last}
profiles:
  long: {run: {training: {epochs: 300}, dataset: {name: dots, size: 9}}, seeds: [5]}
  other: {grid: [{objective: [anchors, whole]}], axes: {training.epochs: [1, 2]}, report: {selection: best_test}}
  fewer: {exclude: [{objective: pull}]}
"""


def test_a_profile_is_laid_over_the_study(flats):
    found = flats(GRID, "objective", "training.epochs", "dataset.size", "seed", profile="long")
    assert found == [("pull", 300, 9, 5)] * 3 + [("whole", 300, 9, 5)]


def test_a_profile_replaces_the_grid_and_with_it_what_was_excluded(flats):
    found = flats(GRID, "objective", "training.epochs", profile="other")
    assert found == [(name, epochs) for name in ("anchors", "whole") for epochs in (1, 2) for _ in range(2)]


def test_a_profile_may_exclude_otherwise(flats):
    assert flats(GRID, "objective", profile="fewer") == ["whole", "whole"]


def test_a_study_knows_its_profiles_and_report(load):
    study = load(GRID, profile="other")
    assert study.profile == "other"
    assert study.profiles == ("long", "other", "fewer")
    assert (study.name, study.question, str(study.path)) == ("small", "What is it?", "small.yaml")
    report = {"analyses": [], "selection": "best_test", "equivalence": 0.25, "baseline": None}
    assert study.about() == {"question": "What is it?", **report, "blocks": []}
    assert load(GRID).report.selection == "last"


def test_an_unknown_profile_is_refused_with_a_suggestion(refused):
    assert "--profile lnog: the study has no such profile; did you mean 'long'?" in refused(GRID, profile="lnog")
    assert "it has none" in refused("  objective: whole", profile="long")


def test_set_wins_over_profile_and_blocks_and_collapses_the_axis(flats):
    text = "grid: [{objective: whole, training.epochs: [1, 2], objective.margin: [3, 4]}]"
    assert flats(text, "training.epochs", "objective.margin", overrides={"training.epochs": "7"}) == [(7, 3), (7, 4)]
    zipped = "grid: [{objective: whole, zip: {training.epochs: [1, 2], objective.margin: [3, 4]}}]"
    assert flats(zipped, "training.epochs", "objective.margin", overrides={"training.epochs": 7}) == [(7, 3), (7, 4)]
    assert flats(GRID, "training.epochs", profile="long", overrides={"training.epochs": 7}) == [7] * 4


def test_set_changes_an_option_where_a_run_has_it(flats):
    found = flats(GRID, "objective", "objective.beta", overrides={"objective.beta": "0.9", "seeds": "1"})
    assert found == [("pull", 0.9), ("pull", 0.9), ("whole", None)]


def test_set_replaces_a_whole_part(flats):
    found = flats(GRID, "objective", "objective.beta", "miner", overrides={"objective": "pull", "miner": "anyone"})
    assert found == [("pull", 1.2, "anyone")] * 2
    assert flats(GRID, "dataset", overrides={"run.dataset": "{name: box, file: x}"}) == ["box"] * 8


def test_set_works_in_any_order(flats):
    for settings in ({"dataset": "box", "dataset.file": "x"}, {"dataset.file": "x", "dataset": "box"}):
        assert set(flats(GRID, "dataset", "dataset.file", overrides=settings)) == {("box", "x")}


def test_set_of_seeds_and_report(load):
    study = load(GRID, overrides={"seeds": "[3, 4]", "report.selection": "best_test"})
    assert {run.seed for run in study.runs()} == {3, 4}
    assert study.report.selection == "best_test"


def test_set_understands_lists_and_numbers_as_yaml_does(flats):
    settings = {"optimizer.milestones": "[30, 60]", "optimizer.lr": "1e-5"}
    assert set(map(str, flats(GRID, "optimizer.milestones", "optimizer.lr", overrides=settings))) == {
        "([30, 60], 1e-05)"
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.epohs": "2"}, "--set training.epohs=2: training has no setting 'epohs'; did you mean 'epochs'?"),
        ({"training.epochs": "two"}, "--set training.epochs=two: training.epochs: input should be a valid integer"),
        ({"sed": "2"}, "--set sed=2: 'sed' cannot be set; did you mean 'seeds'?"),
        ({"grid": "2"}, "--set grid=2: 'grid' cannot be set; known: backbone, "),
        ({"seeds": "0"}, "--set seeds=0: a study needs at least one seed, not 0"),
        ({"seeds.x": "0"}, "--set seeds.x=0: seeds has no keys"),
        (
            {"objective.bta": "1"},
            "--set objective.bta=1: no objective of these runs has the option 'bta'; did you mean 'beta'",
        ),
        ({"objective": "pul"}, "--set objective=pul: objective 'pul' is not known; did you mean 'pull'?"),
        ({"optimizer.lr": "[1,"}, "--set optimizer.lr=[1,: this is not YAML"),
        ({"objective": "[pull, whole]"}, "objective is a name or a mapping with `name`, not a list"),
        ({"optimizer.lr": float("nan")}, "a value is text, a finite number, a list or a mapping, not float"),
        ({"training.epochs": object()}, "a value is text, a finite number, a list or a mapping, not object"),
        ({"training": "5"}, "--set training=5: training is a mapping of settings, not 5"),
        ({"training..epochs": "5"}, "'training..epochs' is not a path"),
        (
            {"report.selection": "frist"},
            "--set report.selection=frist: selection: input should be 'last' or 'best_test'",
        ),
        ({"objective": "whole", "miner": "anyone"}, "objective 'whole' takes the whole batch"),
    ],
)
def test_what_is_wrong_with_a_set_is_told_at_the_set(refused, settings, message):
    told = refused(GRID, overrides=settings)
    assert "small.yaml: 1 mistake\n--set " in told
    assert message in told


def test_only_keeps_the_runs_that_match(flats):
    assert flats(GRID, "objective", "seed", only={"objective": "whole", "seed": "1"}) == [("whole", 1)]
    assert flats(GRID, "objective.beta", "miner", only={"beta": "[0.6, 1.2]", "miner": "anyone", "seed": 0}) == [
        (0.6, "anyone"),
        (1.2, "anyone"),
    ]


def test_only_lets_a_set_be_possible(flats):
    found = flats(GRID, "objective", "miner", only={"objective": "pull", "seed": 0}, overrides={"miner": "anyone"})
    assert found == [("pull", "anyone")] * 2


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"objective": "wohle"}, "--only objective=wohle: no run has objective wohle; did you mean 'whole'?"),
        ({"objektive": "whole"}, "--only objektive=whole: no run has 'objektive'; did you mean 'objective'?"),
        ({"seeds": "1"}, "no run has 'seeds'; did you mean 'seed'?"),
        ({"objective": "whole", "miner": "nearby"}, "selects none of the 8 runs: none has all of it at once"),
    ],
)
def test_only_that_selects_nothing_is_a_mistake(refused, only, message):
    assert message in refused(GRID, only=only)
