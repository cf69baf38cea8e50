"""Why two databases differ: the planted cause comes first, and what changed everywhere is not blamed."""

import json
import sys
from dataclasses import replace

import pytest
from store_samples import make_result, make_spec, run_it

from harness.cli import main
from harness.errors import StudyError
from harness.specs import Choice
from harness.store.bundle import write_bundle
from harness.store.database import collect, record_study
from harness.store.difference import difference
from harness.store.study_records import keep_study

MADE = {
    "data_digest": "d" * 64,
    "split_digest": "s" * 16,
    "classes": {"train": "t" * 16, "test": "c" * 16},
    "device": "cpu",
    "cpu": "A",
    "threads": 1,
    "commit": "1" * 40,
    "dirty": None,
    "version": "0.1.0",
    "libraries": {"torch": "2.6.0", "numpy": "2.1.0"},
    "python": "3.11.7",
}
WEIGHTS = {"embedding_dim": 64, "weights": "w.npz", "weights_sha256": "a" * 64}


def lab(folder, specs, made=lambda spec: MADE, recall=lambda spec: 0.5, study="fair"):
    """A database of one lab: what it recorded and what it measured, run by run."""
    url = f"sqlite:///{folder}/harness.db"
    for spec in specs:
        run_it(folder, spec, make_result(spec, recall=recall(spec), provenance=made(spec), class_scores=[]))
    record_study(url, study, None, specs)
    collect(url, folder)
    return url


SPECS = [make_spec(seed=seed, miner=miner) for miner in ("semihard", "random") for seed in (0, 1)]


def moved(spec):
    return 0.5 + 0.02 * (spec.miner.name == "random") * (1 + spec.seed)


def only_random(**changes):
    """Other records of those runs whose numbers differ, beside a new machine everywhere."""
    return lambda spec: MADE | {"cpu": "B", "threads": 4} | (changes if spec.miner.name == "random" else {})


@pytest.mark.parametrize(
    ("changes", "cause", "name"),
    [
        ({"data_digest": "e" * 64}, "data", "data_digest"),
        ({"split_digest": "x" * 16}, "classes", "split_digest"),
        ({"classes": {"train": "t" * 16, "test": "x" * 16}}, "classes", "test"),
        ({"libraries": {"torch": "2.7.0", "numpy": "2.1.0"}}, "libraries", "torch"),
        ({"commit": "2" * 40}, "harness", "commit"),
        ({"dirty": "f" * 16}, "harness", "dirty"),
        ({"device": "NVIDIA H200"}, "hardware", "device"),
        ({"weights_digest": "w"}, None, None),
    ],
)
def test_the_fact_that_goes_with_the_numbers_comes_first(tmp_path, changes, cause, name):
    first = lab(tmp_path / "a", SPECS)
    second = lab(tmp_path / "b", SPECS, only_random(**changes), moved)
    found = difference(first, second)
    assert (found.pairs, found.same_id, found.differing, found.unexplained) == (4, 4, 2, [])
    assert found.by == pytest.approx(0.03)
    assert found.at_most == pytest.approx(0.04)
    told = {(reason.cause, reason.name): (reason.differing, reason.equal) for reason in found.reasons}
    assert told["hardware", "cpu"] == told["threads", "threads"] == (2, 2)
    if cause is None:  # what only one place has recorded says nothing
        assert len(told) == 2
        return
    assert (found.reasons[0].cause, found.reasons[0].name) == (cause, name)
    assert told[cause, name] == (2, 0)
    assert found.reasons[0].by == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("change", "cause", "name"),
    [
        (lambda spec: replace(spec, protocol=spec.protocol + 1), "protocol", "protocol"),
        (lambda spec: replace(spec, objective=replace(spec.objective, revision=2)), "part revision", "objective"),
        (lambda spec: replace(spec, objective=Choice("triplet", {"margin": 0.3})), "setting", "objective.margin"),
        (
            lambda spec: replace(spec, backbone=Choice("convnet", {**WEIGHTS, "weights_sha256": "b" * 64})),
            "weights",
            "backbone.weights_sha256",
        ),
    ],
)
def test_runs_of_another_identity_are_paired_by_name_and_seed(tmp_path, change, cause, name):
    specs = [replace(spec, backbone=Choice("convnet", WEIGHTS)) for spec in SPECS]
    first = lab(tmp_path / "a", specs)
    second = lab(tmp_path / "b", list(map(change, specs)), recall=lambda spec: 0.6)
    found = difference(first, second)
    assert (found.pairs, found.same_id, found.differing) == (4, 0, 4)
    assert [(reason.cause, reason.name, reason.differing) for reason in found.reasons] == [(cause, name, 4)]


