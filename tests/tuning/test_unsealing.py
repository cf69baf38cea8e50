"""Looks at the sealed test: only with frozen choices, only at finished runs, and always on record."""

import pytest

from harness.errors import StudyError
from harness.specs import Measurement, RunResult
from harness.store.database import collect, record_study
from harness.store.frames import Database
from harness.store.looks import begin_look, end_look
from harness.store.spool import RunFolder
from harness.tuning.choices import choose
from harness.tuning.final import with_choices
from harness.tuning.search import search
from harness.tuning.unsealing import unseal


def publish(results, spec, classes="test", failed=False):
    """What a worker leaves of a final run or a look."""
    folder = RunFolder(results, spec.run_id)
    folder.write_spec(spec)
    measurements = [Measurement("test", "recall_at_1", "last", 2, 0.5)] if spec.tuned.role == "look" else []
    result = RunResult(
        spec.run_id, "done", measurements=measurements, provenance={"classes": {"train": "t", "test": classes}}
    )
    folder.publish(RunResult(spec.run_id, "failed", "diverged") if failed else result, folder.take())
    if spec.tuned.role == "final" and not failed:
        folder.weights_path.write_bytes(b"weights")


@pytest.fixture
def place(tmp_path):
    return tmp_path, f"sqlite:///{tmp_path}/harness.db"


@pytest.fixture
def tuned(load, formula, place):
    """A study, its choices, and its final runs, of which none is trained."""
    study = load()
    choices = choose(study, search(study, place[0], formula(place[0])))
    return study, choices, with_choices(study, choices).runs()


def measuring(place, seen, whole=True):
    """Measures every look, keeps which, and records them as the study's runs."""
    results, db = place

    def measure(study):
        seen.append(study)
        record_study(db, study.name, study.profile, study.runs(), study.about())
        for spec in study.runs() if whole else study.runs()[:2]:
            if RunFolder(results, spec.run_id).state() == "pending":
                publish(results, spec)
        collect(db, results)
        return whole

    return measure


def looks_of(place):
    return Database(place[1]).looks("mini")


def test_nothing_is_looked_at_while_final_runs_are_missing(tuned, place):
    study, choices, finals = tuned
    for spec in finals[1:]:
        publish(place[0], spec)
    seen = []
    with pytest.raises(StudyError, match=f"final run {finals[0].run_id} of study 'mini' is pending"):
        unseal(study, choices, *place, measuring(place, seen))
    assert seen == []
    assert not (place[0] / "harness.db").exists()


def test_a_look_measures_every_final_run_once_and_is_on_record(tuned, place):
    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec)
    seen = []
    look = unseal(study, choices, *place, measuring(place, seen))
    assert (look.number, look.runs, look.whole) == (1, 6, True)
    assert [spec.tuned.of for spec in seen[0].runs()] == [spec.run_id for spec in finals]
    (row,) = looks_of(place).to_dict("records")
    assert (row["choices"], row["runs"], list(row["classes"].values())) == (choices.digest, 6, ["test"])
    assert row["began"] <= row["ended"]
    assert "host" in row["by"]


def test_a_second_look_measures_nothing_again_and_is_recorded_again(tuned, place):
    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec)
    unseal(study, choices, *place, measuring(place, []))
    stamps = [RunFolder(place[0], spec.run_id).result_path.stat().st_mtime_ns for spec in finals]
    assert unseal(study, choices, *place, measuring(place, [])).number == 2
    assert stamps == [RunFolder(place[0], spec.run_id).result_path.stat().st_mtime_ns for spec in finals]
    assert list(looks_of(place)["look"]) == [1, 2]
    assert len(set(looks_of(place)["choices"])) == 1


def test_an_interrupted_look_is_taken_up_under_its_number(tuned, place):
    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec)
    assert not unseal(study, choices, *place, measuring(place, [], whole=False)).whole
    assert looks_of(place)["ended"].isna().all()
    assert unseal(study, choices, *place, measuring(place, [])).number == 1
    assert looks_of(place)["ended"].notna().all()


def test_other_choices_are_another_look_even_where_one_was_interrupted(place):
    db = place[1]
    options = {"runs": 1, "classes": {}, "by": {}}
    assert begin_look(db, "mini", None, choices="a", **options) == 1
    assert begin_look(db, "mini", None, choices="b", **options) == 2
    end_look(db, "mini", None, 2)
    assert begin_look(db, "mini", None, choices="b", **options) == 3
    assert begin_look(db, "mini", "paper", choices="b", **options) == 1


def test_a_final_run_without_weights_cannot_be_looked_at(tuned, place):
    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec)
    RunFolder(place[0], finals[2].run_id).weights_path.unlink()
    with pytest.raises(StudyError, match=f"{finals[2].run_id} has kept no weights"):
        unseal(study, choices, *place, measuring(place, []))


def test_final_runs_with_different_test_classes_are_refused(tuned, place):
    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec, classes="other" if spec is finals[3] else "test")
    with pytest.raises(StudyError, match="do not have the same test classes"):
        unseal(study, choices, *place, measuring(place, []))


def test_a_final_run_that_failed_stays_a_hole(tuned, place):
    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec, failed=spec is finals[0])
    unseal(study, choices, *place, measuring(place, []))
    runs = Database(place[1]).runs("mini")
    assert list(runs["state"]) == ["failed"] + ["done"] * 5
    assert set(runs["method"].value_counts()) == {2}


def test_looks_and_trials_outlive_a_rebuild_of_the_database(tuned, place):
    from harness.store.rebuild import rebuild
    from harness.store.trials import record_trials
    from harness.tuning.keeping import trial_rows

    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec)
    unseal(study, choices, *place, measuring(place, []))
    methods = search(study, place[0], lambda specs: None)
    record_trials(place[1], "mini", None, trial_rows(methods, "map_at_r"))
    rebuild(place[1], place[0])
    assert len(looks_of(place)) == 1
    trials = Database(place[1]).trials("mini")
    assert len(trials) == 18
    assert trials["seconds"].sum() == pytest.approx(18 * 3 * 2.0), "each fold took 2 s"
    assert set(trials["trained"]) == {3}


def test_a_look_cannot_be_forgotten_by_losing_the_database(tuned, place):
    from harness.errors import StoreError
    from harness.store.rebuild import rebuild

    study, choices, finals = tuned
    for spec in finals:
        publish(place[0], spec)
    unseal(study, choices, *place, measuring(place, []))
    for file in place[0].glob("harness.db*"):
        file.unlink()
    seen = []
    with pytest.raises(StoreError, match="1 looks at the test classes of 'mini' are on record"):
        unseal(study, choices, *place, measuring(place, seen))
    assert seen == []
    rebuild(place[1], place[0])
    assert unseal(study, choices, *place, measuring(place, seen)).number == 2
