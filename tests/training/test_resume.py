"""Whatever a run trains with: killed after an epoch and continued, it ends like one that was left alone."""

import dataclasses

import pytest

from harness.errors import Interrupted
from harness.training.execute import Context, execute

EVERYTHING = {
    "training": {"ema": 0.9, "gradient_clip": 0.5, "precision": "bfloat16", "epochs": 4},
    "optimizer": {"schedule": "cosine", "warmup_epochs": 2, "backbone_lr_multiplier": 0.5},
}
SGD = {
    "training": {"ema": 0.5, "epochs": 4},
    "optimizer": {"name": "sgd", "milestones": [1, 3], "warmup_epochs": 1},
}
ADAMW = {"training": {"gradient_clip": 0.1, "epochs": 4}, "optimizer": {"name": "adamw", "schedule": "cosine"}}


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(tmp_path, bank_cache, checkpoint=tmp_path / "checkpoint.pt")


def killed_after(epoch):
    def tell(told):
        if told["epoch"] == epoch:
            raise Interrupted

    return tell


def numbers(result):
    assert result.state == "done", result.traceback
    return dataclasses.replace(result, cost={}, provenance={})


@pytest.mark.parametrize("settings", [EVERYTHING, SGD, ADAMW], ids=["everything", "sgd", "adamw"])
@pytest.mark.parametrize("parts", [("margin", "distance_weighted", ("rho", {"probability": 0.5})), ("proxy_nca", None)])
def test_a_run_killed_after_any_epoch_ends_like_an_undisturbed_one(settings, parts, spec_with, context, tmp_path):
    spec = spec_with(*parts, **settings)
    undisturbed = numbers(execute(spec, dataclasses.replace(context, checkpoint=tmp_path / "undisturbed.pt")))
    for epoch in (1, 2, 3):
        context.checkpoint.unlink(missing_ok=True)
        with pytest.raises(Interrupted):
            execute(spec, dataclasses.replace(context, on_progress=killed_after(epoch)))
        epochs = []
        resumed = execute(
            spec, dataclasses.replace(context, on_progress=lambda told, to=epochs: to.append(told["epoch"]))
        )
        assert epochs == list(range(epoch, 5))  # told first where it goes on; it went on and did not begin anew
        assert numbers(resumed) == undisturbed


def test_each_of_these_settings_moves_the_numbers(spec_with, context):
    plain = numbers(execute(spec_with("margin", "distance_weighted"), dataclasses.replace(context, checkpoint=None)))
    for section, name, value in (
        ("training", "ema", 0.9),
        ("training", "gradient_clip", 1e-3),
        ("training", "precision", "bfloat16"),
        ("optimizer", "schedule", "cosine"),
        ("optimizer", "warmup_epochs", 1),
        ("optimizer", "backbone_lr_multiplier", 0.5),
    ):
        spec = spec_with("margin", "distance_weighted", **{section: {name: value}})
        changed = numbers(execute(spec, dataclasses.replace(context, checkpoint=None)))
        assert changed.measurements != plain.measurements, name
