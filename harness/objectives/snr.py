"""Signal-to-noise-ratio loss (Yuan et al., 2019)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from harness.registry import OBJECTIVES
from harness.tuples import Triplets, masked_mean, members, needed, present


@OBJECTIVES.register("snr")
class SNR(nn.Module):
    """Mean over active triplets of [r(a,p) - r(a,n) + margin]+ plus zero_mean_weight * mean over triplets of |sum_k
    a_k|, r(u,v) = var(u - v) / var(u), the variances over coordinates.

    Defaults are those of the consistent comparison (Roth et al., 2020). Its code switches the second term off under
    distance-weighted mining but not under its rho-regularized form, so that the SNR and R-SNR rows of that paper
    differ in both: `zero_mean_weight` 0 for the former. A triplet whose anchor has no variance is not active.
    """

    takes = "triplets"
    normalize = True
    proxy_table: str | None = None
    revision = 1

    def __init__(self, *, margin: NonNegativeFloat = 0.2, zero_mean_weight: NonNegativeFloat = 0.005) -> None:
        super().__init__()
        self.margin = margin
        self.zero_mean_weight = zero_mean_weight

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B], triplets -> loss."""
        tuples = needed(tuples)
        anchor, positive, negative = members(embeddings, tuples)
        signal = variance(anchor)
        # A variance that is nothing but rounding would give ratios without bound.
        heard = signal > torch.finfo(signal.dtype).eps * anchor.square().mean(1)
        signal = torch.where(heard, signal, 1)
        terms = ((variance(anchor - positive) - variance(anchor - negative)) / signal + self.margin).relu()
        counts = present(tuples)
        offset = masked_mean(anchor.sum(1).abs(), counts)
        return masked_mean(terms, counts & heard & (terms > 0)) + self.zero_mean_weight * offset


def variance(x: Tensor) -> Tensor:
    """Variance over the coordinates: x [n, d] -> [n]. Biased or not does not matter to a ratio."""
    return (x - x.mean(1, keepdim=True)).square().mean(1)
