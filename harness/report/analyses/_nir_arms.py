"""The control arms of non-isotropy regularization, each against the arm that differs from it in one thing."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report.analyses._nir_names import Cell, cells_of_arms, questions_of_arms, short_names
from harness.report.evidence import Evidence, axes
from harness.report.names import MINUS, mean_text, metric, number
from harness.report.section import Table
from harness.report.statistics import Comparison, Mean, Vector, compare, t_interval

COMPARISONS = (
    ("A1", "A0", "the settings of the published NIR runs, without NIR"),
    ("A2", "A1", "the proxy loss times the weight: more weight decay and a larger eps of Adam"),
    ("A3", "A1", "the same, with weight decay and eps scaled back: must be equal"),
    ("A4", "A0", "the comparison as published"),
    ("A4", "A1", "released NIR at equal settings"),
    ("A4", "A2", "the flow of released NIR, all else equal"),
    ("A5", "A4", "its flow detached, so that nothing feels it"),
    ("A5", "A2", "a flow that nothing feels, against none: must be equal"),
    ("A6", "A0", "the form of the paper"),
    ("A7", "A6", "the form of the paper without its condition"),
    ("A8", "A6", "the form of the paper with proxies of shuffled labels"),
)
"""Arm, what it is held against, and what the two differ in."""

IDENTITIES = {("A3", "A1"), ("A5", "A2")}
ENOUGH = 0.01
"""A difference in R@1 of one percent point is worth telling; inside of it, two arms are practically equal."""

RECALL = "recall_at_1"


def arms(evidence: Evidence) -> pd.DataFrame:
    """One row a comparison and setting: arm, against, differ, setting, name and base_name (short), method, base,
    difference, low, high, sd, n, needed, verdict, question. R@1 on test, paired by seed."""
    rows, differences = _compared(evidence)
    judged = iter(compare([d for row, d in zip(rows, differences, strict=True) if not _identity(row)], ENOUGH))
    found = []
    for row, values in zip(rows, differences, strict=True):
        mean = t_interval(values)
        comparison = None if _identity(row) else next(judged)
        row |= {"difference": mean.mean, "low": mean.low, "high": mean.high, "sd": mean.sd, "n": mean.n}
        row |= {"needed": comparison.needed if comparison else None}
        found.append(row | {"verdict": verdict(comparison) if comparison else verdict_on_identity(mean)})
    return pd.DataFrame(found)


def verdict(judged: Comparison) -> str:
    """What may be said of a paired difference in R@1: no more than the runs do."""
    mean = judged.mean
    if mean.n == 0:
        return "no seed has both"
    if judged.verdict in ("better", "worse"):
        return f"{judged.verdict} by more than one point"
    if judged.verdict == "practically equal" or mean.low is None or mean.high is None:
        return judged.verdict
    hint = "better" if mean.low > 0 else "worse" if mean.high < 0 else ""
    text = f"not enough runs, though its interval says {hint}" if hint else "not enough runs"
    return f"{text}; about {judged.needed} seeds would decide" if judged.needed else text


def verdict_on_identity(mean: Mean) -> str:
    """What may be said of two arms that only rounding could tell apart."""
    if mean.n == 0:
        return "no seed has both"
    largest = max(abs(mean.mean), mean.half_width or 0.0)
    if largest < 1e-9:
        return "equal, as it must be"
    return "equal up to rounding and what training makes of it" if largest < ENOUGH else "not equal, though it must"


def arms_table(evidence: Evidence, found: pd.DataFrame) -> Table:
    """The comparisons for people."""
    shown = found[["name", "base_name", "differ", "setting", "n"]].astype({"n": str})
    shown.columns = pd.Index(["Arm", "Against", "What differs", "Setting", "n"])
    shown["Difference"] = [_points(row) for row in found.to_dict("records")]
    caption = (
        "Control arms: difference in test R@1, percent points, paired by the n seeds that both have, ± half of the "
        "Student-t 95% interval, which is not corrected for the number of comparisons. The text above has the verdicts."
    )
    return Table("nir_arms", caption, found, evidence.with_setting(shown))


def arms_text(evidence: Evidence, found: pd.DataFrame) -> list[str]:
    """What all is held against, then one line a comparison; several weights and settings of one arm share it."""
    several = found["setting"].nunique() > 1
    lines = _plain(evidence, several)
    for (arm, against, differ), rows in found.groupby(["arm", "against", "differ"], sort=False):
        told = []
        for row in rows.to_dict("records"):
            named = f"{row['name']}, {row['setting']}" if several else row["name"]
            text = f"{_points(row)} points, {row['verdict']}" if row["n"] else row["verdict"]
            told.append(text if len(rows) == 1 else f"{named}: {text}")
        lines.append(f"{arm} against {against} ({differ}): {'; '.join(told)}.")
    lines.append(
        "Better and worse mean: by more than one point of test R@1, by t tests against that bound with Holm's "
        "correction over all these comparisons. Practically equal: within one point with a probability of 95%."
    )
    return lines


def _plain(evidence: Evidence, several: bool) -> list[str]:
    means = evidence.means(RECALL, "test")
    cells = [cell for cell in cells_of_arms(evidence).get("A0", []) if cell in means]
    told = [f"{mean_text(means[c], RECALL)}" + (f" on {c[0]}" if several else f", n={means[c].n}") for c in cells]
    return [f"A0 (Proxy-Anchor as the plain published runs had it): test R@1 {'; '.join(told)}."] if told else []


def _compared(evidence: Evidence) -> tuple[list[dict[str, Any]], list[Vector]]:
    """What is compared, and the differences of each by seed."""
    cells, questions, names = cells_of_arms(evidence), questions_of_arms(evidence), short_names(evidence)
    values = evidence.values(RECALL, "test")
    rows: list[dict[str, Any]] = []
    differences: list[Vector] = []
    for arm, against, differ in COMPARISONS:
        for cell in cells.get(arm, []):
            base = _nearest(evidence, cell, cells.get(against, []))
            if base is None:
                continue
            own, other = _by_seed(values, cell), _by_seed(values, base)
            row = {"arm": arm, "against": against, "differ": differ, "setting": cell[0], "name": names[cell]}
            row |= {"base_name": names[base], "method": cell[1], "base": base[1], "question": questions[arm]}
            rows.append(row)
            differences.append((own - other).dropna().to_numpy(dtype=float))
    return rows, differences


def _identity(row: dict[str, Any]) -> bool:
    return (row["arm"], row["against"]) in IDENTITIES


def _nearest(evidence: Evidence, cell: Cell, others: list[Cell]) -> Cell | None:
    """The cell of the same setting that differs in the fewest options; a weight swept in both arms is then equal."""
    told = {(row["setting"], row["method"]): row for row in evidence.cells().to_dict("records")}
    names = axes(evidence.runs)
    same = [other for other in others if other[0] == cell[0] and other != cell]
    return min(same, key=lambda other: sum(str(told[other][n]) != str(told[cell][n]) for n in names), default=None)


def _by_seed(values: pd.DataFrame, cell: Cell) -> pd.Series:
    chosen = values[(values["setting"] == cell[0]) & (values["method"] == cell[1])]
    return pd.Series(chosen.set_index("seed")["value"])


def _points(row: dict[Any, Any]) -> str:
    """`+1.33 ± 2.32`"""
    scale = metric(RECALL).scale
    text = number(row["difference"] * scale, 2)
    sign = "+" if row["n"] and row["difference"] > 0 and not text.startswith(MINUS) else ""
    missing = row["high"] is None or pd.isna(row["high"])
    return sign + text if missing else f"{sign}{text} ± {number((row['high'] - row['difference']) * scale, 2)}"
