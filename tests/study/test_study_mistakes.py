"""Every mistake of a study, at once, each at its place and with what would be right."""

import re
import subprocess
import sys
import time

import pytest

from harness.errors import StudyError

MANY = """
  training: {epochs: ten, batch_size: 112}
  optimiser: {lr: 1}
seeds: [1, 1]
grid:
  - objective: [whole, {name: pull, bta: [0.6, 1.2]}]
    miner: nerby
  - objective: pull
  - objective: anchors
    regularizer: spread
repotr: {selection: last}
"""


def test_all_mistakes_are_told_at_once_with_line_and_caret(refused):
    told = re.sub(r"\(known: .*\)", "(known: MINERS)", refused(MANY))
    assert (
        told
        == """\
small.yaml: 8 mistakes
small.yaml:9:22: training.epochs: input should be a valid integer, not 'ten'
      training: {epochs: ten, batch_size: 112}
                         ^^^
small.yaml:10:3: 'optimiser' is not a section of a run; did you mean 'optimizer'?
      optimiser: {lr: 1}
      ^^^^^^^^^
small.yaml:11:8: a seed is given twice: 1
    seeds: [1, 1]
           ^^^^^^
small.yaml:13:37: objective 'pull' has no option 'bta'; did you mean 'beta'?
      - objective: [whole, {name: pull, bta: [0.6, 1.2]}]
                                        ^^^
small.yaml:14:12: miner 'nerby' is not known; did you mean 'nearby'?
        miner: nerby
               ^^^^^
small.yaml:15:16: objective 'pull' takes triplets and needs a miner (known: MINERS)
      - objective: pull
                   ^^^^
small.yaml:17:18: regularizer 'spread' needs tuples, which objective 'anchors' does not have
        regularizer: spread
                     ^^^^^^
small.yaml:18:1: a study has no key 'repotr'; did you mean 'report'?
    repotr: {selection: last}
    ^^^^^^"""
    )


def test_pairs_are_told_beside_other_mistakes(refused):
    text = "grid: [{objective: pull}, {objective: anchors, regularizer: spread}, {objective: whole, optimizer.lr: x}]"
    message = refused(text)
    assert "3 mistakes" in message
    assert "small.yaml:8:20: objective 'pull' takes triplets and needs a miner (known: " in message
    assert "small.yaml:8:61: regularizer 'spread' needs tuples, which objective 'anchors' does not have" in message


