"""The analyses: one file each, `analyze(evidence) -> Section`, from frames to text, tables and figures.

`ORDER` is the order of the page; a study chooses from it by name.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.report.analyses import (
    convergence,
    cost,
    density,
    estimate,
    leaderboard,
    metric_correlation,
    mining,
    nir,
    regularizers,
    saturation,
    spectra,
)
from harness.report.evidence import Evidence
from harness.report.section import Section

ORDER: dict[str, Callable[[Evidence], Section]] = {
    "leaderboard": leaderboard.analyze,
    "saturation": saturation.analyze,
    "density": density.analyze,
    "metric_correlation": metric_correlation.analyze,
    "regularizers": regularizers.analyze,
    "nir": nir.analyze,
    "mining": mining.analyze,
    "convergence": convergence.analyze,
    "spectra": spectra.analyze,
    "cost": cost.analyze,
    "estimate": estimate.analyze,
}
