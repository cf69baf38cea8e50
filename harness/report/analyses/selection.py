"""Selection rules side by side: what a number owes to the choice of its epoch.

The papers take the epoch with the best R@1 on the very classes that they report. How much that flatters is the
difference to an epoch that was chosen without them, run by run.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report.evidence import CELL, Evidence, plain
from harness.report.figures.most import best_rows, left_out
from harness.report.figures.selection import rule_dots
from harness.report.names import SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import spearman, t_interval

TITLE = "What does the choice of the epoch do?"
METRICS = ("recall_at_1", "nmi", "map_at_r")
ON_TEST = "best_test"
SHORT = {"last": "last", "best_validation": "best validation", ON_TEST: "best test †"}
MARK = "† selected on the test classes themselves: too high by construction, for comparison with papers only."


def analyze(evidence: Evidence) -> Section:
    """Every rule beside the others, the optimism of the selection on test, and whether the ranking changes."""
    numbers = by_rule(evidence)
    if numbers.empty or numbers["selection"].nunique() < 2:
        return Section("selection", TITLE, ["No run has numbers by two selection rules."])
    gaps = optimism(numbers)
    if not (gaps["gap"] != 0).any():
        return Section("selection", TITLE, ["All selection rules choose the same epoch in every run."])
    total = overall(gaps)
    tables = [_overall_table(evidence, total), _methods_table(evidence, numbers, gaps)]
    text = _reading(numbers, total)
    return Section("selection", TITLE, text, tables, [_drawing(evidence, numbers)])


def by_rule(evidence: Evidence) -> pd.DataFrame:
    """One row a run, metric and rule: run_id, setting, method, seed, metric, selection, epoch, value."""
    rules = evidence.rules()
    if rules.empty:
        return rules
    rules = plain(rules[rules["metric"].isin(METRICS) & np.isfinite(rules["value"])])
    rules = rules.sort_values("metric", key=lambda names: names.map(METRICS.index), kind="stable")
    columns = ["run_id", *CELL, "seed", "metric", "selection", "epoch", "value"]
    return pd.DataFrame(rules, columns=columns).reset_index(drop=True)


def optimism(numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a run, metric and rule other than best_test: the columns of `by_rule`, and gap (best_test minus it)."""
    chosen = numbers[numbers["selection"] == ON_TEST].set_index(["run_id", "metric"])["value"]
    others = numbers[numbers["selection"] != ON_TEST]
    best = chosen.reindex(pd.MultiIndex.from_frame(others[["run_id", "metric"]])).to_numpy()
    return others.assign(gap=best - others["value"].to_numpy()).dropna(subset="gap")


def overall(gaps: pd.DataFrame) -> pd.DataFrame:
    """One row a setting, metric and rule: mean, low, high of the gap over methods, largest, n (methods), runs.

    A method counts once, as the mean of its runs, since its seeds say nothing of other methods.
    """
    rows = []
    for (setting, name, rule), group in gaps.groupby(["setting", "metric", "selection"], sort=False):
        means = group.groupby("method")["gap"].mean()
        told = t_interval(means.to_numpy())
        row: dict[str, Any] = {"setting": setting, "metric": name, "selection": rule, "mean": told.mean}
        row |= {"low": told.low, "high": told.high, "largest": means.max(), "n": told.n, "runs": len(group)}
        rows.append(row)
    return pd.DataFrame(rows).astype({"low": float, "high": float})


def gap_text(mean: float, high: float, n: int, name: str) -> str:
    """`+0.8 ± 0.2`, in the unit of the metric."""
    known = metric(name)
    text = number(mean * known.scale, 2)
    text = text if mean <= 0 else f"+{text}"
    return f"{text} ± {(high - mean) * known.scale:.2f}" if np.isfinite(high) else f"{text} (n={n})"


def _overall_table(evidence: Evidence, total: pd.DataFrame) -> Table:
    rows = [
        {
            "Metric": metric(row["metric"]).title,
            "Setting": row["setting"],
            "Instead of": SELECTIONS[row["selection"]],
            "Optimism": gap_text(row["mean"], row["high"], row["n"], row["metric"]),
            "Largest of a method": number(row["largest"] * metric(row["metric"]).scale, 2),
            "Methods": str(row["n"]),
            "Runs": str(row["runs"]),
        }
        for row in total.to_dict("records")
    ]
    caption = (
        "Optimism of selecting the epoch on test: the number at the epoch of the best test R@1 minus that at the epoch "
        "of the other rule, percent points; mean over methods (each the mean of its runs) ± half of the Student-t 95% "
        "interval over methods. Chosen is by R@1, so other metrics may lose."
    )
    return Table("selection", caption, total, evidence.with_setting(pd.DataFrame(rows)))


