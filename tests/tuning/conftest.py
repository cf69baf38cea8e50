"""A small tuned study, and a trainer that needs no training: what a run gives is a formula of its spec."""

import math
import textwrap

import pytest
from tuned_study import STUDY

from harness.errors import StudyError
from harness.specs import Curve, RunResult
from harness.store.spool import RunFolder
from harness.study import Study


@pytest.fixture
def load(tmp_path):
    """Loads the small study with lines replaced: `load(("folds: 3", "folds: 2"), ...)`; keywords go to `Study.load`."""

    def read(*replaced, **options):
        text = STUDY
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mini.yaml"
        path.write_text(textwrap.dedent(text))
        return Study.load(path, **options)

    return read


@pytest.fixture
def refused(load):
    """What is said of a study that cannot be; its mistakes alone."""

    def read(*replaced, **options):
        with pytest.raises(StudyError) as caught:
            load(*replaced, **options)
        return str(caught.value)

    return read


class Formula:
    """Trains runs by a formula: mAP@R is highest in epoch 2, for a learning rate near 0.002 and a margin near 0.3.

    `fails(spec)` says of which runs to make failures; with `budget` runs are finished one by one until that many are,
    and then the trainer is killed, as by a signal.
    """

    def __init__(self, results, fails=lambda spec: False, budget=math.inf, order=list):
        self.results, self.fails, self.budget, self.order = results, fails, budget, order
        self.asked, self.trained = [], []

    def __call__(self, specs):
        self.asked.append([spec.run_id for spec in specs])
        for spec in self.order(specs):
            folder = RunFolder(self.results, spec.run_id)
            folder.write_spec(spec)
            lease = folder.take()
            if lease is None:
                continue
            if len(self.trained) >= self.budget:
                folder.abandon(lease)
                raise KeyboardInterrupt
            folder.publish(result_of(spec, self.fails(spec)), lease)
            self.trained.append(spec.run_id)


def result_of(spec, failed=False):
    if failed:
        return RunResult(spec.run_id, "failed", cause="diverged", message="the loss became nan")
    margin = spec.objective.options.get("margin", 0.3)
    height = 0.5 - 0.1 * abs(math.log10(spec.optimizer.lr / 2e-3)) - 0.2 * abs(margin - 0.3) + 0.01 * spec.tuned.fold
    values = [height - 0.05 * abs(epoch - 2) for epoch in range(1, spec.training.epochs + 1)]
    curve = Curve("validation", "map_at_r", list(range(1, spec.training.epochs + 1)), values)
    classes = {"train": f"train {spec.tuned.fold}", "validation": f"out {spec.tuned.fold}", "test": "test"}
    return RunResult(
        spec.run_id,
        "done",
        curves=[curve],
        cost={"setup_seconds": 0.5, "total_seconds": 1.5},
        provenance={"classes": classes},
    )


@pytest.fixture
def formula():
    return Formula
