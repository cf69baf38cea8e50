"""The runs of a tuned study, each made of an ordinary one: folds, final runs, and looks at the test classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.specs import Choice, Evaluation, RunSpec, Tuned


def sealed(spec: RunSpec) -> RunSpec:
    """The run as a final run of a tuned study: nothing of it is measured on the test classes."""
    return replace(spec, tuned=Tuned(role="final", test=spec.evaluation.test), evaluation=_measured(spec, test=[]))


def look_at(final: RunSpec) -> RunSpec:
    """The run that measures on the test classes what a final run has kept."""
    assert final.tuned is not None
    tuned = Tuned(role="look", of=final.run_id)
    return replace(final, tuned=tuned, evaluation=_measured(final, test=final.tuned.test))


def final_of(look: RunSpec) -> RunSpec:
    """The final run whose weights a look measures."""
    return sealed(replace(look, tuned=None))


def fold_of(
    final: RunSpec, *, fold: int, folds: int, share: float | None, cut: int, families: Sequence[Choice], seed: int
) -> RunSpec:
    """The final run on the training classes without those of one fold, measured on these alone, with a seed."""
    out = Tuned(
        role="fold", folds=folds, fold=fold, share=share if folds == 1 else None, cut=cut, validation=list(families)
    )
    return replace(final, seed=seed, tuned=out, evaluation=_measured(final, test=[], train=[]))


def _measured(spec: RunSpec, **families: list[Choice]) -> Evaluation:
    return spec.evaluation.model_copy(update=families)
