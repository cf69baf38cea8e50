"""The search: equal budgets, the same trials whatever happens, and choices from folds alone."""

import pytest

from harness.errors import StoreError, StudyError
from harness.specs import RunResult
from harness.store.spool import RunFolder
from harness.training.roles import sealed
from harness.tuning.choices import choose
from harness.tuning.folds import fold_runs, judge
from harness.tuning.search import search


def shown(methods):
    return [(method.label, method.trials) for method in methods]


def test_every_method_gets_the_same_number_of_trials_the_first_with_its_defaults(load, formula, tmp_path):
    methods = search(load(), tmp_path, formula(tmp_path))
    assert [len(method.trials) for method in methods] == [6, 6, 6]
    assert [trial.number for trial in methods[0].trials] == list(range(6))
    assert methods[0].trials[0].values == {"optimizer.lr": 1e-3}
    assert methods[1].trials[0].values == {"optimizer.lr": 1e-3, "objective.margin": 0.2}


def test_a_trial_is_its_folds_which_are_ordinary_runs_that_are_trained_once(load, formula, tmp_path):
    study, train = load(), formula(tmp_path)
    methods = search(study, tmp_path, train)
    runs = {run for method in methods for trial in method.trials for run in trial.runs}
    assert all(len(trial.runs) == 3 for method in methods for trial in method.trials)
    assert set(train.trained) == runs
    again = formula(tmp_path)
    assert shown(search(study, tmp_path, again)) == shown(methods)
    assert again.trained == []


def test_batches_have_a_fixed_size_and_hold_the_trials_of_all_methods(load, formula, tmp_path):
    train = formula(tmp_path)
    search(load(("batch: 3", "batch: 4")), tmp_path, train)
    assert [len(asked) for asked in train.asked] == [3 * 4 * 3, 3 * 2 * 3]


@pytest.mark.parametrize("budget", [0, 1, 17, 27, 28, 53])
def test_killed_after_any_number_of_runs_it_ends_with_the_same_trials_and_choices(load, formula, tmp_path, budget):
    study = load()
    undisturbed = search(study, tmp_path / "undisturbed", formula(tmp_path / "undisturbed"))
    killed = formula(tmp_path / "killed", budget=budget)
    with pytest.raises(KeyboardInterrupt):
        search(study, tmp_path / "killed", killed)
    assert len(killed.trained) == budget
    gone_on = search(study, tmp_path / "killed", formula(tmp_path / "killed"))
    assert shown(gone_on) == shown(undisturbed)
    assert choose(study, gone_on) == choose(study, undisturbed)


def test_the_order_in_which_workers_finish_decides_nothing(load, formula, tmp_path):
    study = load()
    forward = search(study, tmp_path / "forward", formula(tmp_path / "forward"))
    backward = search(study, tmp_path / "backward", formula(tmp_path / "backward", order=lambda specs: specs[::-1]))
    assert shown(forward) == shown(backward)


def test_another_seed_proposes_other_trials_on_other_folds_but_the_same_defaults(load, formula, tmp_path):
    one = search(load(), tmp_path, formula(tmp_path))
    other = search(load(("folds: 3", "folds: 3\n  seed: 1")), tmp_path, formula(tmp_path))
    assert one[0].trials[0].values == other[0].trials[0].values
    assert [trial.values for trial in one[0].trials[1:]] != [trial.values for trial in other[0].trials[1:]]
    assert one[0].trials[0].runs != other[0].trials[0].runs


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "cmaes"])
def test_every_sampler_stays_in_the_space_and_tries_something_else_each_time(load, formula, tmp_path, sampler):
    study = load(
        ("folds: 3", f"folds: 2\n  sampler: {sampler}"),
        ("trials: 6", "trials: 8"),
        ("{log: [1e-4, 1e-2]}", "{log: [1e-4, 1e-2], points: 8}"),
    )
    methods = search(study, tmp_path, formula(tmp_path))
    for method in methods[1:]:
        tried = [tuple(trial.values.values()) for trial in method.trials]
        assert len(set(tried)) == 8
        assert all(1e-4 <= rate <= 1e-2 and 0.05 <= margin <= 0.5 for rate, margin in tried)


def test_a_grid_tries_points_of_the_grid(load, formula, tmp_path):
    study = load(
        ("folds: 3", "folds: 2\n  sampler: grid"),
        ("{log: [1e-4, 1e-2]}", "{log: [1e-3, 1e-2], points: 2}"),
        ("{uniform: [0.05, 0.5]}", "{choice: [0.1, 0.2, 0.4]}"),
        ("- objective: proxy_nca\n  ", ""),
    )
    tried = {tuple(trial.values.values()) for trial in search(study, tmp_path, formula(tmp_path))[0].trials}
    assert tried == {(rate, margin) for rate in (1e-3, 1e-2) for margin in (0.1, 0.2, 0.4)}


def test_what_was_told_decides_what_is_proposed_next(load, formula, tmp_path):
    study = load(("trials: 6", "trials: 9"))
    plain = search(study, tmp_path / "plain", formula(tmp_path / "plain"))
    fails = formula(tmp_path / "fails", fails=lambda spec: spec.optimizer.lr > 1.1e-3)
    other = search(study, tmp_path / "fails", fails)
    assert plain[0].trials[:3] != plain[0].trials[3:6]
    assert [trial.values for trial in plain[0].trials[:6]] == [trial.values for trial in other[0].trials[:6]]
    assert [trial.values for trial in plain[0].trials[6:]] != [trial.values for trial in other[0].trials[6:]]


