"""Looking at the sealed test classes: only with frozen choices, only at kept weights, and never without a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import StudyError
from harness.provenance import provenance
from harness.specs import RunSpec, canonical_json
from harness.store.looks import begin_look, end_look
from harness.store.spool import RunFolder
from harness.store.study_records import keep_study, read_record, record_path
from harness.study import Study
from harness.training.roles import look_at
from harness.tuning.choices import Choices
from harness.tuning.final import with_choices

Measure = Callable[[Study], bool]
"""Measures the looks that are the runs of a study and records these as its runs; False when it was interrupted."""


@dataclass(frozen=True)
class Look:
    """One look at the test classes: its number, of how many runs, and whether it was carried to its end."""

    number: int
    runs: int
    whole: bool


def unseal(study: Study, choices: Choices, results: Path, db: str, measure: Measure) -> Look:
    """Measure the final runs of a tuned study on the test classes.

    The look is on record before anything is measured; one that was interrupted is taken up under its number. Raises
    StudyError, and looks at nothing, where final runs are missing, have no weights, or do not agree about the classes.
    """
    finals = with_choices(study, choices)
    looks = [_look_at(spec, study.name, results) for spec in finals.runs()]
    classes = test_classes(finals, results)
    record = read_record(record_path(results, study.name, study.profile))
    number = begin_look(
        db,
        study.name,
        study.profile,
        choices=choices.digest,
        runs=len(looks),
        classes=classes,
        by=provenance(),
        before=len(record["looks"]) if record else 0,
    )
    keep_study(db, results, study.name, study.profile)
    changed = dict(zip((spec.run_id for spec in finals.runs()), (look.run_id for look in looks), strict=True))
    questions = {name: tuple(changed[run_id] for run_id in runs) for name, runs in finals.questions.items()}
    whole = measure(replace(finals, specs=tuple(looks), questions=questions))
    if whole:
        end_look(db, study.name, study.profile, number)
        keep_study(db, results, study.name, study.profile)
    return Look(number, len(looks), whole)


def _look_at(final: RunSpec, study: str, results: Path) -> RunSpec:
    """The look at a final run; one that failed stays what it is, a hole in the report."""
    folder = RunFolder(results, final.run_id)
    state = folder.state()
    if state == "failed":
        return final
    if state != "done":
        raise StudyError(
            f"final run {final.run_id} of study {study!r} is {state}; `harness run` trains it, and only then may the "
            "test classes be looked at"
        )
    look = look_at(final)
    if not folder.weights_path.exists() and RunFolder(results, look.run_id).state() != "done":
        raise StudyError(f"final run {final.run_id} has kept no weights in {folder.path}; it cannot be measured")
    return look


def test_classes(finals: Study, results: Path) -> dict[str, str]:
    """Data set -> digest of its test classes, on which all final runs agree; raises StudyError where they do not."""
    found: dict[str, str] = {}
    for spec in finals.runs():
        result = RunFolder(results, spec.run_id).read_result()
        if result is None or result.state != "done":
            continue
        classes = result.provenance["classes"]
        if found.setdefault(_data_name(spec), classes["test"]) != classes["test"]:
            raise StudyError(
                f"the final runs on {spec.dataset.name!r} do not have the same test classes; the data set has changed "
                "between them, and their numbers could not be compared"
            )
    return found


def _data_name(spec: RunSpec) -> str:
    options = {name: value for name, value in spec.dataset.options.items() if value is not None}
    return canonical_json({"name": spec.dataset.name, **options})
