"""Whether a run survives being killed: trained undisturbed, and killed at random points and resumed, bit for bit.

Both trainings happen in real worker processes on real run folders (`disturb`); at its end each leaves everything that
it knows (`state`), which is then compared (`compare`). Where the two differ, the run is trained undisturbed once more:
a run that does not even repeat itself says nothing about resuming.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.specs import RunSpec
from harness.verify.compare import Compared, compare, explain, what_differs
from harness.verify.disturb import Place, train_disturbed, train_undisturbed

__all__ = ["Compared", "Place", "Verdict", "shortened", "verify"]


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    `parts` compares the resumed training with the undisturbed one; `suspects` are attributes of parts that no
    checkpoint holds and that differ; `repeatable` says, where something differs, whether a second undisturbed training
    was like the first.
    """

    parts: list[Compared]
    kills: dict[str, int]  # name of the signal -> how often
    steps: int  # of the run
    steps_computed: int  # by all workers of the disturbed training together
    suspects: list[str]
    repeatable: bool | None = None

    @property
    def same(self) -> bool:
        """Whether every bit is the same."""
        return not what_differs(self.parts)

    @property
    def computed_twice(self) -> float:
        """Steps that a kill has cost, as a share of those of the run."""
        return self.steps_computed / self.steps - 1 if self.steps else 0.0


def verify(spec: RunSpec, place: Place, kills: int, seed: int, say: Callable[[str], None]) -> Verdict:
    """Train a run both ways and compare. Folders and logs are left in `place.folder`.

    Raises RunFailed when a training ends without a result, and StoreError or EnvironmentLacks when a worker does.
    """
    alone = train_undisturbed(spec, place, "undisturbed", say)
    disturbed, sent = train_disturbed(spec, place, alone, kills, seed, say)
    parts = compare(alone.folder, disturbed.folder)
    repeatable = None
    if what_differs(parts):
        say("something differs; training once more without a kill, to see whether that is the same")
        again = train_undisturbed(spec, place, "again", say)
        repeatable = not what_differs(compare(alone.folder, again.folder))
    return Verdict(
        parts=parts,
        kills=sent,
        steps=alone.steps.different("training"),
        steps_computed=disturbed.steps.computed("training"),
        suspects=explain(alone.folder, disturbed.folder) if repeatable else [],
        repeatable=repeatable,
    )


def shortened(spec: RunSpec, epochs: int) -> RunSpec:
    """The run with so many epochs at most; what happens at an epoch of its plan happens in proportion."""
    from dataclasses import replace

    if spec.training.epochs <= epochs:
        return spec
    share = epochs / spec.training.epochs
    optimizer = {
        "milestones": sorted({max(1, round(milestone * share)) for milestone in spec.optimizer.milestones}),
        "warmup_epochs": min(epochs - 1, -int(-spec.optimizer.warmup_epochs * share // 1)),
    }
    return replace(
        spec,
        training=spec.training.model_copy(update={"epochs": epochs}),
        optimizer=spec.optimizer.model_copy(update=optimizer),
        evaluation=spec.evaluation.model_copy(update={"every": min(spec.evaluation.every, epochs)}),
    )


def folder_for(results: Path) -> Path:
    """A new folder for trainings that are compared: on the file system of the results, which is part of the test."""
    from tempfile import mkdtemp

    from harness.store.files import make_folder, told_as

    make_folder(results / "cache")
    with told_as("make a folder in", results):
        folder = Path(mkdtemp(prefix="verify-resume-", dir=results))
        (folder / "cache").symlink_to((results / "cache").absolute())
    return folder
