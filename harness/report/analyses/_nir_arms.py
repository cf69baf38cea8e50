"""The control arms of non-isotropy regularization: blocks of a grid whose question begins with `A0:` to `A8:`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.report.evidence import Evidence, axes
from harness.report.names import MINUS, number
from harness.report.section import Table
from harness.report.statistics import Mean, paired_difference

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
"""A difference in R@1 of one percent point is worth telling; intervals inside of it are practical equality."""

Cell = tuple[str, str]


def arms(evidence: Evidence) -> pd.DataFrame:
    """One row a comparison and setting: arm, against, differ, setting, name and base_name (short), method, base,
    difference, low, high, sd, n, verdict, question. R@1 on test, paired by seed."""
    cells, questions, names = _cells(evidence), _asked(evidence), short_names(evidence)
    values = evidence.values("recall_at_1", "test")
    rows = []
    for arm, against, differ in COMPARISONS:
        for cell in cells.get(arm, []):
            base = _nearest(evidence, cell, cells.get(against, []))
            if base is None:
                continue
            difference = paired_difference(_by_seed(values, cell), _by_seed(values, base))
            row: dict[str, Any] = {"arm": arm, "against": against, "differ": differ, "setting": cell[0]}
            row |= {"name": names[cell], "base_name": names[base], "method": cell[1], "base": base[1]}
            row |= {"difference": difference.mean, "low": difference.low}
            row |= {"high": difference.high, "sd": difference.sd, "n": difference.n}
            rows.append(
                row | {"verdict": verdict(difference, (arm, against) in IDENTITIES), "question": questions[arm]}
            )
    return pd.DataFrame(rows)


def verdict(difference: Mean, identity: bool) -> str:
    """What may be said of a paired difference in R@1."""
    if difference.n == 0:
        return "no seed has both"
    if identity:
        largest = max(abs(difference.mean), difference.half_width or 0.0)
        if largest < 1e-9:
            return "equal, as it must be"
        equal = (
            "equal up to rounding and what training makes of it" if largest < ENOUGH else "not equal, though it must"
        )
        return f"{equal} ({_points(difference)})"
    if difference.low is None or difference.high is None or difference.sd is None:
        return f"not enough runs: {_points(difference)} from a single seed"
    if difference.low > 0 or difference.high < 0:
        return f"{'better' if difference.mean > 0 else 'worse'} by {_points(difference).lstrip(MINUS)}"
    if difference.low > -ENOUGH and difference.high < ENOUGH:
        return f"practically equal: {_points(difference)}"
    needed = max(difference.n + 1, int(np.ceil((2.0 * difference.sd / ENOUGH) ** 2)) + 1)
    return f"not enough runs: {_points(difference)}; about {needed} seeds would tell one point"


def arms_table(evidence: Evidence, found: pd.DataFrame) -> Table:
    """The comparisons for people."""
    shown = found[["name", "base_name", "differ", "setting", "n", "verdict"]].astype({"n": str})
    shown.columns = pd.Index(["Arm", "Against", "What differs", "Setting", "n", "Verdict on test R@1"])
    caption = (
        "Control arms: difference in test R@1, percent points, paired by the n seeds that both have, ± half of the "
        "Student-t 95% interval. Intervals are not corrected for their number."
    )
    return Table("nir_arms", caption, found, evidence.with_setting(shown))


def arms_text(found: pd.DataFrame) -> list[str]:
    """One line a comparison; several weights of one arm share it."""
    lines = []
    several = found["setting"].nunique() > 1
    for (arm, against, differ), rows in found.groupby(["arm", "against", "differ"], sort=False):
        names = rows["name"] + (", " + rows["setting"] if several else "")
        told = [
            verdict if len(rows) == 1 else f"{name}: {verdict}"
            for name, verdict in zip(names, rows["verdict"], strict=True)
        ]
        lines.append(f"{arm} against {against} ({differ}): {'; '.join(told)}.")
    return lines


def short_names(evidence: Evidence) -> dict[Cell, str]:
    """Cell -> a name that fits into a figure: its arm, with what varies inside of it; else objective and regularizer
    where they are enough to tell it from the others of its setting, else the method."""
    told = {(row["setting"], row["method"]): row for row in evidence.cells().to_dict("records")}
    plain = {cell: _plain_name(row) for cell, row in told.items()}
    counts = Counter((cell[0], name) for cell, name in plain.items())
    names = {cell: name if counts[cell[0], name] == 1 else cell[1] for cell, name in plain.items()}
    for arm, cells in _cells(evidence).items():
        for cell in cells:
            beside = [told[other] for other in cells if other[0] == cell[0]]
            varying = [n for n in axes(evidence.runs) if len({str(row[n]) for row in beside}) > 1]
            options = ", ".join(f"{name.partition('.')[2] or name}={told[cell][name]}" for name in varying)
            names[cell] = f"{arm} ({options})" if options else arm
    return names


def _plain_name(row: Mapping[Any, Any]) -> str:
    return str(row["objective"]) if row["regularizer"] == "none" else f"{row['objective']} + {row['regularizer']}"


def _asked(evidence: Evidence) -> dict[str, str]:
    found = {question: re.match(r"(A\d+)\b", question) for question in evidence.questions}
    return {match.group(1): question for question, match in found.items() if match}


def _cells(evidence: Evidence) -> dict[str, list[Cell]]:
    """Arm -> its cells."""
    of_run = {row["run_id"]: (row["setting"], row["method"]) for row in evidence.runs.to_dict("records")}
    return {
        arm: list(dict.fromkeys(of_run[run] for run in evidence.questions[question] if run in of_run))
        for arm, question in _asked(evidence).items()
    }


def _nearest(evidence: Evidence, cell: Cell, others: list[Cell]) -> Cell | None:
    """The cell of the same setting that differs in the fewest options; a weight swept in both arms is then equal."""
    told = {(row["setting"], row["method"]): row for row in evidence.cells().to_dict("records")}
    names = axes(evidence.runs)
    same = [other for other in others if other[0] == cell[0] and other != cell]
    return min(same, key=lambda other: sum(str(told[other][n]) != str(told[cell][n]) for n in names), default=None)


def _by_seed(values: pd.DataFrame, cell: Cell) -> dict[int, float]:
    chosen = values[(values["setting"] == cell[0]) & (values["method"] == cell[1])]
    return dict(zip(chosen["seed"].astype(int), chosen["value"].astype(float), strict=True))


def _points(difference: Mean) -> str:
    text = number(difference.mean * 100, 2)
    half = difference.half_width
    return f"{text} points" if half is None else f"{text} ± {number(half * 100, 2)} points"
