"""Which parts do not go together: what can only be seen when the parts of a run stand side by side."""

from __future__ import annotations

from collections.abc import Callable

from harness.registry import MINERS, OBJECTIVES, REGULARIZERS
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


def _check_sampler(draft: Draft, tell: Tell) -> None:
    miner, sampler, batch_size = draft.spec.miner, draft.spec.sampler, draft.spec.training.batch_size
    plans = miner is not None and getattr(MINERS.get(miner.name), "plans", False)
    if sampler is None and not plans:
        message = f"these runs have no sampler, and no miner that plans its batches; name one{known_parts('sampler')}"
        tell(message, *draft.places("sampler.name", "miner.name"))
    if miner is None or not plans:
        return
    if sampler is not None:
        own = f"miner {miner.name!r} plans the batches itself and has no use for sampler {sampler.name!r}"
        tell(f"{own}; right would be `sampler: none`", *draft.places("sampler.name", "miner.name"))
    if batch_size % 3:
        near = " or ".join(str(size) for size in (batch_size // 3 * 3, batch_size // 3 * 3 + 3) if size)
        message = f"a batch of {batch_size} images is not whole triplets, of which miner {miner.name!r} plans it"
        tell(f"{message}; {near} could be", *draft.places("training.batch_size", "miner.name"))


def _check_batch_size(draft: Draft, tell: Tell) -> None:
    batch_size, sampler = draft.spec.training.batch_size, draft.spec.sampler
    each = sampler.options.get("samples_per_class") if sampler else None
    if not isinstance(each, int) or each < 1 or batch_size % each == 0:
        return
    near = sorted({max(each, batch_size // each * each), (batch_size // each + 1) * each})
    message = f"a batch of {batch_size} cannot hold {each} samples of each class; {' or '.join(map(str, near))} could"
    tell(message, *draft.places("sampler.samples_per_class", "training.batch_size", "sampler.name"))


def _check_views(draft: Draft, tell: Tell) -> None:
    options, augmentation = draft.spec.backbone.options, draft.spec.training.augmentation
    views = options.get("views", 1)
    if views > 1 and not _is_frozen(draft):
        message = (
            f"{views} views are kept of the features of a frozen backbone (`trainable: head`); one that is trained "
            "sees a new view of each image in every epoch, and has no use for `views`"
        )
        tell(message, *draft.places("backbone.views", "backbone.trainable", "backbone.name"))
    elif views > 1 and augmentation == "none":
        message = (
            f"with `augmentation: none` all {views} views of an image are the same; right would be `views: 1` or an "
            "augmentation"
        )
        tell(message, *draft.places("backbone.views", "training.augmentation", "backbone.name"))


def _check_frozen_weights(draft: Draft, tell: Tell) -> None:
    name, weights = draft.spec.backbone.name, draft.spec.backbone.options.get("weights")
    if not _is_frozen(draft) or weights not in (None, "none"):
        return
    lack = "has no option `weights`" if weights is None else "has `weights: none` here"
    message = (
        "a frozen backbone (`trainable: head`) gives what its ready weights have learned, but backbone "
        f"{name!r} {lack}, so that its features would be those of random weights; right would be ready weights or "
        "`trainable: all`"
    )
    tell(message, *draft.places("backbone.trainable", "backbone.weights", "backbone.name"))


def _check_frozen_rates(draft: Draft, tell: Tell) -> None:
    if not _is_frozen(draft):
        return
    optimizer = draft.spec.optimizer
    if optimizer.warmup_epochs:
        message = (
            "the first `warmup_epochs` train everything but the backbone, which a frozen one (`trainable: head`) does "
            "in all epochs; right would be `warmup_epochs: 0`"
        )
        tell(message, *draft.places("optimizer.warmup_epochs", "backbone.trainable"))
    if optimizer.backbone_lr_multiplier != 1:
        message = "a frozen backbone (`trainable: head`) does not learn, so it has no learning rate to multiply"
        tell(message, *draft.places("optimizer.backbone_lr_multiplier", "backbone.trainable"))


def _is_frozen(draft: Draft) -> bool:
    return bool(draft.spec.backbone.options.get("trainable") == "head")


_CHECKS = (
    (_check_miner, ("objective", "miner")),
    (_check_regularizer, ("objective", "regularizer")),
    (_check_sampler, ("miner", "sampler", "training")),
    (_check_batch_size, ("sampler", "training")),
    (_check_views, ("backbone", "training")),
    (_check_frozen_weights, ("backbone",)),
    (_check_frozen_rates, ("backbone", "optimizer")),
)
"""Each check with the sections that it looks at: nothing can be said about one that is broken."""