# What is wrong -> (what follows `HEAD`, which has seven lines; line:column and message).
ONE_MISTAKE = {
    "a misspelt key": ("  objective: whole\ngrd: []\n", "9:1: a study has no key 'grd'; did you mean 'grid'?"),
    "tuning": ("  objective: whole\nharmony: {}\n", "9:1: a study has no key 'harmony'; known: axes,"),
    "a misspelt section": ("grid: [{objektive: whole}]", "8:9: 'objektive' is not a section of a run; did you mean"),
    "a misspelt dotted section": ("grid: [{objective: whole, trainig.epochs: 3}]", "8:27: 'trainig.epochs' is not a"),
    "an empty step": ("grid: [{objective: whole, training.: 3}]", "8:27: 'training.' has an empty step"),
    "seeds in a block": (
        "grid: [{objective: whole, seeds: 3}]",
        "8:27: 'seeds' is not a section of a run; seeds stand",
    ),
    "a question that is no text": (
        "grid: [{objective: whole, question: 5}]",
        "8:37: the question of a block is a text, not 5",
    ),
    "a misspelt question": ("grid: [{objective: whole, qestion: a}]", "8:27: 'qestion' is not a section of a run; did"),
    "a grid that is no list": ("  objective: whole\ngrid: {objective: whole}", "9:7: grid: should be a list"),
    "a block that is no mapping": ("grid: [{objective: whole}, whole]", "8:28: grid: should be a mapping, not 'whole'"),
    "an empty grid": ("  objective: whole\ngrid: []", "the grid expands to no runs"),
    "an empty axis": ("grid: [{objective: whole, training.epochs: []}]", "8:44: an axis without values leaves no runs"),
    "an empty axis in a part": ("grid: [{objective: [{name: whole, margin: []}]}]", "8:43: an axis without values"),
    # parts
    "an unknown part": ("  objective: whol", "8:14: objective 'whol' is not known; did you mean 'whole'?"),
    "a part that is a number": ("  objective: 5", "8:14: objective is a name or a mapping with `name`, not 5"),
    "a name that is a list": ("  objective: {name: [whole]}", "8:21: objective is a name or a mapping with `name`"),
    "a list of parts in run": ("  objective: [whole, pull]", "8:14: in `run` a list is never an axis"),
    "an unknown option": ("  objective: {name: whole, magin: 1}", "8:28: objective 'whole' has no option 'magin'; did"),
    "an option of a part without any": (
        "  objective: pull\n  miner: {name: anyone, hard: 1}",
        "9:25: miner 'anyone' has no option 'hard'; it has no options",
    ),
    "an option of the wrong type": (
        "  objective: {name: whole, margin: big}",
        "8:36: option 'margin' of objective 'whole'",
    ),
    "a wrong element": (
        "  objective: {name: pull, steps: [1, x]}\n  miner: anyone",
        "8:38: option 'steps' of objective",
    ),
    "an option that is missing": (
        "grid: [{objective: whole, dataset: box}]",
        "8:36: dataset 'box' needs the option 'file'",
    ),
    "an option of no part": ("  objective: whole\n  miner.temperature: 3", "9:3: this miner has options but no `name`"),
    "options of none": (
        "  objective: whole\n  regularizer: {name: none, probability: 1}",
        "9:29: these runs have no regularizer, so it has no options",
    ),
    "no objective": ("seeds: 1", "4:1: these runs have no objective"),
    "none for what is needed": ("  objective: none", "8:14: a run needs a objective"),
    "a class that is not there": (
        "  objective: 'harness.specs:Nothing'",
        "8:14: objective 'harness.specs:Nothing' cannot be imported",
    ),
    # settings
    "an unknown setting": ("  objective: whole\n  training: {epohs: 3}", "9:14: training has no setting 'epohs'; did"),
    "a setting out of range": ("  objective: whole\n  training: {epochs: 0}", "9:22: training.epochs: input should be"),
    "a near choice": ("  objective: whole\n  optimizer: {name: adm}", "not 'adm'; did you mean 'adam'?"),
    "true for a number": ("  objective: whole\n  training: {epochs: true}", "9:22: training.epochs: input should be"),
    "settings that are no mapping": (
        "  objective: whole\n  training: 5",
        "9:13: training is a mapping of settings, not 5",
    ),
    "a list that is an axis": (
        "grid: [{objective: whole, optimizer.milestones: [30]}]",
        "8:50: optimizer.milestones: should be a list, [30] or in a block of the grid [[30]], not 30",
    ),
    "a metric family": (
        "  objective: whole\n  evaluation: {test: [retrieval, clustring]}",
        "9:34: metric 'clustring' is not known; did you mean 'clustering'?",
    ),
    "a part of run that every block replaces": (
        "  objective: {name: pull, bta: 1}\ngrid: [{objective: whole}]",
        "8:27: objective 'pull' has no option 'bta'",
    ),
    # pairs
    "triplets without a miner": (
        "  objective: pull",
        "8:14: objective 'pull' takes triplets and needs a miner (known: ",
    ),
    "a miner without use": (
        "grid: [{objective: [pull, whole], miner: anyone}]",
        "8:42: objective 'whole' takes the whole batch and has no use for miner 'anyone'; give it a block of its own",
    ),
    "a regularizer without tuples": (
        "  objective: anchors\n  regularizer: spread",
        "9:16: regularizer 'spread' needs tuples, which objective 'anchors' does not have",
    ),
    "a regularizer without proxies": (
        "  objective: whole\n  regularizer: {name: proxy_spread, strength: 1}",
        "9:23: regularizer 'proxy_spread' needs proxies, which objective 'whole' does not have",
    ),
    "a batch that cannot be divided": (
        "  objective: whole\n  training: {batch_size: 7}",
        "9:26: a batch of 7 cannot hold 2 samples of each class; 6 or 8 could",
    ),
    "samples that do not divide the batch": (
        "grid: [{objective: whole, sampler.samples_per_class: [2, 3]}]",
        "8:58: a batch of 112 cannot hold 3 samples of each class; 111 or 114 could",
    ),
    # the same thing twice
    "an axis twice in a block": (
        "grid: [{objective: whole, training: {epochs: [1, 2]}, training.epochs: 3}]",
        "8:27: 'training.epochs' is also set in line 8; keep one",
    ),
    "an axis twice, once for all": (
        "axes: {objective.margin: [1, 2]}\ngrid: [{objective: {name: whole, margin: 1}}]",
        "9:9: 'objective.margin' is also set in line 8; keep one",
    ),
    # zip
    "a zip of different lengths": (
        "grid: [{objective: whole, zip: {training.epochs: [1], objective.margin: [1, 2]}}]",
        "8:27: `zip` pairs lists of the same length: training.epochs has 1, objective.margin has 2",
    ),
    "a zip of one value": (
        "grid: [{objective: whole, zip: {training.epochs: 1}}]",
        "8:50: `zip` pairs lists; 'training",
    ),
    "a zip that is text": ("grid: [{objective: whole, zip: x}]", "8:32: `zip` is a mapping of paths to lists"),
    # conditions
    "when in axes": ("axes: {when: {objective: whole}}\ngrid: [{objective: whole}]", "8:8: 'when' is not a section"),
    "a condition that is text": ("grid: [{objective: whole, when: whole}]", "8:33: a condition is a mapping such as"),
    "an option that no run has": (
        "grid: [{objective: whole}]\nexclude: [{margn: 1}]",
        "9:12: no run has 'margn'; did you mean 'margin'?",
    ),
    "an option of another part": (
        "grid: [{objective: whole, when: {objective.scale: 3}}]",
        "8:34: no run has 'objective.scale'",
    ),
    "a value that no run has": (
        "grid: [{objective: [whole, anchors], when: {objective: whloe}}]",
        "8:56: no run has objective whloe; did you mean 'whole'?",
    ),
    "an exclusion of nothing": (
        "grid: [{objective: [whole, anchors]}]\nexclude: [{objective: whole, scale: 3.0}]",
        "9:11: this excludes none of the 2 runs: none has all of it at once",
    ),
    "an exclusion of everything": ("grid: [{objective: whole}]\nexclude: [{objective: whole}]", "expands to no runs"),
    # the head of the file
    "seeds of nothing": ("  objective: whole\nseeds: 0", "9:8: a study needs at least one seed, not 0"),
    "very many seeds": (
        "  objective: whole\nseeds: 1000000000000",
        "9:8: a study has at most 100,000 seeds, not 1,000,",
    ),
    "seeds as text": ("  objective: whole\nseeds: three", "9:8: seeds is how many there are (3) or which ones"),
    "seeds in part": ("  objective: whole\nseeds: [1, 2.5]", "9:8: a seed is a whole number from 0, not 2.5"),
    "negative seeds": ("  objective: whole\nseeds: [-1]", "9:8: a seed is a whole number from 0, not -1"),
    "no seeds": ("  objective: whole\nseeds: []", "9:8: a study needs at least one seed; this list is empty"),
    "an unknown analysis": ("  objective: whole\nreport: {analyses: [densty]}", "9:21: analysis 'densty' is not known"),
    "an unknown selection": (
        "  objective: whole\nreport: {selection: first}",
        "9:21: report.selection: input should be",
    ),
    "a profile with an unknown key": (
        "  objective: whole\nprofiles: {p: {sedes: 3}}",
        "has no key 'sedes'; did you mean",
    ),
    "a profile that is a number": (
        "  objective: whole\nprofiles: {p: 3}",
        "9:15: profiles.p: should be a mapping, not 3",
    ),
}