def test_a_failed_trial_counts_with_its_cause_and_is_never_chosen(load, formula, tmp_path):
    train = formula(tmp_path, fails=lambda spec: spec.optimizer.lr == 1e-3 and spec.tuned.fold == 1)
    methods = search(load(), tmp_path, train)
    assert all(len(method.trials) == 6 for method in methods)
    assert all((method.trials[0].state, method.trials[0].cause) == ("failed", "diverged") for method in methods)
    assert all(method.trials[0].score is None and method.best.number != 0 for method in methods)


def test_a_method_whose_trials_all_fail_has_no_choice_and_no_final_runs(load, formula, tmp_path):
    from harness.tuning.final import with_choices

    study = load()
    methods = search(study, tmp_path, formula(tmp_path, fails=lambda spec: spec.objective.name == "proxy_nca"))
    choices = choose(study, methods)
    assert [chosen.trial is None for chosen in choices.methods] == [True, False, False]
    assert {spec.objective.name for spec in with_choices(study, choices).runs()} == {"triplet"}


def test_the_pruner_spares_the_later_folds_of_trials_below_the_median_and_counts_them(load, formula, tmp_path):
    study = load(("folds: 3", "folds: 3\n  pruner: median"), ("trials: 6", "trials: 14"))
    methods = search(study, tmp_path, formula(tmp_path))
    states = [trial.state for trial in methods[0].trials]
    assert len(states) == 14
    assert set(states) == {"complete", "pruned"}
    assert set(states[:5]) == {"complete"}, "nothing is pruned before there are trials to compare with"
    for trial in methods[0].trials:
        assert len(trial.runs) == 3 if trial.state == "complete" else len(trial.runs) < 3
        assert trial.score is not None
    assert methods[0].best.state == "complete"


def test_score_and_epoch_are_those_of_the_highest_mean_over_folds(load, formula, tmp_path):
    best = search(load(), tmp_path, formula(tmp_path))[1].trials[0]
    curves = [RunFolder(tmp_path, run).read_result().curves[0].values for run in best.runs]
    means = [sum(values) / 3 for values in zip(*curves, strict=True)]
    assert best.score == pytest.approx(max(means))
    assert best.epoch == 2 == means.index(max(means)) + 1


def test_with_a_cosine_schedule_the_last_epoch_counts(load, formula, tmp_path):
    study = load(("lr: 1e-3}", "lr: 1e-3, schedule: cosine}"))
    assert {trial.epoch for trial in search(study, tmp_path, formula(tmp_path))[0].trials} == {3}


def test_the_first_of_equal_epochs_is_chosen_and_folds_without_a_number_give_none():
    from harness.specs import Curve

    def folds(*values):
        return [RunResult("0" * 16, "done", curves=[Curve("validation", "map_at_r", [1, 2], list(v))]) for v in values]

    assert judge("map_at_r", folds((0.5, 0.7), (0.7, 0.5)), epoch_by_choice=True).epoch == 1
    assert judge("map_at_r", folds((None, 0.7), (0.7, 0.5)), epoch_by_choice=True).epoch == 2
    assert judge("map_at_r", folds((None, 0.7), (0.7, None)), epoch_by_choice=True) is None


def test_folds_are_measured_on_held_out_classes_with_one_family_and_trained_with_a_seed_of_their_own(load):
    study = load()
    final = study.runs()[0]
    folds = fold_runs(study.tune, final, {"optimizer.lr": 0.004})
    assert [spec.tuned.fold for spec in folds] == [0, 1, 2]
    assert len({spec.run_id for spec in folds}) == 3
    assert {spec.optimizer.lr for spec in folds} == {0.004}
    assert not {spec.seed for spec in folds} & {spec.seed for spec in study.runs()}
    for spec in folds:
        assert [family.name for family in spec.tuned.validation] == ["retrieval"]
        assert (spec.evaluation.test, spec.evaluation.train) == ([], [])


def test_folds_that_were_cut_otherwise_are_refused(load, formula, tmp_path):
    class Moved(formula):
        def __call__(self, specs):
            super().__call__(specs)
            if len(self.asked) == 1:
                self.change(specs[0])

        def change(self, spec):
            path = RunFolder(self.results, spec.run_id).result_path
            path.write_text(path.read_text().replace('"out ', '"other '))

    with pytest.raises(StoreError, match="held out other classes"):
        search(load(), tmp_path, Moved(tmp_path))


def test_a_study_without_the_section_is_not_tuned(load, formula, tmp_path):
    from dataclasses import replace

    with pytest.raises(StudyError, match="no section `tune`"):
        search(replace(load(), tune=None), tmp_path, formula(tmp_path))


def test_all_runs_of_a_tuned_study_are_sealed(load):
    study = load()
    assert len(study.runs()) == 6
    for spec in study.runs():
        assert spec.tuned.role == "final"
        assert spec.evaluation.test == []
        assert [family.name for family in spec.tuned.test] == ["retrieval", "clustering", "density", "spectrum"]
        assert sealed(spec).run_id != spec.run_id
