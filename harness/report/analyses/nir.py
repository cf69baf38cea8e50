"""Non-isotropy regularization: what it gains beside what was published, whether it acts, and what its controls say."""

from __future__ import annotations

from harness.report.analyses import _nir_arms, _nir_curves, _nir_gains
from harness.report.evidence import Evidence
from harness.report.section import Drawing, Section, Table

TITLE = "Does non-isotropy regularization help, and through what?"


def analyze(evidence: Evidence) -> Section:
    """Paired gains, structure, convergence, the ratio of gradients over epochs, and a verdict for each control arm."""
    text: list[str] = []
    tables: list[Table] = []
    drawings: list[Drawing] = []
    controls = _nir_arms.arms(evidence)
    if not controls.empty:
        tables.append(_nir_arms.arms_table(evidence, controls))
    numbers = _nir_gains.differences(evidence)
    if not numbers.empty:
        text += _nir_gains.gains_text(numbers) + _nir_gains.structure_text(numbers)
        tables += [_nir_gains.gains_table(evidence, numbers), _nir_gains.structure_table(evidence, numbers)]
    ratios = _nir_curves.gradient_ratios(evidence)
    if not ratios.empty:
        text += _nir_curves.ratio_text(ratios)
        tables.append(_nir_curves.ratio_table(evidence, ratios))
        drawings.append(_nir_curves.ratio_drawing(ratios))
    curves = _nir_curves.convergence(evidence)
    if not curves.empty:
        drawings.append(_nir_curves.convergence_drawing(curves))
    if not controls.empty:
        text += _nir_arms.arms_text(evidence, controls)
    if not tables:
        text.append("No run with the regularizer nir has results, or none has a plain counterpart.")
    return Section("nir", TITLE, text, tables, drawings)
