"""Families of metrics in a study: named like parts, checked like parts, and written into the run like parts."""

import pytest

from harness.registry import METRICS
from harness.specs import Choice, Evaluation, RunSpec

WHOLE = "  objective: whole\n"


def evaluation(load, text=""):
    """The evaluation of the one run of a study that says this about it."""
    (run,) = load(WHOLE + text).runs()
    return run.evaluation


def test_families_have_every_default_written_in_whether_they_are_named_or_not(load):
    said = evaluation(load)
    assert said.test == [METRICS.check(name) for name in ("retrieval", "clustering", "density", "spectrum")]
    assert said.train == [METRICS.check(name) for name in ("density", "spectrum")]
    assert said.test[0].options == {
        "k": [1, 2, 4, 8],
        "distance": "euclidean",
        "both_divisors": False,
        "full_ranking_up_to": 10_000,
    }


@pytest.mark.parametrize(
    "same",
    [
        "  evaluation: {every: 1}\n",
        "  evaluation: {clustering_every: 1, train: [density, spectrum]}\n",
        "  evaluation: {train: [{name: density, structure: false}, {name: spectrum}]}\n",
    ],
)
def test_what_is_said_in_other_words_is_the_same_run(load, same):
    assert load(WHOLE + same).runs()[0].run_id == load(WHOLE).runs()[0].run_id


def test_options_of_a_family_are_part_of_the_identity_and_survive_json(load):
    text = "  evaluation: {test: [{name: retrieval, k: [1, 10, 100, 1000]}, clustering], clustering_every: 10}\n"
    (run,) = load(WHOLE + text).runs()
    assert run.evaluation.test[0] == METRICS.check("retrieval", {"k": [1, 10, 100, 1000]})
    assert run.run_id != load(WHOLE).runs()[0].run_id
    again = RunSpec.from_dict(run.to_dict())
    assert again == run
    assert again.run_id == run.run_id
    assert run.to_dict()["evaluation"]["test"][1] == {
        "name": "clustering",
        "options": {"iterations": 20},
        "revision": 1,
    }


def test_a_person_sees_the_names_of_families_and_their_options_together(flats):
    paths = ("evaluation.test", "evaluation.test.clustering", "evaluation.clustering_every")
    text = WHOLE + "  evaluation: {test: [{name: clustering, iterations: 5}], clustering_every: 3}\n"
    assert flats(text, *paths) == [(["clustering"], {"iterations": 5}, 3)]


def test_the_options_of_families_are_no_bare_names_of_conditions(load):
    # `distance` is an option of retrieval, which every run has.
    with pytest.raises(Exception, match="no run has 'distance'"):
        load("grid: [{objective: whole}]\nexclude: [{distance: euclidean}]\n")


def test_lists_of_families_can_be_an_axis(flats):
    text = "grid: [{objective: whole, evaluation.test: [[retrieval], [{name: retrieval, k: [1, 10]}, density]]}]"
    assert flats(text, "evaluation.test") == [["retrieval"], ["retrieval", "density"]]
    assert [options["k"] for options in flats(text, "evaluation.test.retrieval")] == [[1, 2, 4, 8], [1, 10]]


# What stands in the list `test` of line 9, from column 23 -> column and message.
MISTAKES = {
    "a name": ("clustring", "9:23: metric 'clustring' is not known; did you mean 'clustering'?"),
    "a name in a mapping": ("{name: retrival}", "9:30: metric 'retrival' is not known; did you mean 'retrieval'?"),
    "an option": (
        "{name: retrieval, distanc: cosine}",
        "9:41: metric 'retrieval' has no option 'distanc'; did you mean",
    ),
    "a value": ("{name: retrieval, k: [1, 0]}", "9:48: option 'k' of metric 'retrieval': input should be greater"),
    "a type": ("{name: clustering, iterations: many}", "9:54: option 'iterations' of metric 'clustering': input"),
    "what the family refuses": ("{name: spectrum, modes: [0]}", "9:30: mode 0 of the spectrum is no number"),
    "no name": ("{k: [1]}", "9:23: a family of metrics is a name or a mapping with `name`, not a mapping"),
    "a number": ("7", "9:23: a family of metrics is a name or a mapping with `name`, not 7"),
    "a name that is a number": ("{name: 7}", "9:30: a family of metrics is a name or a mapping with `name`, not 7"),
    "a class": ("'harness.specs:Nothing'", "9:23: metric 'harness.specs:Nothing' cannot be imported"),
    "twice": ("retrieval, {name: retrieval, distance: cosine}", "9:22: metric 'retrieval' is named twice"),
}


@pytest.mark.parametrize(("said", "told"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_with_a_family_is_told_at_its_place(refused, said, told):
    assert f"small.yaml:{told}" in refused(f"{WHOLE}  evaluation: {{test: [{said}]}}\n")


def test_every_wrong_family_and_setting_is_told_at_once(refused):
    told = refused(
        f"{WHOLE}  evaluation: {{test: [densty], train: [{{name: spectrum, mode: 1}}], clustering_every: 0}}\n"
    )
    assert "3 mistakes" in told
    for name in ("'densty'", "'mode'", "evaluation.clustering_every: input should be greater than or equal to 1"):
        assert name in told


def test_families_that_are_no_list_are_refused(refused):
    assert "9:22: evaluation.test: should be a list" in refused(f"{WHOLE}  evaluation: {{test: retrieval}}\n")


def test_without_a_study_bare_names_are_families_as_they_are_built():
    assert Evaluation(test=["density"], train=[]).test == [Choice("density")]
    with pytest.raises(ValueError, match="Choice"):
        Evaluation(test=[{"name": "retrieval", "k": [1]}])
