"""The leaderboard: every method with mean, Student-t interval and number of seeds, holes included."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.report.analyses._comparisons import verdict_columns
from harness.report.evidence import Evidence
from harness.report.names import DASH, METRICS, QUALITY, SELECTIONS, cell_text, metric
from harness.report.section import Section, Table
from harness.report.statistics import Mean

NOTHING = Mean(math.nan, None, None, None, 0)


def analyze(evidence: Evidence) -> Section:
    """One table a setting, sorted by test R@1; methods without a number stand last with the reason."""
    shown = [name for name in QUALITY if name in evidence.metrics("test")]
    if not shown:
        return Section("leaderboard", "Leaderboard", [_nothing(evidence)])
    numbers = leaderboard(evidence, shown)
    tables = [
        _table(evidence, numbers[numbers["setting"] == setting], shown, f"leaderboard_{index}", setting)
        for index, setting in enumerate(evidence.settings, start=1)
    ]
    return Section("leaderboard", "Leaderboard", [_reading(evidence)], tables)


def leaderboard(evidence: Evidence, metrics: list[str]) -> pd.DataFrame:
    """One row a cell: setting, method, its axes, planned, done, holes; for each metric mean, sd, low, high, n."""
    means = {name: evidence.means(name, "test") for name in metrics}
    rows: list[dict[str, Any]] = []
    for cell in evidence.cells().to_dict("records"):
        key = (cell["setting"], cell["method"])
        row = {str(name): value for name, value in cell.items()}
        for name in metrics:
            mean = means[name].get(key, NOTHING)
            values = {"mean": mean.mean, "sd": mean.sd, "low": mean.low, "high": mean.high, "n": mean.n}
            row |= {f"{name}_{suffix}": value for suffix, value in values.items()}
        rows.append(row)
    frame = pd.DataFrame(rows)
    order = frame["setting"].map({setting: i for i, setting in enumerate(evidence.settings)})
    by = f"{metrics[0]}_mean"
    return frame.assign(order=order).sort_values(["order", by], ascending=[True, False]).drop(columns="order")


def _table(evidence: Evidence, numbers: pd.DataFrame, metrics: list[str], name: str, setting: str) -> Table:
    rows = numbers.to_dict("records")
    shown = pd.DataFrame({"Method": numbers["method"], "Seeds": numbers["seeds"]})
    for column in metrics:
        shown[metric(column).title] = [_cell(row, column) for row in rows]
    verdicts = verdict_columns(evidence, setting)
    for after, (kind, (title, words)) in enumerate(verdicts.items(), start=3):  # beside R@1, on which they are
        shown.insert(after, title, [words.get(method, DASH) for method in numbers["method"]])
        numbers = numbers.assign(**{f"against_{kind}": shown[title]})
    anchors = [f"#{row['cell']}" for row in rows]
    caption = (
        f"{setting}: mean ± half of the Student-t 95% interval over seeds, on the test classes, percent; "
        f"{SELECTIONS[evidence.selection]}. Where n differs from the seeds of the row it stands in the cell."
    )
    if verdicts:
        caption += f" Verdicts: ±{evidence.equivalence:g} points are practically equal."
    columns = ["Method", "Seeds", *(METRICS[column].title for column in metrics)]
    return Table(name, caption, numbers, shown, dict.fromkeys(columns, anchors), choose=True)


def _cell(row: dict[Any, Any], name: str) -> str:
    mean, high, n = row[f"{name}_mean"], row[f"{name}_high"], int(row[f"{name}_n"])
    low = row[f"{name}_low"]
    if high is None or not math.isfinite(high):
        low = high = None
    return cell_text(Mean(mean, None, low, high, n), name, row["done"])


def _nothing(evidence: Evidence) -> str:
    done = int((evidence.runs["state"] == "done").sum())
    if not done:
        return "No run has a result yet."
    return f"{done} runs are done, but none has a test metric by the selection rule {evidence.selection}."


def _reading(evidence: Evidence) -> str:
    runs = evidence.runs
    done = int((runs["state"] == "done").sum())
    text = (
        f"{done} of {len(runs)} runs have results. Numbers are taken at the {SELECTIONS[evidence.selection]}; "
        "intervals are Student-t 95% intervals of the mean over seeds, so they tell how well a mean is known, not how "
        "runs spread."
    )
    if evidence.selection == "best_test":
        text += (
            " Choosing the epoch on the test classes makes every number too high; papers do it, comparisons may not."
        )
    return text