@pytest.mark.parametrize("case", ONE_MISTAKE)
def test_one_mistake_is_one_message_at_its_place(refused, case):
    text, message = ONE_MISTAKE[case]
    told = refused(text)
    assert told.startswith("small.yaml: 1 mistake\nsmall.yaml:")
    assert message in told


def test_the_same_mistake_in_many_combinations_is_told_once(refused):
    text = "grid: [{objective: {name: pull, beta: [1, 2, 3]}, training.epochs: [1, 2, 3]}, {objective: pull}]"
    assert "small.yaml: 2 mistakes" in refused(text)


def test_a_missing_head_is_told_key_by_key(load):
    with pytest.raises(StudyError) as caught:
        load("", head="question: What?\nrun: {dataset: dots, backbone: tiny, sampler: pairs, objective: whole}\n")
    assert "2 mistakes" in str(caught.value)
    assert "small.yaml:1:1: a study needs the key 'schema', as in `schema: 1`" in str(caught.value)
    assert "small.yaml:1:1: a study needs the key 'name', as in `name: ...`" in str(caught.value)


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "''", "runs", "cache", "x" * 101, "-a", "12", "a."])
def test_a_name_must_be_fit_for_a_folder(load, head, name):
    with pytest.raises(StudyError, match=r"^small.yaml: 1 mistake\nsmall.yaml:2:7: "):
        load("  objective: whole", head=head.replace("name: small", f"name: {name}"))


