"""What was chosen: written whole, read back as it was, refused when it is another's."""

import pytest

from harness.errors import StudyError
from harness.store.spool import RunFolder
from harness.training.roles import look_at
from harness.tuning.choices import choose, read_choices, tuned_path, write_choices
from harness.tuning.final import with_choices
from harness.tuning.search import search


@pytest.fixture
def tuned(load, formula, tmp_path):
    """A study that was tuned, its choices, and where they are."""
    study = load()
    choices = choose(study, search(study, tmp_path, formula(tmp_path)))
    return study, choices, write_choices(choices, tmp_path)


def test_choices_are_read_back_as_they_were_written(tuned, tmp_path):
    study, choices, path = tuned
    assert path == tmp_path / "mini" / "tuned.yaml"
    assert read_choices(study, tmp_path) == choices
    assert [entry.name for entry in path.parent.iterdir()] == ["tuned.yaml"], "nothing was left beside it"


def test_the_choice_is_the_trial_of_the_highest_score(tuned):
    for chosen in tuned[1].methods:
        assert chosen.trials == 6
        assert chosen.score >= chosen.default_score
        assert chosen.epoch == 2


def test_each_profile_has_choices_of_its_own(tmp_path):
    assert tuned_path(tmp_path, "mini", "paper") == tmp_path / "mini-paper" / "tuned.yaml"


def test_a_study_that_was_not_tuned_says_what_to_do(load, tmp_path):
    with pytest.raises(StudyError, match=r"was not tuned yet.*run `harness tune`"):
        read_choices(load(), tmp_path)


def test_an_edited_file_is_refused(tuned, tmp_path):
    study, choices, path = tuned
    path.write_text(path.read_text().replace("epoch: 2", "epoch: 3", 1))
    with pytest.raises(StudyError, match=f"was edited: its choices are not those of its digest {choices.digest}"):
        read_choices(study, tmp_path)


@pytest.mark.parametrize("text", ["", "a: b", "- 1", "digest: 0\nmethods: [{}]", "methods: *x"])
def test_a_file_that_is_none_is_refused(tuned, tmp_path, text):
    study, _, path = tuned
    path.write_text(text)
    with pytest.raises(StudyError, match="is no file of choices"):
        read_choices(study, tmp_path)


def test_choices_of_another_section_are_refused(tuned, load, tmp_path):
    with pytest.raises(StudyError, match="another section `tune`"):
        read_choices(load(("trials: 6", "trials: 7")), tmp_path)


def test_choices_of_other_methods_are_refused(tuned, load):
    other = load(("epochs: 3", "epochs: 4"))
    with pytest.raises(StudyError, match="'proxy_nca' as this study has it was not tuned"):
        with_choices(other, tuned[1])


def test_final_runs_have_what_was_chosen_end_after_the_chosen_epoch_and_keep_their_seeds(tuned):
    study, choices, _ = tuned
    finals = with_choices(study, choices).runs()
    assert [spec.seed for spec in finals] == [0, 1] * 3
    for spec, chosen in zip(finals[::2], choices.methods, strict=True):
        assert {name: spec.flat()[name] for name in chosen.values} == chosen.values
        assert spec.training.epochs == chosen.epoch == 2
        assert (spec.tuned.role, spec.evaluation.test) == ("final", [])


def test_with_a_cosine_schedule_final_runs_are_trained_to_the_end(load, formula, tmp_path):
    study = load(("lr: 1e-3}", "lr: 1e-3, schedule: cosine}"))
    choices = choose(study, search(study, tmp_path, formula(tmp_path)))
    assert {spec.training.epochs for spec in with_choices(study, choices).runs()} == {3}


def test_a_final_run_that_was_looked_at_stands_in_the_study_as_that_look(tuned, tmp_path):
    from harness.specs import RunResult

    study, choices, _ = tuned
    finals = with_choices(study, choices).runs()
    look = look_at(finals[0])
    folder = RunFolder(tmp_path, look.run_id)
    folder.write_spec(look)
    folder.publish(RunResult(look.run_id, "done"), folder.take())
    seen = with_choices(study, choices, tmp_path).runs()
    assert [spec.tuned.role for spec in seen] == ["look"] + ["final"] * 5
    assert seen[1:] == finals[1:]


def test_questions_of_blocks_are_asked_of_the_final_runs(load, formula, tmp_path):
    study = load(("- objective: proxy_nca", "- objective: proxy_nca\n    question: Proxies?"))
    choices = choose(study, search(study, tmp_path, formula(tmp_path)))
    finals = with_choices(study, choices)
    assert finals.questions == {"Proxies?": tuple(spec.run_id for spec in finals.runs()[:2])}


def test_a_plan_foresees_the_folds_that_are_missing_and_the_final_runs(load, formula, tmp_path):
    from harness.tuning.foreseen import foreseen

    study = load()
    fresh = foreseen(study, tmp_path).runs()
    assert len(fresh) == len({spec.run_id for spec in fresh}) == 3 * 6 * 3 + 6
    with pytest.raises(KeyboardInterrupt):
        search(study, tmp_path, formula(tmp_path, budget=30))
    assert len(foreseen(study, tmp_path).runs()) == 3 * 3 * 3 + 6
    choices = choose(study, search(study, tmp_path, formula(tmp_path)))
    write_choices(choices, tmp_path)
    assert foreseen(study, tmp_path).runs() == with_choices(study, choices).runs()


def test_the_study_that_comes_with_the_harness_is_as_large_as_promised():
    from collections import Counter
    from pathlib import Path

    from harness.study import Study
    from harness.tuning.foreseen import foreseen

    study = Study.load(Path(__file__).parents[2] / "studies" / "tuned_comparison.yaml")
    roles = Counter(spec.tuned.role for spec in foreseen(study, Path("nowhere")).runs())
    assert roles == {"fold": 7 * 16 * 3, "final": 7 * 5}
