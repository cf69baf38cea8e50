"""Frozen backbones in a study: what does not go with them is told before anything starts."""

import pytest

from harness.registry import BACKBONES


class Ready:
    def __init__(self, *, weights: str = "none") -> None:
        pass


@pytest.fixture(autouse=True)
def _ready(monkeypatch):
    monkeypatch.setitem(BACKBONES._parts, "ready", Ready)


def with_backbone(backbone, training="", optimizer=""):
    sections = f"  objective: whole\n  training: {{{training}}}\n  optimizer: {{{optimizer}}}\n"
    return f"{sections}grid: [{{backbone: {backbone}}}]"


@pytest.mark.parametrize(
    ("backbone", "others", "message"),
    [
        ("{name: tiny, views: 8}", {}, "8: 8 views are kept of the features of a frozen backbone"),
        (
            "{name: ready, weights: w.npz, trainable: head, views: 8}",
            {"training": "augmentation: none"},
            "8: with `augmentation: none` all 8 views of an image are the same; right would be `views: 1`",
        ),
        (
            "{name: ready, trainable: head}",
            {},
            "head: a frozen backbone (`trainable: head`) gives what its ready weights have learned, but backbone "
            "'ready' has `weights: none` here, so that its features would be those of random weights",
        ),
        ("{name: tiny, trainable: head}", {}, "head: a frozen backbone .* backbone 'tiny' has no option `weights`"),
        (
            "{name: ready, weights: w.npz, trainable: head}",
            {"optimizer": "warmup_epochs: 3"},
            "3: the first `warmup_epochs` train everything but the backbone, .*right would be `warmup_epochs: 0`",
        ),
        (
            "{name: ready, weights: w.npz, trainable: head}",
            {"optimizer": "backbone_lr_multiplier: 0.1"},
            "0.1: a frozen backbone (`trainable: head`) does not learn, so it has no learning rate to multiply",
        ),
    ],
)
def test_what_does_not_go_with_a_frozen_backbone_is_told_at_its_place(refused, backbone, others, message):
    told = refused(with_backbone(backbone, **others))
    assert told.startswith("small.yaml: 1 mistake\n")
    marked, _, rest = message.partition(": ")
    *_, line, caret = told.splitlines()
    assert line[caret.index("^") : caret.rindex("^") + 1] == marked
    assert all(part in told for part in rest.split(".*"))


@pytest.mark.parametrize(
    ("backbone", "others"),
    [
        ("{name: ready, weights: w.npz, trainable: head, views: 8}", {}),
        ("{name: ready, weights: w.npz, trainable: head}", {"training": "augmentation: none"}),
        ("{name: tiny, layer_norm: true}", {"optimizer": "warmup_epochs: 3, backbone_lr_multiplier: 0.1"}),
        ("{name: ready, weights: none}", {"training": "augmentation: none"}),
    ],
)
def test_what_goes_together_is_accepted(load, backbone, others):
    (run,) = load(with_backbone(backbone, **others)).runs()
    assert {"trainable", "views", "layer_norm", "embedding_dim"} <= set(run.backbone.options)


def test_the_views_of_a_broken_backbone_are_not_judged(refused):
    told = refused(with_backbone("{name: tiny, views: many}"))
    assert "1 mistake" in told
    assert "'views'" in told


def test_convnet_cannot_be_frozen(refused):
    assert "backbone 'convnet' has no option `weights`" in refused(with_backbone("{name: convnet, trainable: head}"))
