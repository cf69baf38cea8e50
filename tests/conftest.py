"""Shared by all tests: one thread a process, miniature runs, and a data set that is drawn once."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from harness.specs import Evaluation, Optimizer, RunSpec, Training


@pytest.fixture(scope="session")
def bank_cache(tmp_path_factory) -> Path:
    """Where image banks are kept for the whole session."""
    return tmp_path_factory.mktemp("banks")


@pytest.fixture
def harness(monkeypatch, capsys, tmp_path):
    """Runs `harness ARGUMENTS` in an empty folder; gives exit code, stdout and stderr."""
    from harness.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def mini_spec():
    """A function that makes the spec of a run of seconds: 8 + 8 letters, 6 of each; keyword arguments change it."""
    return make_mini_spec


def make_mini_spec(
    objective="triplet",
    miner="semihard",
    regularizer=None,
    seed=0,
    epochs=2,
    lr=1e-3,
    evaluation=None,
    **options,
) -> RunSpec:
    from harness.registry import BACKBONES, DATASETS, MINERS, OBJECTIVES, REGULARIZERS, SAMPLERS

    return RunSpec(
        dataset=DATASETS.check("glyphs", {"instances": 6, "classes": 8}),
        backbone=BACKBONES.check("convnet", {"embedding_dim": 8}),
        objective=OBJECTIVES.check(objective, options),
        miner=MINERS.check(miner) if miner else None,
        regularizer=REGULARIZERS.check(*regularizer) if regularizer else None,
        sampler=SAMPLERS.check("class_balanced"),
        seed=seed,
        training=Training(epochs=epochs, batch_size=16, augmentation="shift"),
        optimizer=Optimizer(lr=lr),
        evaluation=evaluation or Evaluation(),
    )
