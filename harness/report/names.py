"""How metrics are written for people: title, unit, digits, and which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.report.statistics import Coefficient, Mean

RHO = "\N{GREEK SMALL LETTER RHO}"
SPEARMAN = "r\N{LATIN SUBSCRIPT SMALL LETTER S}"
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@dataclass(frozen=True)
class Metric:
    """`title` for tables and figures; percent metrics are stored as fractions and shown times 100."""

    title: str
    percent: bool = True
    digits: int = 1

    @property
    def scale(self) -> float:
        """What a stored value is multiplied with to be shown."""
        return 100.0 if self.percent else 1.0

    @property
    def axis(self) -> str:
        """The title with its unit."""
        return f"{self.title} (%)" if self.percent else self.title


METRICS = {
    **{f"recall_at_{k}": Metric(f"R@{k}") for k in (1, 2, 4, 8, 10, 16, 20, 30, 40, 100, 1000)},
    "map_at_r": Metric("mAP@R"),
    "map_at_c": Metric("mAP@C"),
    "map_at_1000": Metric("mAP@1000"),
    "r_precision": Metric("R-precision"),
    "map": Metric("mAP"),
    "nmi": Metric("NMI"),
    "ami": Metric("AMI"),
    "f1": Metric("F1"),
    "pi_intra": Metric("π intra", percent=False, digits=3),
    "pi_inter": Metric("π inter", percent=False, digits=3),
    "density": Metric("density", percent=False, digits=3),
    "rho": Metric(f"spectral decay {RHO}", percent=False, digits=3),
    "alignment": Metric("alignment", percent=False, digits=3),
    "uniformity": Metric("uniformity", percent=False, digits=2),
    "gaussian_potential": Metric("Gaussian potential", percent=False, digits=3),
    "concentration": Metric("concentration", percent=False, digits=1),
    "concentration_variance": Metric("variance of concentration", percent=False, digits=1),
    "effective_rank": Metric("effective rank", percent=False, digits=1),
    "loss": Metric("loss", percent=False, digits=3),
}

QUALITY = tuple(name for name, metric in METRICS.items() if metric.percent)
"""Metrics that say how good an embedding is; higher is better."""

STATISTICS = ("pi_intra", "pi_inter", "density", "rho")
"""Properties of the embedding of the training classes that are held against generalization."""

DATASETS = {
    "glyphs": "glyphs",
    "omniglot": "Omniglot",
    "cub200": "CUB200-2011",
    "cars196": "CARS196",
    "sop": "SOP",
    "in_shop": "In-Shop",
}

SELECTIONS = {
    "last": "last epoch",
    "best_validation": "best epoch by validation R@1",
    "best_test": "best epoch by test R@1 (selected on test)",
}


def metric(name: str) -> Metric:
    """How a metric is written; one that is not known is shown as it is stored."""
    return METRICS.get(name, Metric(name, percent=False, digits=3))


def dataset_title(name: str) -> str:
    """A data set as papers write it."""
    return DATASETS.get(name, name)


def mean_text(mean: Mean, name: str) -> str:
    """`63.1 ± 0.4`; without an interval `63.1 (n=1)`; without a value a dash."""
    known = metric(name)
    if mean.n == 0:
        return DASH
    value = number(mean.mean * known.scale, known.digits)
    if mean.half_width is None:
        return f"{value} (n=1)"
    return f"{value} ± {mean.half_width * known.scale:.{known.digits}f}"


def cell_text(mean: Mean, name: str, done: int) -> str:
    """As `mean_text`, with its n where that is not the number of runs of the row that are done."""
    text = mean_text(mean, name)
    return text if mean.n in (0, 1, done) else f"{text} (n={mean.n})"


def coefficient_text(coefficient: Coefficient) -> str:
    """`−0.80 [−0.92, −0.51]`; the reason where there is no coefficient."""
    if coefficient.value is None:
        return f"{DASH} ({coefficient.reason})"
    text = number(coefficient.value, 2)
    if coefficient.low is None or coefficient.high is None:
        return f"{text} (no interval: {coefficient.reason})"
    return f"{text} [{number(coefficient.low, 2)}, {number(coefficient.high, 2)}]"


def number(value: float | None, digits: int = 1) -> str:
    """A number with a true minus sign, or a dash for none."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) != 0 else text.lstrip("-")
