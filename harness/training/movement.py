"""How far training moves what it moves: the length of the backbone's weights, and the last step of the proxies."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from harness.geometry import normalized


def directions(objective: nn.Module) -> Tensor | None:
    """A copy of the class representatives at unit length, [n, D]; None for an objective without."""
    name = getattr(objective, "proxy_table", None)
    if name is None:
        return None
    table: Tensor = getattr(objective, name).detach()
    return normalized(table.flatten(0, -2))


def movement(weights: Iterable[Tensor], before: Tensor | None, objective: nn.Module) -> dict[str, float]:
    """Numbers of an epoch, from the backbone's weights after it and the directions before its last step.

    backbone_weight_norm  Euclidean norm of all weights of the backbone together; not told where none learns
    proxy_step            mean over proxies of the distance that their direction moved in the last step: losses look at
                          the direction alone, so that a long proxy moves less than its learning rate says
    """
    numbers = {}
    weights = list(weights)
    if weights:
        numbers["backbone_weight_norm"] = float(torch.nn.utils.get_total_norm([weight.detach() for weight in weights]))
    after = directions(objective) if before is not None else None
    if before is not None and after is not None:
        numbers["proxy_step"] = float((after - before).double().norm(dim=1).mean())
    return numbers