def test_another_schema_is_refused(load, head):
    with pytest.raises(StudyError, match=r"small.yaml:1:9: this version of the harness reads `schema: 1`, not 2"):
        load("  objective: whole", head=head.replace("schema: 1", "schema: 2"))


def test_a_grid_of_too_many_runs_is_refused_before_it_is_made(refused):
    thousand = list(range(1, 1001))
    axes = f"objective: {{name: pull, margin: {thousand}, beta: {thousand}}}, optimizer.lr: {thousand}"
    begin = time.monotonic()
    told = refused(f"seeds: 100000\ngrid: [{{miner: anyone, {axes}}}]")
    assert "the grid has 100,000,000,000,000 runs; a study has at most 20,000" in told
    assert time.monotonic() - begin < 5


def test_exactly_as_many_runs_as_allowed_are_not_refused(load, monkeypatch):
    monkeypatch.setattr("harness.study.study.MAX_RUNS", 6)
    assert len(load("grid: [{objective: whole, training.epochs: [1, 2, 3]}]\nseeds: 2").runs()) == 6
    with pytest.raises(StudyError, match="8 runs"):
        load("grid: [{objective: whole, training.epochs: [1, 2, 3, 4]}]\nseeds: 2")


def test_a_part_that_breaks_when_it_is_imported_is_a_mistake(refused, tmp_path, monkeypatch):
    (tmp_path / "broken_lab.py").write_text("raise RuntimeError('no license')\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = refused("  objective: 'broken_lab:Loss'")
    assert "objective 'broken_lab:Loss' cannot be used: RuntimeError: no license" in told


def test_long_lines_are_shown_around_the_mistake(refused):
    told = refused(f"grid: [{{training.epochs: {list(range(1, 200))}, objective: whol}}]")
    *_, line, caret = told.splitlines()
    assert len(line) < 200
    assert line[caret.index("^") : caret.rindex("^") + 1] == "whol"


def test_very_many_mistakes_are_counted_but_not_all_shown(refused):
    told = refused("grid:\n" + "".join(f"  - objective: wrong{i}\n" for i in range(80)))
    assert told.startswith("small.yaml: 80 mistakes\n")
    assert told.endswith("... and 30 more")


def test_reading_a_study_module_does_not_import_torch():
    code = "import sys, harness.study; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
