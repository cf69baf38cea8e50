"""What a run tells of how far its weights and proxies move."""

import pytest
import torch
from torch import nn

from harness.registry import build
from harness.training.assemble import Context, assemble
from harness.training.epoch import train_one_epoch
from harness.training.history import History
from harness.training.movement import directions, movement


def test_a_step_of_proxies_is_the_mean_distance_of_their_directions():
    objective = build("objective", "soft_triple", num_classes=2, embedding_dim=2, centers_per_class=2)
    objective.centers.data = torch.tensor([[[1.0, 0], [0, 2]], [[3, 0], [0, 4]]])
    before = directions(objective)
    objective.centers.data = torch.tensor([[[0.0, 5], [0, 1]], [[-1, 0], [0, 1]]])
    assert movement([], before, objective) == {"proxy_step": pytest.approx((2**0.5 + 0 + 2 + 0) / 4)}


def test_the_weight_norm_is_that_of_all_weights_together():
    weights = [torch.full((2, 2), 1.0), torch.full((5,), 1.0)]
    assert movement(weights, None, nn.Identity()) == {"backbone_weight_norm": pytest.approx(3.0)}


def test_both_are_curves_of_every_run_that_has_them(mini_spec, bank_cache, tmp_path):
    told = {}
    for objective, miner in (("proxy_nca", None), ("triplet", "random")):
        history, context = History(), Context(tmp_path, bank_cache)
        parts = assemble(mini_spec(objective, miner), context)
        for _ in range(2):
            train_one_epoch(parts, history, context)
        told[objective] = history.curves
    assert list(told["proxy_nca"]["train/proxy_step"]) == [1, 2]
    assert 0 < told["proxy_nca"]["train/proxy_step"][2] < 2
    norm = torch.cat([weight.detach().flatten() for weight in parts.network.backbone.parameters()]).norm()
    assert told["triplet"]["train/backbone_weight_norm"][2] == pytest.approx(float(norm), rel=1e-5)
    assert "train/proxy_step" not in told["triplet"]
