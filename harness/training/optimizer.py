"""One optimizer for everything that learns: network, objective and regularizer in groups of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.specs import Optimizer
from harness.training.network import EmbeddingNetwork


def make_optimizer(
    settings: Optimizer, network: EmbeddingNetwork, *others: nn.Module
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimizer and its schedule.

    The network learns at `lr` with weight decay. Parameters of objective and regularizer (proxies, margins, flows) have
    no weight decay and learn at `lr` times the multiplier that the part names for them in `lr_multipliers`.
    """
    groups: list[dict[str, Any]] = [
        {"params": trainable(network.backbone), "lr": settings.lr},
        {"params": trainable(network.embedding), "lr": settings.lr * settings.embedding_lr_multiplier},
    ]
    for module in others:
        multipliers: dict[str, float] = getattr(module, "lr_multipliers", {})
        for name, parameter in module.named_parameters():
            lr = settings.lr * multipliers.get(name, 1.0)
            groups.append({"params": [parameter], "lr": lr, "weight_decay": 0.0})
    optimizer = _optimizer(settings, [group for group in groups if group["params"]])
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, settings.gamma)
    return optimizer, schedule


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of a module that learn."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _optimizer(settings: Optimizer, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
