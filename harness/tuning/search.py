"""The search: batch by batch, every method's next trials are proposed, their folds trained, and the outcome told.

Optuna lives in this process alone, and everything it is told comes from results in the run folders. Batches have a
fixed size and are told in the order of trials, so the number of workers decides nothing. A search that was killed
begins again: it asks and tells the same, finds the runs there, and goes on where it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from optuna.distributions import distribution_to_json
from optuna.trial import Trial as Asked
from optuna.trial import TrialState

from harness.errors import StoreError, StudyError
from harness.specs import RunResult, RunSpec
from harness.store.labels import method_labels
from harness.store.spool import RunFolder
from harness.study import Study
from harness.study.space import methods_of
from harness.study.tune import Tune
from harness.tuning.folds import chooses_epoch, fold_runs, judge
from harness.tuning.proposals import Proposals

Train = Callable[[Sequence[RunSpec]], None]
"""Trains what is missing of some runs and returns when all have ended; raises KeyboardInterrupt when they will not."""

DIGITS = 4
"""Significant digits of a proposed number. More would be noise in every table, and no score knows the difference."""


@dataclass(frozen=True)
class Trial:
    """One configuration of a method: what it is, and what its folds gave. `runs` are those that were asked for."""

    number: int
    values: Mapping[str, Any]
    state: Literal["complete", "pruned", "failed"]
    runs: tuple[str, ...]
    score: float | None = None
    epoch: int | None = None
    cause: str | None = None


@dataclass
class Method:
    """One method of the grid: its final run of seed 0 with the defaults, what it is called, and its trials so far."""

    final: RunSpec
    label: str
    proposals: Proposals
    trials: list[Trial] = field(default_factory=list)

    @property
    def space(self) -> dict[str, Any]:
        """Name -> range, as plain JSON types that Optuna reads back."""
        return {name: json.loads(distribution_to_json(found)) for name, found in self.proposals.space.items()}

    @property
    def best(self) -> Trial | None:
        """The finished trial of the highest score, the first of equals; None where none has finished."""
        finished = [trial for trial in self.trials if trial.state == "complete"]
        return max(finished, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)


@dataclass
class _Open:
    """A trial under way: its runs, how many of them have been judged, and how it ended once it has."""

    asked: Asked
    values: Mapping[str, Any]
    runs: list[RunSpec]
    results: list[RunResult] = field(default_factory=list)
    ended: Trial | None = None


def search(
    study: Study, results: Path, train: Train, told: Callable[[list[Method]], None] = lambda methods: None
) -> list[Method]:
    """Give every method of a study its trials; `told` hears of all trials after each batch.

    Raises StudyError where the study asks for no tuning, StoreError where the folds of a study were not cut alike, and
    KeyboardInterrupt as `train` does.
    """
    tune = study.tune
    if tune is None:
        raise StudyError(f"study {study.name!r} has no section `tune`; nothing in it is to be tuned")
    methods = begin(tune, study)
    cuts = Cuts()
    for first in range(0, tune.trials, tune.section.batch):
        count = min(tune.section.batch, tune.trials - first)
        asked = [(method, [_open(tune, method, trial) for trial in method.proposals.ask(count)]) for method in methods]
        for folds in stages(tune):
            run_stage(tune, asked, folds, results, train, cuts)
        for method, trials in asked:
            close(method, trials)
        told(methods)
    return methods


def begin(tune: Tune, study: Study) -> list[Method]:
    """The methods of a study before their first trial."""
    finals = methods_of(study.runs())
    labels = names_of(finals)
    return [Method(final, labels[final.run_id], Proposals(tune, final)) for final in finals]


def names_of(finals: Sequence[RunSpec]) -> dict[str, str]:
    """run_id -> a name for each method, with its data set where there are several; no two have the same."""
    labels = method_labels(finals)
    if len({spec.dataset.name for spec in finals}) > 1:
        labels = {spec.run_id: f"{spec.dataset.name}: {labels[spec.run_id]}" for spec in finals}
    counts = Counter(labels.values())
    return {run_id: label if counts[label] == 1 else f"{label} ({run_id[:6]})" for run_id, label in labels.items()}


def stages(tune: Tune) -> list[list[int]]:
    """Which folds are trained together: all, or with a pruner, which judges between them, one after the other."""
    folds = list(range(tune.section.folds))
    return [folds] if tune.section.pruner == "none" else [[fold] for fold in folds]


def run_stage(
    tune: Tune,
    asked: Sequence[tuple[Method, list[_Open]]],
    folds: list[int],
    results: Path,
    train: Train,
    cuts: Cuts,
) -> None:
    """Train some folds of all trials that are still open, and judge these."""
    open_trials = [trial for _, trials in asked for trial in trials if trial.ended is None]
    specs = {spec.run_id: spec for trial in open_trials for spec in (trial.runs[fold] for fold in folds)}
    if specs:
        train(list(specs.values()))
    for trial in open_trials:
        for fold in folds:
            result = read(results, trial.runs[fold])
            cuts.check(trial.runs[fold], result)
            trial.results.append(result)
        judge_trial(tune, trial, last=folds[-1] == tune.section.folds - 1)


def judge_trial(tune: Tune, trial: _Open, *, last: bool) -> None:
    """Say how a trial has ended, if it has: failed, pruned or complete."""
    runs = tuple(spec.run_id for spec in trial.runs[: len(trial.results)])
    values = trial.values
    failed = [result for result in trial.results if result.state == "failed"]
    judged = None
    if not failed:
        judged = judge(tune.section.metric, trial.results, epoch_by_choice=chooses_epoch(trial.runs[0]))
    if judged is None:
        cause = (failed[0].cause if failed else None) or "exception"
        trial.ended = Trial(trial.asked.number, values, "failed", runs, cause=cause)
        return
    if not last:
        trial.asked.report(judged.score, len(trial.results))
    if last or trial.asked.should_prune():
        state: Literal["complete", "pruned"] = "complete" if last else "pruned"
        trial.ended = Trial(trial.asked.number, values, state, runs, judged.score, judged.epoch)


def close(method: Method, trials: Sequence[_Open]) -> None:
    """Tell Optuna, in the order of the trials, and keep what came of them."""
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    for trial in trials:
        assert trial.ended is not None
        method.proposals.tell(trial.asked, states[trial.ended.state], trial.ended.score)
        method.trials.append(trial.ended)


def read(results: Path, spec: RunSpec) -> RunResult:
    """The result of a run that was trained; StoreError where there is none."""
    result = RunFolder(results, spec.run_id).read_result()
    if result is None:
        raise StoreError(f"run {spec.run_id} of a fold has no result in {results}, though it has ended")
    return result


class Cuts:
    """Remembers which classes the folds have, and that no two trials are judged on different ones."""

    def __init__(self) -> None:
        self.seen: dict[tuple[Any, ...], Mapping[str, str]] = {}

    def check(self, spec: RunSpec, result: RunResult) -> None:
        """Raises StoreError where a fold has other classes than the same fold of an earlier run."""
        classes = result.provenance.get("classes")
        if result.state != "done" or classes is None or spec.tuned is None:
            return
        dataset = json.dumps(spec.to_dict()["dataset"], sort_keys=True)
        known = self.seen.setdefault((dataset, spec.tuned.fold), classes)
        if known != classes:
            raise StoreError(
                f"run {spec.run_id} held out other classes than the same fold before; the data set has changed since, "
                "and scores of different classes cannot be compared"
            )


def _open(tune: Tune, method: Method, asked: Asked) -> _Open:
    values = dict(asked.params) if asked.number == 0 else {name: rounded(value) for name, value in asked.params.items()}
    return _Open(asked, values, fold_runs(tune, method.final, values))


def rounded(value: Any) -> Any:
    """A proposed number with as many digits as a person would read; the defaults stay what they are."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
