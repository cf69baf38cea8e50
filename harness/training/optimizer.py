"""One optimizer for everything that learns: backbone, embedding layer, objective and regularizer, each at its rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from harness.specs import Optimizer
from harness.training.network import EmbeddingNetwork


def make_optimizer(
    settings: Optimizer, epochs: int, network: EmbeddingNetwork, *others: nn.Module
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """The optimizer and its schedule, which takes one step an epoch.

    Backbone and embedding layer learn at `lr` times their multipliers, with weight decay. Parameters of objective and
    regularizer (proxies, margins, flows) have no weight decay and learn at `lr` times the multiplier that the part
    names for them in `lr_multipliers`. What does not require a gradient now is left out.
    """
    groups: list[dict[str, Any]] = [
        {"params": trainable(network.backbone), "lr": settings.lr * settings.backbone_lr_multiplier},
        {"params": trainable(network.embedding), "lr": settings.lr * settings.embedding_lr_multiplier},
    ]
    for module in others:
        groups += [{**group, "weight_decay": 0.0} for group in _at_their_rates(module, settings.lr)]
    optimizer = _optimizer(settings, [group for group in groups if group["params"]])
    return optimizer, _schedule(settings, epochs, optimizer)


def _at_their_rates(module: nn.Module, lr: float) -> list[dict[str, Any]]:
    """The parameters of a part, those of one rate in one group: a fused step takes a group at a time."""
    multipliers: dict[str, float] = getattr(module, "lr_multipliers", {})
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        by_rate.setdefault(lr * multipliers.get(name, 1.0), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in by_rate.items()]


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of a module that learn."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Everything that an optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def hold(backbone: nn.Module, weights: Iterable[nn.Parameter], held: bool) -> None:
    """Keep a backbone as it is, or let it learn again; `weights` are those of its parameters that ever learn.

    Held, it is computed in evaluation mode and without gradients, so that nothing of it moves: neither its weights, by
    weight decay either, nor the statistics of its batch norms.
    """
    for weight in weights:
        weight.requires_grad_(not held)
    if held:
        backbone.eval()


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The norm of the gradient of all parameters together."""
    return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def _schedule(settings: Optimizer, epochs: int, optimizer: torch.optim.Optimizer) -> LRScheduler:
    if settings.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=epochs)
    return MultiStepLR(optimizer, settings.milestones, settings.gamma)


def _optimizer(settings: Optimizer, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, eps=settings.eps, weight_decay=settings.weight_decay, fused=True)
