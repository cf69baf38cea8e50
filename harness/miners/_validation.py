"""Training classes that are held out, and how badly their samples find each other.

FOUND: the controller's target may be the current error on samples that are not trained on. RECONSTRUCTED: these are a
tenth of the training classes, never test classes, and the error is 1 - R@1 among them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import DataError
from harness.geometry import at_least_float32, normalized, squared_distances
from harness.miners._members import Ints, Members

SHARE = 0.1
ROWS = 1024


def held_out(labels: Ints, generator: torch.Generator) -> tuple[Ints, Ints]:
    """Samples to train on and samples held out, of disjoint classes. Raises DataError where that leaves too few."""
    members = Members.by(labels)
    classes = len(members.size)
    count = max(2, round(SHARE * classes))
    order = torch.randperm(classes, generator=generator).numpy()
    out = torch.zeros(classes, dtype=torch.bool).numpy()
    out[order[:count]] = True
    chosen = out[members.of]
    kept, away = (~chosen).nonzero()[0], chosen.nonzero()[0]
    if classes - count < 2 or not len(Members.by(labels[away]).anchors) or not len(Members.by(labels[kept]).anchors):
        raise DataError(
            f"of {classes} training classes, {count} cannot be held out for `target: val`, which needs pairs on both "
            "sides; right would be a number as target, or more classes"
        )
    return kept, away


def validation_error(embeddings: Tensor, labels: Ints, samples: Ints) -> float:
    """1 - R@1 among the samples that have a partner: embeddings of the training set [N, D], labels [N]."""
    rows = normalized(at_least_float32(embeddings[torch.from_numpy(samples).to(embeddings.device)]))
    own = torch.from_numpy(labels[samples]).to(rows.device)
    queries = torch.from_numpy(Members.by(labels[samples]).anchors).to(rows.device)
    wrong = 0
    for some in torch.split(queries, ROWS):
        distances = squared_distances(rows[some], rows)
        distances[torch.arange(len(some), device=rows.device), some] = torch.inf
        wrong += int((own[distances.argmin(1)] != own[some]).sum())
    return wrong / len(queries)
