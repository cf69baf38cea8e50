"""Which methods differ, which are practically equal, and what the runs so far cannot tell."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.report.analyses._across import across_settings
from harness.report.analyses._comparisons import (
    METRIC,
    POINT,
    Question,
    against_baseline,
    against_best,
    comparisons,
    points,
    verdict_text,
)
from harness.report.evidence import Evidence
from harness.report.figures.forest import forest
from harness.report.names import DASH, SELECTIONS
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import LEVEL

TITLE = "Which differences are real?"
MOST_LINES = 40
"""Methods of one figure; the table has all."""


def analyze(evidence: Evidence) -> Section:
    """Every setting: all methods against the best one and, where the study names one, against a baseline."""
    if evidence.values(METRIC, "test").empty:
        return Section("verdicts", TITLE, ["No run has a test R@1 yet, so there is nothing to compare."])
    texts, tables, drawings = [_how(evidence)], [], []
    for index, setting in enumerate(evidence.settings, start=1):
        asked = [against_best(evidence, setting), against_baseline(evidence, setting)]
        if asked[0] is None:
            texts.append(f"{setting}: fewer than two methods have two runs or more, so no two can be compared.")
        for question in filter(None, asked):
            found = comparisons(evidence, question, classes=True)
            name = f"verdicts_{index}" + ("_baseline" if question.kind == "baseline" else "")
            texts.append(_reading(question, found))
            tables.append(_table(evidence, question, found, name))
            drawings.append(_drawing(evidence, question, found, name))
    across = across_settings(evidence)
    texts += [*_about_baseline(evidence), *across.text]
    return Section("verdicts", TITLE, texts, [*tables, *across.tables], [*drawings, *across.drawings])


def _how(evidence: Evidence) -> str:
    return (
        "Two methods are compared over the seeds that both have, as the same seed gives both the same batches. "
        f"Better or worse: the difference in test R@1 lies beyond ±{evidence.equivalence:g} points by a t test at 5%, "
        "corrected (Holm) for all comparisons of the question. Practically equal: it lies within them with a "
        f"probability of {LEVEL:.0%} or more. Not enough runs: neither, with the number of runs per method that would "
        "decide it if differences and their spread stay as they are. Numbers are taken at the "
        f"{SELECTIONS[evidence.selection]}."
    )


def _reading(question: Question, found: pd.DataFrame) -> str:
    counts = found["verdict"].value_counts()
    told = [f"{counts[word]} {word}" for word in ("better", "worse", "practically equal") if word in counts]
    rest = int(counts.get("not enough runs", 0))
    if rest:
        told.append(f"for {rest} there are not enough runs{_needed_range(found)}")
    best = "the highest mean R@1" if question.kind == "best" else "the baseline of the study"
    return (
        f"{question.setting}, against {question.reference} ({best}): {', '.join(told)}. {_corrections(question, found)}"
    )


def _needed_range(found: pd.DataFrame) -> str:
    needed = found.loc[(found["verdict"] == "not enough runs") & np.isfinite(found["needed"]), "needed"]
    if needed.empty:
        return ""
    low, high = int(needed.min()), int(needed.max())
    return f" (about {low} needed)" if low == high else f" (about {low} to {high} needed)"


def _corrections(question: Question, found: pd.DataFrame) -> str:
    beyond = int((found["outside_holm"] <= 1 - LEVEL).sum())
    alone = int((2 * (1 - found[["worse", "better"]].max(axis=1)) <= 1 - LEVEL).sum())
    flips = int((found["sign_flip_holm"] <= 1 - LEVEL).sum())
    smallest = found["sign_flip_smallest"].min()
    why = "all pairs, because the best is chosen by the same numbers" if question.kind == "best" else "one a method"
    text = (
        f"Each taken alone, {alone} of {len(found)} would count as different; corrected for {question.family} "
        f"comparisons ({why}), {beyond} do. The sign-flip test, which does not assume normal differences, finds {flips}"
    )
    if np.isfinite(smallest) and smallest * question.family > 1 - LEVEL:
        text += f"; with {found['n'].max()} seeds its p cannot fall below {smallest:.2g}, or corrected below "
        text += f"{min(1.0, smallest * question.family):.2g}, so here it can confirm nothing"
    return text + "."


def _about_baseline(evidence: Evidence) -> list[str]:
    if evidence.baseline is None:
        return [
            "A study that names its baseline beforehand (`report: {baseline: METHOD}`) asks fewer questions than all "
            "pairs, and so needs fewer runs for an answer."
        ]
    without = [name for name in evidence.settings if against_baseline(evidence, name) is None]
    return [f"The baseline {evidence.baseline} cannot be compared in {', '.join(without)}."] if without else []


def _table(evidence: Evidence, question: Question, found: pd.DataFrame, name: str) -> Table:
    shown = pd.DataFrame([_line(row) for row in found.to_dict("records")])
    cells = {(row["setting"], row["method"]): row["cell"] for row in evidence.cells().to_dict("records")}
    links = {"Method": [f"#{cells[question.setting, method]}" for method in found["method"]]}
    caption = (
        f"{question.setting}: test R@1 minus that of {question.reference}, in percent points, over n shared seeds. "
        "Over seeds: Student-t 95% interval of the paired difference, other seeds of the same methods; over classes: "
        "95% interval by a bootstrap of the test classes, other classes for the same networks. Neither interval is "
        "corrected for the number of comparisons; p and verdict are. Sign-flip p: two-sided, and after Holm for a "
        f"family of {question.family}; ≥ marks the smallest that n allows. Probability: that the true difference lies "
        f"below, within or above ±{evidence.equivalence:g} points. R@1 is taken at the "
        f"{SELECTIONS[evidence.selection]}."
    )
    if question.kind == "best":
        caption += " The highest of several means is a little too high, and so are the distances from it."
    return Table(name, caption, found, shown, links)


def _line(row: dict[Any, Any]) -> dict[str, str]:
    known = np.isfinite(row["equal"])
    floor = "≥ " if row["sign_flip_p"] <= row["sign_flip_smallest"] else ""
    return {
        "Method": row["method"],
        "n": str(row["n"]),
        "Difference": points(row["difference"]),
        "Over seeds": _interval(row["low"], row["high"]),
        "Over classes": _interval(row["class_low"], row["class_high"]),
        "Sign-flip p": f"{floor}{row['sign_flip_p']:.2g}" if np.isfinite(row["sign_flip_p"]) else DASH,
        "after Holm": f"{row['sign_flip_holm']:.2g}" if np.isfinite(row["sign_flip_holm"]) else DASH,
        "P(worse)": f"{row['worse']:.2f}" if known else DASH,
        "P(equal)": f"{row['equal']:.2f}" if known else DASH,
        "P(better)": f"{row['better']:.2f}" if known else DASH,
        "Verdict": verdict_text(row),
    }


def _interval(low: float, high: float) -> str:
    return f"[{points(low)}, {points(high)}]" if np.isfinite(low) else DASH


def _drawing(evidence: Evidence, question: Question, found: pd.DataFrame, name: str) -> Drawing:
    shown = found.head(MOST_LINES)
    seeds = sorted(set(shown["n"]))
    caption = (
        f"{question.setting}: difference in test R@1 to {question.reference}, mean of the paired differences over "
        f"{seeds[0]}{f' to {seeds[-1]}' if len(seeds) > 1 else ''} seeds with its Student-t 95% interval. Gray: the "
        f"±{evidence.equivalence:g} points that count as practically equal. Marks are verdicts, corrected for "
        f"{question.family} comparisons; intervals are not. R@1 is taken at the "
        f"{SELECTIONS[evidence.selection]}."
    )
    if len(found) > len(shown):
        caption += f" The {len(shown)} best of {len(found)} methods."
    alt = f"Forest plot of differences in R@1 to {question.reference}"
    region, label = evidence.equivalence, f"test R@1 minus that of {question.reference}, percent points"
    return Drawing(name, caption, partial(_draw, shown, region, label), alt, name)


def _draw(found: pd.DataFrame, region: float, label: str) -> Figure:
    rows = found[["method", "verdict"]].assign(
        **{column: found[column] / POINT for column in ("difference", "low", "high")},
        told=[
            f"{points(row['difference'])} {_interval(row['low'], row['high'])}, n={row['n']}: {verdict_text(row)}"
            for row in found.to_dict("records")
        ],
    )
    return forest(rows, region, label)
