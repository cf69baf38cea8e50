"""Wrong labels on purpose: what `label_noise` of a data set does to its training images."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.seeding import seed_for


def noisy_labels(labels: Tensor, share: float, seed: int) -> Tensor:
    """Labels int64 [N], of which a share (rounded to whole images) are another class that occurs, uniform over these.

    Which images and which classes depends on the run's seed alone, so that methods with the same seed are misled alike.
    """
    generator = torch.Generator().manual_seed(seed_for(seed, "label_noise"))
    known, of = torch.unique(labels.cpu(), return_inverse=True)
    wrong = torch.randperm(len(of), generator=generator)[: round(share * len(of))]
    step = torch.randint(1, max(2, len(known)), (len(wrong),), generator=generator)
    of[wrong] = (of[wrong] + step) % len(known)
    noisy: Tensor = known[of].to(labels.device)
    return noisy