def _methods_table(evidence: Evidence, numbers: pd.DataFrame, gaps: pd.DataFrame) -> Table:
    cells = {(cell["setting"], cell["method"]): cell["cell"] for cell in evidence.cells().to_dict("records")}
    recall, lost = (frame[frame["metric"] == METRICS[0]] for frame in (numbers, gaps))
    losses = dict(list(lost.groupby(CELL, sort=False)))
    rows, anchors = [], []
    for (setting, method), own in recall.groupby(CELL, sort=False):
        row = {"Method": str(method), "Setting": str(setting), "n": str(own["run_id"].nunique())}
        for rule in (rule for rule in SHORT if rule in set(recall["selection"])):
            row[SHORT[rule]] = _mean(own[own["selection"] == rule]["value"])
        for other, group in losses.get((setting, method), lost.iloc[:0]).groupby("selection"):
            told = t_interval(group["gap"].to_numpy())
            row[f"† minus {SHORT[str(other)]}"] = gap_text(
                told.mean, np.nan if told.high is None else told.high, told.n, METRICS[0]
            )
        rows.append(row)
        anchors.append(f"#{cells[setting, method]}")
    caption = (
        "Test R@1 by each selection rule, percent, mean over n seeds ± half of the Student-t 95% interval; the last "
        f"columns are paired by run. {MARK}"
    )
    shown = evidence.with_setting(pd.DataFrame(rows).fillna(""))
    return Table("selection_methods", caption, numbers, shown, {"Method": anchors})


def _mean(values: pd.Series) -> str:
    told = t_interval(values.to_numpy())
    return f"{told.mean * 100:.1f}" + ("" if told.half_width is None else f" ± {told.half_width * 100:.1f}")


def _reading(numbers: pd.DataFrame, total: pd.DataFrame) -> list[str]:
    text = []
    recall = numbers[numbers["metric"] == METRICS[0]]
    for row in total[total["metric"] == METRICS[0]].to_dict("records"):
        text.append(
            f"{row['setting']}: the epoch that is best on the test classes has "
            f"{gap_text(row['mean'], row['high'], row['n'], METRICS[0])} points more R@1 than the "
            f"{SELECTIONS[row['selection']]}, on the mean of {row['n']} methods; the largest is "
            f"{number(row['largest'] * 100, 2)}. {_ranking(recall, row)}"
        )
    return [*text, MARK]


def _ranking(recall: pd.DataFrame, row: dict[Any, Any]) -> str:
    own = recall[recall["setting"] == row["setting"]]
    means = own.pivot_table(index="method", columns="selection", values="value", aggfunc="mean", sort=False)
    both = means[[row["selection"], ON_TEST]].dropna()
    if len(both) < 2:
        return ""
    first, other = both[row["selection"]].idxmax(), both[ON_TEST].idxmax()
    agreement = spearman(both[row["selection"]].to_numpy(), both[ON_TEST].to_numpy()).value
    told = "" if agreement is None else f" The rankings agree with a Spearman correlation of {number(agreement, 2)}."
    return ("The best method is the same." if first == other else f"The best method is {first}, not {other}.") + told


def _drawing(evidence: Evidence, numbers: pd.DataFrame) -> Drawing:
    caption = (
        f"Test R@1 at the epoch that each rule chooses, mean over seeds; methods in the order of the last epoch. {MARK}"
    )
    recall = numbers[numbers["metric"] == METRICS[0]]
    first = next(rule for rule in SHORT if rule in set(recall["selection"]))
    means = recall[recall["selection"] == first].groupby(CELL, sort=False)["value"].mean()
    ranked = means.sort_values(ascending=False, kind="stable").reset_index()
    shown = best_rows(ranked, ranked["setting"].nunique())
    caption += left_out(len(shown), len(ranked))
    recall = recall.merge(shown[CELL], on=CELL)
    return Drawing(
        "selection", caption, partial(rule_dots, recall, SHORT), "Dot plot of recall by rule", "selection_methods"
    )
