"""Class-disjoint folds of the training classes, and digests by which every number says which classes it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from harness.errors import DataError
from harness.specs import Tuned

LEAST = 2
"""Classes on each side of a cut: retrieval among the images of one class finds nothing but that class."""


def held_out(classes: Sequence[str], tuned: Tuned) -> list[str]:
    """The training classes that a run of a fold holds out, by name; none for a run that is no fold.

    The order of a class follows from the seed of the cut and its name alone, so that every run of a study cuts alike,
    whatever the order in which the data set lists its classes. The folds are consecutive parts of that order, nearly
    equal in size; a single fold is its first `share`. Raises DataError where too few classes are left on a side.
    """
    if tuned.role != "fold" or tuned.folds is None or tuned.fold is None:
        return []
    order = sorted(classes, key=lambda name: hashlib.sha256(f"{tuned.cut}/{name}".encode()).hexdigest())
    if tuned.folds == 1:
        chosen = order[: round((tuned.share or 0) * len(order))]
    else:
        begin, end = (len(order) * place // tuned.folds for place in (tuned.fold, tuned.fold + 1))
        chosen = order[begin:end]
    problem = folds_problem(len(order), tuned.folds, tuned.share)
    if problem:
        raise DataError(problem)
    return chosen


def folds_problem(classes: int, folds: int, share: float | None) -> str | None:
    """Why so many training classes cannot be cut so; None when they can."""
    if folds == 1:
        out = round((share or 0) * classes)
        if out >= LEAST and classes - out >= LEAST:
            return None
        return (
            f"a share of {share} of {classes} training classes holds out {out} and leaves {classes - out}; "
            f"each side needs {LEAST} or more"
        )
    if classes // folds >= LEAST and classes - -(-classes // folds) >= LEAST:
        return None
    most = classes // LEAST
    right = f"at most {most} would be right" if most > 1 else "the data set is too small to be tuned on"
    return (
        f"{folds} folds of {classes} training classes have fewer than {LEAST} classes each, and retrieval needs {LEAST}"
        f"; {right}"
    )


def class_digests(names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Split -> SHA-256 of the names of its classes, 64 bits in hex; the same wherever the split is.

    Raises DataError where two splits share a class: no number may then be called one about unseen classes.
    """
    splits = {split: sorted(set(classes)) for split, classes in names.items() if classes}
    told = list(splits)
    for place, one in enumerate(told):
        for other in told[place + 1 :]:
            shared = sorted(set(splits[one]) & set(splits[other]))
            if shared:
                raise DataError(
                    f"class {shared[0]!r} is in both {one} and {other} ({len(shared)} such classes); the classes of "
                    "the splits must be disjoint, because numbers are about classes that were not trained on"
                )
    return {split: digest_of(classes) for split, classes in splits.items()}


def digest_of(names: Sequence[str]) -> str:
    """64 bits of the SHA-256 of names, a line each, in hex."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
