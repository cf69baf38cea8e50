"""Who proposes the trials of one method: Optuna, seeded, its defaults first; or a grid in an order by chance."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from harness.seeding import seed_for
from harness.specs import RunSpec
from harness.study.tune import Dimension, Tune, grid_of

STARTUP = 5
"""Trials before TPE and the pruner begin to judge by what they have seen; a budget is small."""


class Proposals:
    """The trials of one method, asked for and told in the order of their numbers.

    What is proposed depends on the tune section, the method and what was told, and on nothing else: asking and telling
    the same again gives the same, so that a search that was killed is taken up by repeating it.
    """

    def __init__(self, tune: Tune, final: RunSpec) -> None:
        self.dimensions = tune.of(final)
        self.space = {dimension.name: distribution(dimension) for dimension in self.dimensions}
        seed = seed_for(tune.section.seed, "trials", final.run_id) % 2**32
        with quiet():
            self.study = optuna.create_study(
                direction="maximize",
                sampler=sampler(tune, seed),
                pruner=pruner(tune),
            )
            for values in self._given(tune, final, seed):
                self.study.enqueue_trial(values)

    def _given(self, tune: Tune, final: RunSpec, seed: int) -> Iterator[dict[str, Any]]:
        """The defaults, and for a grid its other points in an order by chance."""
        defaults = {dimension.name: dimension.default(final) for dimension in self.dimensions}
        yield defaults
        if tune.section.sampler == "grid":
            points = [point for point in grid_of(self.dimensions) if point != defaults]
            yield from random.Random(seed).sample(points, min(len(points), tune.trials - 1))

    def ask(self, count: int) -> list[Trial]:
        """The next trials, none of which knows what the others will give."""
        with quiet():
            return [self.study.ask(fixed_distributions=self.space) for _ in range(count)]

    def tell(self, trial: Trial, state: TrialState, score: float | None = None) -> None:
        """What came of a trial."""
        with quiet():
            self.study.tell(trial, score if state == TrialState.COMPLETE else None, state=state)


def distribution(dimension: Dimension) -> BaseDistribution:
    """A range in Optuna's words."""
    if dimension.form == "choice":
        return CategoricalDistribution(dimension.choices)
    if dimension.form == "int":
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.form == "log")


def sampler(tune: Tune, seed: int) -> BaseSampler:
    """Optuna's sampler of that name; a grid needs none, as all of it is given."""
    name = tune.section.sampler
    if name == "tpe":
        # Trials that are still open count as bad ones, so that those of one batch differ.
        return TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True)
    if name == "cmaes":
        return CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return RandomSampler(seed=seed)


def pruner(tune: Tune) -> BasePruner:
    """Folds are the steps by which a trial is judged."""
    return MedianPruner(n_startup_trials=STARTUP) if tune.section.pruner == "median" else NopPruner()


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's log, and without its warnings of what is experimental there."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def write_storage(file: str, named: Sequence[tuple[str, optuna.Study]]) -> None:
    """All studies as an Optuna storage of their own, an SQLite file that optuna-dashboard opens."""
    with quiet():
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
        try:
            for name, study in named:
                copy = optuna.create_study(study_name=name, storage=storage, direction="maximize")
                copy.add_trials([trial for trial in study.trials if trial.state.is_finished()])
        finally:
            storage.remove_session()
            storage.engine.dispose()
