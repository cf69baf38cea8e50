"""Spectral decay of the embeddings (Roth et al., 2020, section 5): how many directions are in use."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from harness.errors import OptionError
from harness.measured import Measured, checked
from harness.registry import METRICS

ROWS = 8192
"""Rows that are turned into float64 at a time; a copy of all of them could be larger than anything else."""


@METRICS.register("spectrum")
class Spectrum:
    """Numbers of the normalized singular values q of the embeddings, which are not centered.

    rho             KL(uniform || q) in nats, without the largest singular value ("mode 2" of the published code, on all
                    remaining values; its CPU path loses the smallest). Low: a flat spectrum, many directions in use.
                    Infinite where a direction is not used at all.
    effective_rank  exp(entropy of q) (Roy and Vetterli, 2007), between 1 and min(N, D).

    `modes` adds rho_mode_<m> for other modes of the published code (`spectral_decay`), such as 1, -1 or 10; a
    negative m reads rho_mode_minus_<m>.
    """

    names: tuple[str, ...] = ("rho", "effective_rank")
    revision = 1
    definitions: ClassVar[dict[str, str]] = {
        "rho": "KL(uniform || q), q the singular values but the largest, with sum 1; Roth et al., 2020, section 5",
        "effective_rank": "exp(-sum of q log q), q all singular values, with sum 1; Roy and Vetterli, 2007",
        "rho_mode_<m>": "KL(uniform || q), q without the m - 1 largest singular values; the code of Roth et al., 2020",
        "rho_mode_minus_<m>": "KL(q || uniform), q without the m - 1 largest singular values; "
        "the code of Roth et al., 2020",
    }

    def __init__(self, *, modes: list[int] = []) -> None:  # noqa: B006 - the signature is the schema; never changed
        if 0 in modes:
            raise OptionError("mode 0 of the spectrum is no number but the spectrum itself, which is always kept")
        self.modes = {f"rho_mode_{mode}".replace("-", "minus_"): mode for mode in modes}
        self.names = (*Spectrum.names, *self.modes)

    def __call__(self, embeddings: Tensor, labels: Tensor, seed: int) -> Measured:
        """Measures embeddings [N, D]; labels and seed play no part."""
        embeddings, labels = checked(embeddings, labels)
        singular = singular_values(embeddings)
        values = {"rho": spectral_decay(singular, mode=2), "effective_rank": effective_rank(singular)}
        values |= {name: spectral_decay(singular, mode) for name, mode in self.modes.items()}
        total = singular.sum().clamp_min(torch.finfo(singular.dtype).tiny)
        return Measured(values, spectrum=(singular / total).tolist())


def singular_values(embeddings: Tensor) -> Tensor:
    """All min(N, D) singular values of embeddings [N, D], largest first, in float64.

    They come from the Gram matrix in float64, where the relative error of a value s is about 1e-16 (s_1 / s)^2 / 2;
    where the smallest is below 1e-4 of the largest, from a full singular value decomposition.
    """
    tall = embeddings if embeddings.shape[0] >= embeddings.shape[1] else embeddings.T
    gram = torch.zeros(tall.shape[1], tall.shape[1], dtype=torch.float64, device=tall.device)
    for start in range(0, len(tall), ROWS):
        rows = tall[start : start + ROWS].double()
        gram.addmm_(rows.T, rows)
    singular: Tensor = torch.linalg.eigvalsh(gram).flip(0).clamp_min(0).sqrt()
    if singular[-1] > 1e-4 * singular[0]:
        return singular
    exact = embeddings.double()
    singular = torch.linalg.svdvals(exact)
    # What rounding leaves of a direction that is not there is no singular value.
    noise = max(exact.shape) * torch.finfo(exact.dtype).eps * singular[0]
    return torch.where(singular > noise, singular, 0)


def spectral_decay(singular: Tensor, mode: int = 2) -> float:
    """Divergence between singular values [n], largest first, and the uniform distribution.

    Mode m > 0 drops the first m - 1 values and gives KL(uniform || q); m < 0 drops |m| - 1 and gives KL(q || uniform).
    nan where nothing is left to compare.
    """
    kept = singular[abs(mode) - 1 :]
    if len(kept) == 0 or float(kept.sum()) == 0:
        return math.nan
    q = kept / kept.sum()
    if mode > 0:
        return float(-(q * len(q)).log().mean())
    return float(torch.xlogy(q, q * len(q)).sum())


def effective_rank(singular: Tensor) -> float:
    """exp of the entropy of normalized singular values [n]; nan where all are zero."""
    if float(singular.sum()) == 0:
        return math.nan
    q = singular / singular.sum()
    return float((-torch.xlogy(q, q).sum()).exp())
