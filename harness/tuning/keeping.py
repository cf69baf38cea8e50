"""What a search leaves while it goes on: its trials in the database, and an Optuna storage for optuna-dashboard."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.store.files import make_folder, told_as
from harness.store.study_records import keep_study
from harness.store.trials import record_trials
from harness.study import Study
from harness.tuning.choices import tuned_path
from harness.tuning.proposals import write_storage
from harness.tuning.search import Method


def keep(study: Study, methods: Sequence[Method], results: Path, db: str) -> None:
    """Keep all trials so far, in place of what was kept before."""
    assert study.tune is not None
    record_trials(db, study.name, study.profile, trial_rows(methods, study.tune.section.metric))
    keep_study(db, results, study.name, study.profile)
    write_optuna(methods, storage_path(results, study.name, study.profile))


def trial_rows(methods: Sequence[Method], metric: str) -> list[dict[str, Any]]:
    """The trials as rows of the database."""
    return [
        {
            "method": method.label,
            "trial": trial.number,
            "state": trial.state,
            "cause": trial.cause,
            "score": trial.score,
            "epoch": trial.epoch,
            "metric": metric,
            "parameters": dict(trial.values),
            "space": method.space,
            "runs": list(trial.runs),
        }
        for method in methods
        for trial in method.trials
    ]


def storage_path(results: Path, study: str, profile: str | None) -> Path:
    """Where the Optuna storage of a study is."""
    return tuned_path(results, study, profile).with_name("optuna.db")


def write_optuna(methods: Sequence[Method], path: Path) -> None:
    """One Optuna study a method, in an SQLite file that is whole or the one before."""
    make_folder(path.parent)
    with told_as("write", path), tempfile.TemporaryDirectory(prefix=".optuna-", dir=path.parent) as aside:
        file = Path(aside) / path.name
        write_storage(str(file), [(method.label, method.proposals.study) for method in methods])
        os.replace(file, path)
