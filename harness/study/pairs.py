"""Which parts do not go together: what can only be seen when the parts of a run stand side by side."""

from __future__ import annotations

from collections.abc import Callable

from harness.registry import OBJECTIVES, REGULARIZERS
from harness.study.mistakes import Mistakes, Place
from harness.study.resolve import Draft, known_parts

Tell = Callable[..., None]


def check_pairs(draft: Draft, mistakes: Mistakes, *, wanted: bool) -> None:
    """Record what does not go together.

    A mistake that a `--set` makes in runs that are not `wanted`, because `--only` leaves them out, does not matter.
    """

    def tell(message: str, *places: Place) -> None:
        # What the command line sets is what makes a pair impossible that the file alone would not have.
        place = sorted(places, key=lambda place: (not place.of_command_line, not place.origin.in_file))[0]
        if wanted or not place.of_command_line:
            mistakes.add(place, message)

    for check, sections in _CHECKS:
        if not draft.broken.intersection(sections):
            check(draft, tell)


def _check_miner(draft: Draft, tell: Tell) -> None:
    objective, miner = draft.spec.objective.name, draft.spec.miner
    takes = _takes(draft)
    if takes == "triplets" and miner is None:
        message = f"objective {objective!r} takes triplets and needs a miner{known_parts('miner')}"
        tell(message, *draft.places("objective.name", "miner.name"))
    if takes == "batch" and miner is not None:
        own = f"objective {objective!r} takes the whole batch and has no use for miner {miner.name!r}"
        tell(
            f"{own}; give it a block of its own, or `miner: none` there", *draft.places("miner.name", "objective.name")
        )


def _check_regularizer(draft: Draft, tell: Tell) -> None:
    objective, regularizer = draft.spec.objective.name, draft.spec.regularizer
    if regularizer is None:
        return
    proxies = getattr(OBJECTIVES.get(objective), "proxy_table", None) is not None
    mined = _takes(draft) == "triplets" or (_takes(draft) == "either" and draft.spec.miner is not None)
    has = {"tuples": mined, "proxies": proxies}
    for need in sorted(getattr(REGULARIZERS.get(regularizer.name), "needs", ())):
        if not has.get(need, False):
            hint = " without a miner" if need == "tuples" and _takes(draft) == "either" else ""
            message = (
                f"regularizer {regularizer.name!r} needs {need}, which objective {objective!r} does not have{hint}"
            )
            tell(message, *draft.places("regularizer.name", "objective.name"))


def _takes(draft: Draft) -> str:
    return str(getattr(OBJECTIVES.get(draft.spec.objective.name), "takes", "batch"))


def _check_batch_size(draft: Draft, tell: Tell) -> None:
    batch_size, each = draft.spec.training.batch_size, draft.spec.sampler.options.get("samples_per_class")
    if not isinstance(each, int) or each < 1 or batch_size % each == 0:
        return
    near = sorted({max(each, batch_size // each * each), (batch_size // each + 1) * each})
    message = f"a batch of {batch_size} cannot hold {each} samples of each class; {' or '.join(map(str, near))} could"
    tell(message, *draft.places("sampler.samples_per_class", "training.batch_size", "sampler.name"))


_CHECKS = (
    (_check_miner, ("objective", "miner")),
    (_check_regularizer, ("objective", "regularizer")),
    (_check_batch_size, ("sampler", "training")),
)
"""Each check with the sections that it looks at: nothing can be said about one that is broken."""
