"""How densely classes lie in the embedding space (Roth et al., 2020, section 5; Wang and Isola, 2020)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from harness.errors import DataError
from harness.geometry import normalized
from harness.measured import Measured, checked, classes_of
from harness.registry import METRICS
from harness.seeding import seed_for

TILE = 512
"""Rows and columns of one tile of similarities; in float32 it is 1 MiB and stays in the cache."""


ROWS = 8192
"""Rows that are turned into float64 at a time; a copy of all of them could be larger than anything else."""


@METRICS.register("density")
class Density:
    """Distances within and between classes; cosine distance d = 1 - cos, u = the embedding at unit length.

    pi_intra    mean over classes of the mean d of all pairs of one class; classes of one sample have none.
    pi_inter    mean d of all pairs of normalized class means (the mean of the embeddings as given).
    density     pi_intra / max(pi_inter, 1e-8); larger is denser in the sense of the paper.
    alignment   mean |u_i - u_j|^2 over all pairs of one class.
    uniformity  log of the mean exp(-2 |u_i - u_j|^2) over all pairs i != j; above `uniformity_rows` samples on a
                seeded sample of that many rows (0: always all).

    `structure` adds the candidates for the structure table of Roth et al. (2022):

    gaussian_potential      exp(uniformity), their G_2
    concentration           mean over classes of the estimate of the von Mises-Fisher concentration (Banerjee et al.,
                            2005), r (D - r^2) / (1 - r^2) with r the length of the mean u; infinite for equal samples
    concentration_variance  its variance over classes
    """

    names: tuple[str, ...] = ("pi_intra", "pi_inter", "density", "alignment", "uniformity")
    revision = 1
    definitions: ClassVar[dict[str, str]] = {
        "pi_intra": "mean over classes of the mean of 1 - cos over pairs of the class; Roth et al., 2020, section 5",
        "pi_inter": "mean of 1 - cos over pairs of class means; Roth et al., 2020, section 5",
        "density": "pi_intra / max(pi_inter, 1e-8); Roth et al., 2020, section 5",
        "alignment": "mean of |u_i - u_j|^2 over pairs of a class, u at unit length; Wang and Isola, 2020, exponent 2",
        "uniformity": "log of the mean of exp(-2 |u_i - u_j|^2) over pairs i != j; Wang and Isola, 2020, t = 2",
        "gaussian_potential": "mean of exp(-2 |u_i - u_j|^2) over pairs i != j; Roth et al., 2022, their G_2",
        "concentration": "mean over classes of r (D - r^2) / (1 - r^2), r = |mean u|; Banerjee et al., 2005",
        "concentration_variance": "variance over classes of r (D - r^2) / (1 - r^2), r = |mean u|; "
        "Banerjee et al., 2005",
    }

    def __init__(self, *, uniformity_rows: int = 10_000, structure: bool = False) -> None:
        self.uniformity_rows = uniformity_rows
        self.structure = structure
        if structure:
            self.names = (*Density.names, "gaussian_potential", "concentration", "concentration_variance")

    def __call__(self, embeddings: Tensor, labels: Tensor, seed: int) -> Measured:
        """Measures embeddings [N, D] with labels int64 [N]; the seed decides on the sample for uniformity."""
        embeddings, labels = checked(embeddings, labels)
        classes, index, counts = classes_of(labels)
        if not bool((counts > 1).any()):
            raise DataError("density needs a class with two samples; every class has only one")
        units = normalized(embeddings)
        pair_sums = class_pair_distances(units, index, counts)
        paired = counts > 1
        pairs = (counts * (counts - 1)).double()
        intra = (pair_sums / pairs)[paired]
        inter = mean_distance_between_classes(embeddings, index, counts)
        values = {
            "pi_intra": float(intra.mean()),
            "pi_inter": inter,
            "density": float(intra.mean()) / max(inter, 1e-8),
            "alignment": float(2 * pair_sums.sum() / pairs.sum()),
            "uniformity": uniformity(self._rows(units, seed)),
        }
        per_class = {"pi_intra": intra}
        if self.structure:
            concentration = concentrations(units, index, counts)[paired]
            values["gaussian_potential"] = math.exp(values["uniformity"])
            values["concentration"] = float(concentration.mean())
            values["concentration_variance"] = float(concentration.var(unbiased=False))
            per_class["concentration"] = concentration
        present = classes[paired].tolist()
        return Measured(
            values,
            per_class={name: dict(zip(present, each.tolist(), strict=True)) for name, each in per_class.items()},
        )

    def _rows(self, units: Tensor, seed: int) -> Tensor:
        if self.uniformity_rows == 0 or len(units) <= self.uniformity_rows:
            return units
        generator = torch.Generator().manual_seed(seed_for(seed, "uniformity"))
        chosen = torch.randperm(len(units), generator=generator)[: self.uniformity_rows]
        return units[chosen.to(units.device)]


def class_pair_distances(units: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    """Sum of 1 - cos over the ordered pairs i != j of each class: units [N, D], index [N], counts [C] -> [C] float64.

    Closed form: the sum of u_i . u_j over i != j is |sum of u|^2 - sum of |u|^2, so no pair is ever looked at.
    """
    sums = class_sums(units, index, len(counts))
    own = torch.zeros(len(counts), dtype=torch.float64, device=units.device)
    for start in range(0, len(units), ROWS):
        rows = slice(start, start + ROWS)
        own.index_add_(0, index[rows], units[rows].double().square().sum(1))
    return counts * (counts - 1) - (sums.square().sum(1) - own)


def mean_distance_between_classes(embeddings: Tensor, index: Tensor, counts: Tensor) -> float:
    """Mean 1 - cos over ordered pairs of class means; nan for a single class."""
    number = len(counts)
    if number < 2:
        return math.nan
    means = normalized(class_sums(embeddings, index, number))
    similarity = means.sum(0).square().sum() - means.square().sum()
    return float(1 - similarity / (number * (number - 1)))


def concentrations(units: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    """Estimated von Mises-Fisher concentration of each class: units [N, D], index [N], counts [C] -> [C] float64."""
    squared = (class_sums(units, index, len(counts)) / counts[:, None]).square().sum(1).clamp_max(1)
    return squared.sqrt() * (units.shape[1] - squared) / (1 - squared)


def class_sums(rows: Tensor, index: Tensor, number: int) -> Tensor:
    """Sums of the rows [N, D] of each class -> float64 [number, D]."""
    sums = torch.zeros(number, rows.shape[1], dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), ROWS):
        sums.index_add_(0, index[start : start + ROWS], rows[start : start + ROWS].double())
    return sums


def uniformity(units: Tensor) -> float:
    """log mean exp(-2 |u_i - u_j|^2) over pairs i != j of units [N, D], exact, in tiles of the upper triangle."""
    total = torch.zeros((), dtype=torch.float64, device=units.device)
    potential = GaussianPotential(units)
    for start in range(0, len(units), TILE):
        rows = slice(start, start + TILE)
        # A tile on the diagonal has its pairs twice and its samples once; any other stands for its mirror image, too.
        total += potential(rows, rows).fill_diagonal_(0).sum(dtype=torch.float64)
        for first in range(start + TILE, len(units), TILE):
            total += 2 * potential(rows, slice(first, first + TILE)).sum(dtype=torch.float64)
    return math.log(float(total) / (len(units) * (len(units) - 1)))


class GaussianPotential:
    """exp(-2 |u_i - u_j|^2) of one tile of pairs after the other, all in the same memory: units [N, D]."""

    def __init__(self, units: Tensor) -> None:
        self.units = units
        self.norms = units.square().sum(1) * -2
        self.memory = units.new_empty(TILE * TILE)

    def __call__(self, rows: slice, columns: slice) -> Tensor:
        """The tile of these rows and columns; overwritten by the next one."""
        left, right = self.units[rows], self.units[columns]
        tile = self.memory[: len(left) * len(right)].view(len(left), len(right))
        torch.addmm(self.norms[columns], left, right.T, alpha=4, out=tile)
        return tile.add_(self.norms[rows, None]).exp_()
