"""The study after tuning: its final runs with what was chosen for each method, trained for the chosen epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.errors import StudyError
from harness.specs import RunSpec
from harness.store.spool import RunFolder
from harness.study import Study
from harness.study.tune import with_values
from harness.training.roles import look_at
from harness.tuning.choices import Choices, Chosen
from harness.tuning.folds import chooses_epoch


def with_choices(study: Study, choices: Choices, results: Path | None = None) -> Study:
    """The study with chosen values in place of defaults.

    With `results`, a final run that was looked at on the test classes is replaced by that look, which holds all of its
    numbers. A method of which no trial had a result has no runs. Raises StudyError for a method that was not tuned.
    """
    made: dict[str, RunSpec] = {}
    for spec in study.runs():
        chosen = choices.of(replace(spec, seed=0).run_id)
        if chosen is None:
            raise StudyError(
                f"objective {spec.objective.name!r} as this study has it was not tuned; run `harness tune` again, "
                "which trains what is missing"
            )
        if chosen.trial is not None:
            made[spec.run_id] = _as_seen(final_run(spec, chosen), results)
    questions = {
        question: tuple(made[run_id].run_id for run_id in runs if run_id in made)
        for question, runs in study.questions.items()
    }
    return replace(study, specs=tuple(made.values()), questions=questions)


def final_run(spec: RunSpec, chosen: Chosen) -> RunSpec:
    """A run with what was chosen, which ends after the chosen epoch where its schedule does not depend on the end."""
    run = with_values(spec, chosen.values)
    if chosen.epoch is None or not chooses_epoch(run):
        return run
    return replace(run, training=run.training.model_copy(update={"epochs": chosen.epoch}))


def _as_seen(final: RunSpec, results: Path | None) -> RunSpec:
    if results is None:
        return final
    look = look_at(final)
    return look if RunFolder(results, look.run_id).state() == "done" else final
