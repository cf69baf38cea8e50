"""From the grid to runs: axes, blocks, zip, conditions, seeds."""

import time

import pytest

from harness.specs import RunSpec


def test_a_study_without_a_grid_is_its_run(flats):
    assert flats("  objective: whole", "objective", "seed") == [("whole", 0)]


def test_seeds_are_a_number_or_a_list(flats):
    assert flats("  objective: whole\nseeds: 3", "seed") == [0, 1, 2]
    assert flats("  objective: whole\nseeds: [7, 3]", "seed") == [7, 3]


def test_a_list_is_an_axis_and_axes_multiply(flats):
    text = "grid: [{objective: pull, miner: [anyone, nearby], training.epochs: [10, 20]}]"
    assert flats(text, "miner", "training.epochs") == [
        ("anyone", 10),
        ("anyone", 20),
        ("nearby", 10),
        ("nearby", 20),
    ]


def test_a_list_is_an_axis_at_any_depth(flats):
    text = """
    grid:
      - objective: [whole, {name: anchors, scale: [1, 2]}]
        optimizer: {lr: [0.1, 0.2], name: sgd}
    """
    found = flats(text, "objective", "objective.scale", "optimizer.lr")
    assert found == [
        (name, scale, lr) for name, scale in [("whole", None), ("anchors", 1), ("anchors", 2)] for lr in (0.1, 0.2)
    ]


def test_a_value_that_is_a_list_is_nested_once_more(flats):
    text = "grid: [{objective: whole, optimizer.milestones: [[30, 60], []], evaluation: {test: [[retrieval]]}}]"
    assert flats(text, "optimizer.milestones", "evaluation.test") == [
        ([30, 60], ["retrieval"]),
        ([], ["retrieval"]),
    ]


def test_a_list_in_run_is_a_plain_value(flats):
    assert flats("  objective: whole\n  optimizer: {milestones: [30, 60]}", "optimizer.milestones") == [[30, 60]]


def test_run_understands_dotted_paths(flats):
    assert flats("  objective: whole\n  objective.margin: 0.3\n  training.epochs: 4", "objective.margin") == [0.3]


def test_blocks_are_united_and_equal_runs_kept_once(flats):
    text = """
    seeds: 2
    grid:
      - objective: [whole, anchors]
      - objective: {name: whole, margin: [0.1, 0.5]}
    """
    # The default margin of `whole` is 0.1: written out or not, it is the same run.
    assert flats(text, "objective", "objective.margin", "seed") == [
        ("whole", 0.1, 0),
        ("whole", 0.1, 1),
        ("anchors", None, 0),
        ("anchors", None, 1),
        ("whole", 0.5, 0),
        ("whole", 0.5, 1),
    ]


def test_a_part_of_the_same_name_keeps_the_options_of_run(flats):
    text = "  objective: {name: pull, margin: 0.7}\n  miner: anyone\ngrid: [{objective: {name: pull, beta: [1, 2]}}]"
    assert flats(text, "objective.margin", "objective.beta") == [(0.7, 1), (0.7, 2)]


def test_a_part_without_a_name_adds_options_to_that_of_run(flats):
    text = "  objective: {name: pull, margin: 0.7}\n  miner: anyone\ngrid: [{objective: {beta: [1, 2]}}]"
    assert flats(text, "objective", "objective.margin", "objective.beta") == [("pull", 0.7, 1), ("pull", 0.7, 2)]


def test_a_part_of_another_name_starts_afresh(flats):
    text = "  objective: {name: pull, margin: 0.7}\ngrid: [{objective: whole}]"
    assert flats(text, "objective", "objective.margin") == [("whole", 0.1)]


@pytest.mark.parametrize("none", ["none", "null", "{name: none}", ""])
def test_none_means_no_part(load, none):
    block = f"grid:\n  - objective: whole\n    miner: {none}\n    regularizer: {none}"
    text = f"  miner: anyone\n  regularizer: spread\n{block}"
    [run] = load(text).runs()
    assert run.miner is None
    assert run.regularizer is None


def test_axes_multiply_every_block(flats):
    text = "axes: {training.epochs: [1, 2]}\ngrid: [{objective: whole}, {objective: anchors}]"
    assert flats(text, "objective", "training.epochs") == [("whole", 1), ("whole", 2), ("anchors", 1), ("anchors", 2)]


def test_zip_pairs_lists(flats):
    text = (
        "grid: [{objective: whole, zip: {objective.margin: [1, 2], training.epochs: [10, 20]}, optimizer.lr: [3, 4]}]"
    )
    assert sorted(flats(text, "objective.margin", "training.epochs", "optimizer.lr")) == [
        (1, 10, 3),
        (1, 10, 4),
        (2, 20, 3),
        (2, 20, 4),
    ]


def test_zip_pairs_in_axes_and_several_zips_multiply(flats):
    text = """
    axes:
      zip:
        - {dataset: [dots, {name: box, file: x}], training.epochs: [1, 2]}
        - {optimizer.lr: [3, 4], optimizer.weight_decay: [5, 6]}
    grid: [{objective: whole}]
    """
    assert flats(text, "dataset", "training.epochs", "optimizer.lr", "optimizer.weight_decay") == [
        ("dots", 1, 3, 5),
        ("dots", 1, 4, 6),
        ("box", 2, 3, 5),
        ("box", 2, 4, 6),
    ]


