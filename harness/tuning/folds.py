"""A trial as runs: which folds it is trained on, and what these say about it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.registry import METRICS
from harness.seeding import seed_for
from harness.specs import Choice, RunResult, RunSpec
from harness.study.tune import Tune, with_values
from harness.training.roles import fold_of

SPLIT = "validation"

FOLD_SEEDS = 2**30
"""The seed of folds is at least this, where no study's own seeds are; and below 2**31, which databases can hold."""


@dataclass(frozen=True)
class Judged:
    """What the folds of a trial say: the highest mean over folds of the metric in any epoch, and in which epoch."""

    score: float
    epoch: int


def fold_runs(tune: Tune, final: RunSpec, values: Mapping[str, Any]) -> list[RunSpec]:
    """The runs of a trial, one a fold: trained with the same seed, which no final run has."""
    section = tune.section
    changed = with_values(final, values)
    seed = FOLD_SEEDS + seed_for(section.seed, "folds") % FOLD_SEEDS
    return [
        fold_of(
            changed,
            fold=fold,
            folds=section.folds,
            share=section.share,
            cut=section.seed,
            families=[family_of(section.metric, final)],
            seed=seed,
        )
        for fold in range(section.folds)
    ]


def family_of(metric: str, final: RunSpec) -> Choice:
    """The one family of metrics that a fold is measured with: that of the metric which judges."""
    assert final.tuned is not None
    return next(choice for choice in final.tuned.test if metric in METRICS.build(choice).names)


def judge(metric: str, results: Sequence[RunResult], *, epoch_by_choice: bool) -> Judged | None:
    """The mean over folds in each epoch that all have measured, the highest (the first of equals) chosen.

    Without `epoch_by_choice` the last epoch counts: a schedule that ends with training has no epoch to stop at. None
    where the folds have no number in common.
    """
    curves = [curve_of(metric, result) for result in results]
    shared = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    if not shared:
        return None
    means = {epoch: sum(curve[epoch] for curve in curves) / len(curves) for epoch in shared}
    epoch = max(shared, key=lambda epoch: (means[epoch], -epoch)) if epoch_by_choice else shared[-1]
    return Judged(means[epoch], epoch)


def curve_of(metric: str, result: RunResult) -> dict[int, float]:
    """Epoch -> value on the held-out classes, where it is defined."""
    for curve in result.curves:
        if (curve.split, curve.metric) == (SPLIT, metric):
            return {epoch: value for epoch, value in zip(curve.epochs, curve.values, strict=True) if value is not None}
    return {}


def chooses_epoch(spec: RunSpec) -> bool:
    """Whether a run may be stopped after any epoch and be the beginning of a longer one.

    With a cosine schedule it may not: the learning rate depends on where training ends.
    """
    return spec.optimizer.schedule != "cosine"