def test_where_several_facts_go_with_the_numbers_the_graver_kind_comes_first(tmp_path):
    first = lab(tmp_path / "a", SPECS)
    both = only_random(libraries={"torch": "2.7.0", "numpy": "2.1.0"}, data_digest="e" * 64)
    found = difference(first, lab(tmp_path / "b", SPECS, both, moved))
    assert [reason.cause for reason in found.reasons] == ["data", "libraries", "hardware", "threads"]


def test_runs_without_a_counterpart_and_numbers_without_a_reason_are_told(tmp_path):
    first = lab(tmp_path / "a", SPECS[:3])
    second = lab(tmp_path / "b", [*SPECS[1:], make_spec(objective="margin")], recall=moved)
    found = difference(first, second)
    assert (found.pairs, found.only_first, found.only_second) == (2, 1, 2)
    assert found.unexplained == [SPECS[2].run_id]
    assert found.reasons == []


def test_equal_databases_have_no_difference_and_a_bundle_is_as_good_as_a_database(tmp_path):
    first = lab(tmp_path / "a", SPECS)
    keep_study(first, tmp_path / "a", "fair", None)
    write_bundle(first, tmp_path / "a", "fair", None, tmp_path / "fair.tar.gz")
    for other in (first, tmp_path / "a", tmp_path / "fair.tar.gz"):
        found = difference(first, other, "fair")
        assert (found.pairs, found.same_id, found.differing, found.reasons) == (4, 4, 0, [])


def test_classes_are_compared_by_their_names_where_no_digest_was_recorded(tmp_path):
    urls = []
    for name in "ab":
        spec = make_spec()
        result = make_result(spec, recall=0.5 if name == "a" else 0.6, provenance={})
        scores = [replace(result.class_scores[0], scores={f"class {name}": 0.5})]
        run_it(tmp_path / name, spec, replace(result, class_scores=scores))
        urls.append(f"sqlite:///{tmp_path}/{name}.db")
        collect(urls[-1], tmp_path / name)
    (reason,) = difference(*urls).reasons
    assert (reason.cause, reason.name) == ("classes", "names of test")


def test_only_one_study_is_compared_and_an_unknown_one_is_told(tmp_path):
    first = lab(tmp_path / "a", SPECS)
    lab(tmp_path / "a", [make_spec(seed=7)], study="other")
    assert difference(first, first, "other").pairs == 1
    with pytest.raises(StudyError, match="did you mean 'other'"):
        difference(first, first, "othr")


def test_the_command_says_it_in_lines_and_as_json(tmp_path, monkeypatch, capsys):
    def harness(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
        return capsys.readouterr().out

    lab(tmp_path / "a", SPECS)
    lab(tmp_path / "b", SPECS, only_random(data_digest="e" * 64), moved)
    paths = tmp_path / "a" / "harness.db", tmp_path / "b" / "harness.db"
    lines = harness("db", "diff", *paths).splitlines()
    assert lines[2:6] == [
        "4 runs are in both, 4 of them with the same identity",
        "The numbers of 2 differ, recall_at_1 by 3.00 points on average, at most 4.00 points.",
        "What is different on record, most explaining first:",
        "  data (the images and labels): 2 of 2 that differ, 0 of 2 that do not",
    ]
    assert lines[6] == f"    data_digest: {'d' * 16}... -> {'e' * 16}..."
    told = json.loads(harness("db", "diff", *paths, "--json"))
    assert told["reasons"][0]["values"] == [{"first": "d" * 64, "second": "e" * 64}]
    assert "All numbers are equal." in harness("db", "diff", paths[0], paths[0])
