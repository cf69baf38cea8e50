"""What a tuned study still has to train, for a plan: the folds of trials that nobody has proposed yet among it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.errors import StudyError
from harness.specs import RunSpec
from harness.store.spool import RunFolder
from harness.study import Study
from harness.tuning.choices import read_choices
from harness.tuning.final import with_choices
from harness.tuning.folds import fold_runs
from harness.tuning.search import Method, begin, search


def foreseen(study: Study, results: Path) -> Study:
    """A tuned study with the runs that its choices ask for, or, before these are made, with those that are to come.

    A trial that is still to be proposed stands there with the defaults, as a run of its own; what a search proposes
    takes as long, but for what a searched option does to the time of a step.
    """
    try:
        return with_choices(study, read_choices(study, results), results)
    except StudyError:
        return replace(study, specs=(*_open_folds(study, results), *study.specs))


def _open_folds(study: Study, results: Path) -> list[RunSpec]:
    assert study.tune is not None
    open_folds = []
    for method in finished_trials(study, results):
        folds = fold_runs(study.tune, method.final, {})
        for trial in range(len(method.trials), study.tune.trials):
            open_folds += [replace(spec, seed=spec.seed + 1 + trial) for spec in folds]
    return open_folds


def finished_trials(study: Study, results: Path) -> list[Method]:
    """The methods of a study with the trials of all batches that were trained to their end; trains nothing."""
    assert study.tune is not None
    found = begin(study.tune, study)

    def told(methods: list[Method]) -> None:
        found[:] = methods

    def train(specs: Sequence[RunSpec]) -> None:
        if any(RunFolder(results, spec.run_id).state() not in ("done", "failed") for spec in specs):
            raise _Missing

    with suppress(_Missing):
        search(study, results, train, told)
    return found


class _Missing(Exception):
    """The next batch was not trained yet."""