WHEN = "grid: [{{objective: [whole, {{name: anchors, scale: [1, 2]}}], training.epochs: [1, 2], when: {}}}]"


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("{objective: whole}", [("whole", None, 1), ("whole", None, 2)]),
        ("{objective: anchors, scale: 2}", [("anchors", 2, 1), ("anchors", 2, 2)]),
        ("{objective: {name: anchors, scale: 2}, training.epochs: 1}", [("anchors", 2, 1)]),
        ("{objective.scale: [1, 2], epochs: 2}", [("anchors", 1, 2), ("anchors", 2, 2)]),
        ("{training: {epochs: 1}, objective: [whole, pull]}", [("whole", None, 1)]),
        ("{scale: 1, miner: none, training.epochs: 2}", [("anchors", 1, 2)]),
    ],
)
def test_when_keeps_what_matches(flats, condition, kept):
    found = flats(WHEN.format(condition), "objective", "objective.scale", "training.epochs")
    assert found == kept


def test_exclude_removes_what_matches(flats):
    text = """
    seeds: 3
    grid: [{objective: pull, objective.beta: [0.6, 1.2], miner: anyone, regularizer: [none, spread]}]
    exclude: [{objective: pull, beta: 0.6, regularizer: spread}, {seed: [1, 2], regularizer: none}]
    """
    assert flats(text, "objective.beta", "regularizer", "seed") == [
        (0.6, "none", 0),
        (1.2, "none", 0),
        (1.2, "spread", 0),
        (1.2, "spread", 1),
        (1.2, "spread", 2),
    ]


def test_exclude_may_remove_what_does_not_go_together(flats):
    text = "grid: [{objective: [pull, whole], miner: [none, anyone]}]\nexclude: EXCLUDED"
    excluded = "[{objective: pull, miner: none}, {objective: whole, miner: anyone}]"
    assert flats(text.replace("EXCLUDED", excluded), "objective", "miner") == [("pull", "anyone"), ("whole", "none")]


def test_true_is_not_one(refused):
    text = "grid: [{objective: whole, training.epochs: [1, 2]}]\nexclude: [{training.epochs: true}]"
    assert "no run has training.epochs True" in refused(text)


def test_the_sampler_is_class_balanced_unless_said(load):
    head = "schema: 1\nname: small\nrun: {dataset: dots, backbone: tiny, objective: whole}\n"
    [run] = load("", head=head).runs()
    assert run.sampler.name == "class_balanced"
    assert run.sampler.options["samples_per_class"] == 2


def test_a_part_of_somebody_else_is_named_by_import_path(flats, tmp_path, monkeypatch):
    (tmp_path / "my_lab_losses.py").write_text("class Better:\n    def __init__(self, *, sharpness: int = 3): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = "grid: [{objective: {name: 'my_lab_losses:Better', sharpness: [1, 2]}}]"
    assert flats(text, "objective", "objective.sharpness") == [("my_lab_losses:Better", 1), ("my_lab_losses:Better", 2)]


def test_a_run_is_the_same_whatever_the_study_is_called_and_wherever_it_lies(load):
    [first] = load("  objective: whole").runs()
    [second] = load("  objective: whole\nseeds: [0]").runs()
    [third] = load(
        "", head="schema: 1\nname: b\nrun: {objective: whole, sampler: pairs, backbone: tiny, dataset: dots}"
    ).runs()
    assert first.run_id == second.run_id == third.run_id
    assert RunSpec.from_dict(first.to_dict()) == first


def test_ten_thousand_runs_are_read_in_seconds(load):
    many = [round(0.01 * i, 2) for i in range(1, 101)]
    text = (
        f"grid: [{{objective: {{name: pull, margin: {many}, beta: {many}}}, miner: anyone, when: {{objective: pull}}}}]"
    )
    load("  objective: whole")
    begin = time.monotonic()
    assert len(load(text).runs()) == 10_000
    assert time.monotonic() - begin < 15  # takes about 2 s on an idle core; the limit allows for a busy one


QUESTIONS = """
    seeds: 2
    grid:
      - {objective: whole, question: "Is the  whole\\n any good?", training.epochs: [1, 2]}
      - {objective: anchors}
      - {objective: whole, question: Why again?}
      - {objective: whole, training.epochs: 2, question: Why again?}
    """


def test_the_question_of_a_block_is_kept_with_its_runs_for_the_report(load):
    loaded = load(QUESTIONS)
    blocks = loaded.about()["blocks"]
    assert [block["question"] for block in blocks] == ["Is the whole any good?", "Why again?"]
    ids = {(run.objective.name, run.training.epochs, run.seed): run.run_id for run in loaded.runs()}
    assert blocks[0]["runs"] == [ids["whole", epochs, seed] for epochs in (1, 2) for seed in (0, 1)]
    longest = max(epochs for _, epochs, _ in ids)
    assert blocks[1]["runs"] == [ids["whole", epochs, seed] for epochs in (longest, 2) for seed in (0, 1)]


def test_a_part_of_a_study_knows_the_questions_of_all_of_it(load):
    part = load(QUESTIONS, only={"seed": 1})
    assert len(part.runs()) == 4
    assert part.about() == load(QUESTIONS).about()
