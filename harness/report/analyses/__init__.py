"""The analyses: one file each, `analyze(evidence) -> Section`, from frames to text, tables and figures.

`ORDER` is the order of the page; a study chooses from it by name.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.report.analyses import (
    batch_samplers,
    convergence,
    cost,
    density,
    estimate,
    leaderboard,
    metric_correlation,
    mining,
    nir,
    parameters,
    reference,
    regularizers,
    saturation,
    selection,
    spectra,
    toy_lines,
    tuning,
    verdicts,
)
from harness.report.evidence import Evidence
from harness.report.section import Section

ORDER: dict[str, Callable[[Evidence], Section]] = {
    "leaderboard": leaderboard.analyze,
    "verdicts": verdicts.analyze,
    "tuning": tuning.analyze,
    "saturation": saturation.analyze,
    "reference": reference.analyze,
    "density": density.analyze,
    "metric_correlation": metric_correlation.analyze,
    "regularizers": regularizers.analyze,
    "batch_samplers": batch_samplers.analyze,
    "parameters": parameters.analyze,
    "nir": nir.analyze,
    "mining": mining.analyze,
    "toy_lines": toy_lines.analyze,
    "selection": selection.analyze,
    "convergence": convergence.analyze,
    "spectra": spectra.analyze,
    "cost": cost.analyze,
    "estimate": estimate.analyze,
}
