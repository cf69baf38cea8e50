"""The trials of tuned studies, kept beside the runs that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.store import tuning_tables
from harness.store.engine import open_engine, told_by_database


def record_trials(url: str | Path, study: str, profile: str | None, trials: Sequence[Mapping[str, Any]]) -> None:
    """Keep the trials of a study, in place of all that were kept of it before.

    Each has method, trial (its number), state, cause, score, epoch, metric, parameters, space and runs, as the columns
    of the table `trials` say.
    """
    key, table = {"study": study, "profile": profile or ""}, tuning_tables.trials
    of_study = (table.c.study == study) & (table.c.profile == key["profile"])
    with told_by_database(url), open_engine(url, write=True).begin() as connection:
        connection.execute(table.delete().where(of_study))
        if trials:
            connection.execute(table.insert(), [{**key, **trial} for trial in trials])
