"""Saturation: how far apart methods are, beside the same methods as published and the numbers of the literature."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report import published
from harness.report.evidence import Evidence
from harness.report.figures.bars import literature_dots, method_bars
from harness.report.figures.most import best_rows, left_out
from harness.report.names import SELECTIONS, coefficient_text, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import spearman

METRIC = "recall_at_1"
WITHIN = (0.01, 0.02)
"""One and two points of R@1: differences that are often called progress."""


def analyze(evidence: Evidence) -> Section:
    """Sorted bars a setting, spread of methods against spread of seeds, the literature's own spread."""
    rows = methods(evidence)
    if rows.empty:
        return Section("saturation", "Saturation: how far apart are the methods?", ["No run has a test R@1 yet."])
    spreads = spread(rows)
    tables = [_methods_table(evidence, rows), _spread_table(spreads), _literature_table()]
    drawings = [
        _bars(evidence, rows[rows["setting"] == setting], f"saturation_{index}", setting)
        for index, setting in enumerate(dict.fromkeys(rows["setting"]), start=1)
    ]
    drawings.append(_literature())
    return Section("saturation", "Saturation: how far apart are the methods?", _reading(spreads), tables, drawings)


def methods(evidence: Evidence) -> pd.DataFrame:
    """One row a method with a test R@1, best first in its setting.

    Columns: setting, method, objective, regularizer, cell, mean, sd, half_width (nan for n = 1), n, published (the
    method's name in the papers, or empty), paper, and for each data set of the literature its value and half width.
    """
    rows = []
    means = evidence.means(METRIC, "test")
    for cell in evidence.cells().to_dict("records"):
        mean = means.get((cell["setting"], cell["method"]))
        if mean is not None:
            own = {name: cell[name] for name in ("setting", "method", "objective", "regularizer", "cell")}
            half = np.nan if mean.half_width is None else mean.half_width
            sd = np.nan if mean.sd is None else mean.sd
            rows.append(
                {
                    **own,
                    "mean": mean.mean,
                    "sd": sd,
                    "half_width": half,
                    "n": mean.n,
                    **_published(evidence.configurations[cell["run_id"]]),
                }
            )
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    order = frame["setting"].map({setting: i for i, setting in enumerate(evidence.settings)})
    return frame.assign(order=order).sort_values(["order", "mean"], ascending=[True, False]).drop(columns="order")


def _published(run: dict[str, Any]) -> dict[str, Any]:
    method = published.method_of(run)
    found: dict[str, Any] = {"published": method.name if method else "", "paper": method.paper if method else ""}
    for dataset in published.DATASETS:
        rows = published.values(dataset, method) if method else pd.DataFrame()
        found[dataset] = rows["value"].iloc[0] if len(rows) else np.nan
        found[f"{dataset}_half_width"] = rows["half_width"].iloc[0] if len(rows) else np.nan
        found[f"{dataset}_not_comparable"] = published.not_comparable(run, dataset) if len(rows) else "not published"
    return found


def spread(rows: pd.DataFrame) -> pd.DataFrame:
    """How far plain methods lie apart: ours per setting, then the papers' per data set.

    Columns: source, n_methods, best, worst, sd_methods (ddof 1), sd_seeds (typical, root mean square), within_1,
    within_2 (methods that close to the best, the best included).
    """
    plain = rows[rows["regularizer"] == "none"]
    ours = [
        _spread(f"here: {setting}", own["mean"], own["sd"]) for setting, own in plain.groupby("setting", sort=False)
    ]
    theirs = []
    for dataset, title in published.DATASETS.items():
        points = published.points(dataset).query("regularizer == 'none'")
        seeds = published.published().query(
            "dataset == @dataset and metric == 'recall_at_1' and method in @points.method"
        )
        std = seeds.drop_duplicates("method")["std"] * np.sqrt(5 / 4)  # published with ddof 0
        theirs.append(_spread(f"Roth et al. (2020): {title}", points["recall_at_1"], std))
    return pd.DataFrame(ours + theirs)


def _spread(source: str, means: pd.Series, sds: pd.Series) -> dict[str, Any]:
    best = means.max()
    squares = sds.dropna().pow(2)
    return {
        "source": source,
        "n_methods": len(means),
        "best": best,
        "worst": means.min(),
        "sd_methods": means.std(ddof=1),
        "sd_seeds": np.sqrt(squares.mean()) if len(squares) else np.nan,
        "within_1": int((means >= best - WITHIN[0]).sum()),
        "within_2": int((means >= best - WITHIN[1]).sum()),
    }


def _methods_table(evidence: Evidence, rows: pd.DataFrame) -> Table:
    shown = pd.DataFrame({"Method": rows["method"], "Setting": rows["setting"]})
    on_test = evidence.selection == "best_test"
    shown["R@1 here †" if on_test else "R@1 here"] = [
        _value(mean, half) for mean, half in zip(rows["mean"], rows["half_width"], strict=True)
    ]
    shown["n"] = rows["n"].astype(str)
    shown["In the papers"] = rows["published"].where(rows["published"] != "", "not published")
    for dataset, title in published.DATASETS.items():
        pairs = zip(rows[dataset], rows[f"{dataset}_half_width"], strict=True)
        shown[f"{title} †"] = [_value(value, half) for value, half in pairs]
    shown["Difference"] = [_difference(row) for row in rows.to_dict("records")]
    caption = (
        f"R@1 in percent, ours ({SELECTIONS[evidence.selection]}) and as published; † selected on test. With half of "
        "the Student-t 95% interval where the number of seeds is known. A difference is formed only where data set, "
        "backbone and dimension agree."
    )
    return Table(
        "saturation_methods",
        caption,
        rows,
        evidence.with_setting(shown),
        {"Method": [f"#{cell}" for cell in rows["cell"]]},
    )


def _literature_table() -> Table:
    numbers = pd.concat([published.literature(dataset) for dataset in published.DATASETS], ignore_index=True)
    shown = pd.DataFrame({"Method": numbers["label"], "Data set": numbers["dataset"].map(published.DATASETS)})
    shown["R@1"] = [number(value * 100) for value in numbers["value"]]
    shown["Source"] = numbers["source"]
    caption = "R@1 in percent as published, single numbers under different protocols."
    return Table("literature", caption, numbers, shown, folded=True)


def _value(value: float, half_width: float) -> str:
    text = number(value * 100)
    return f"{text} ± {half_width * 100:.1f}" if np.isfinite(half_width) else text


def _difference(row: dict[Any, Any]) -> str:
    if not row["published"]:
        return "not published"
    for dataset in published.DATASETS:
        if not row[f"{dataset}_not_comparable"]:
            return f"{row['mean'] * 100 - row[dataset] * 100:+.1f} points".replace("-", "\N{MINUS SIGN}")
    reasons = [row[f"{name}_not_comparable"] for name in published.DATASETS]
    told = [reason for reason in reasons if not reason.startswith(("dataset", "not published"))]
    return f"not comparable: {told[0] if told else 'another data set'}"


def _spread_table(spreads: pd.DataFrame) -> Table:
    shown = pd.DataFrame({"Source": spreads["source"], "Plain methods": spreads["n_methods"].astype(str)})
    for title, column in (
        ("Best", "best"),
        ("Worst", "worst"),
        ("Sd of methods", "sd_methods"),
        ("Typical sd of seeds", "sd_seeds"),
    ):
        shown[title] = [number(value * 100, 2) for value in spreads[column]]
    for points, column in (("1 point", "within_1"), ("2 points", "within_2")):
        shown[f"Within {points} of the best"] = [
            f"{near} of {n}" for near, n in zip(spreads[column], spreads["n_methods"], strict=True)
        ]
    return Table(
        "saturation_spread",
        "Spread of plain methods (no regularizer) against the spread of seeds, R@1 in percent points. Standard "
        "deviations with ddof 1; that of seeds is the root mean square over methods.",
        spreads,
        shown,
    )


def _reading(spreads: pd.DataFrame) -> list[str]:
    text = []
    for row in spreads[spreads["source"].str.startswith("here")].to_dict("records"):
        if row["n_methods"] < 2:
            text.append(f"{row['source'][6:]}: one plain method, nothing to compare.")
            continue
        seeds = f", the sd of seeds {row['sd_seeds'] * 100:.2f}" if np.isfinite(row["sd_seeds"]) else ""
        text.append(
            f"{row['source'][6:]}: {row['n_methods']} plain methods from {row['worst'] * 100:.1f} to "
            f"{row['best'] * 100:.1f} R@1; {row['within_1']} within one point of the best, {row['within_2']} within "
            f"two. The sd of methods is {row['sd_methods'] * 100:.2f} points{seeds}."
        )
    theirs = spreads[~spreads["source"].str.startswith("here")].to_dict("records")[0]
    text.append(
        f"For comparison, {theirs['source']}: {theirs['n_methods']} plain methods from {theirs['worst'] * 100:.1f} to "
        f"{theirs['best'] * 100:.1f}, {theirs['within_1']} within one point of the best, selected on test. "
        "Bars start where the axis does, not at zero: compare their ends, not their lengths."
    )
    return text


def _seeds(rows: pd.DataFrame) -> str:
    low, high = int(rows["n"].min()), int(rows["n"].max())
    return f"{low} seeds" if low == high else f"{low} to {high} seeds"


def _bars(evidence: Evidence, rows: pd.DataFrame, name: str, setting: str) -> Drawing:
    shown = [dataset for dataset in published.DATASETS if rows[dataset].notna().any()]
    told = []
    for dataset in shown:
        rank = spearman(rows["mean"].to_numpy(), rows[dataset].to_numpy(dtype=float))
        told.append(f"{published.DATASETS[dataset]} {coefficient_text(rank)}, n={rank.n}")
    caption = (
        f"Test R@1 of {setting}, {SELECTIONS[evidence.selection]}: mean with Student-t 95% interval over "
        f"{_seeds(rows)} (none for one seed; one that leaves the panel is cut). "
    )
    if shown:
        caption += (
            "Right: the same methods in the same order as published (Roth et al., 2020: ResNet-50, 128 dimensions, "
            "mean of 5 seeds with Student-t 95% interval, selected on test; other papers without interval). Rank "
            f"agreement with ours (Spearman, bootstrap 95% interval over methods): {'; '.join(told)}."
        )
    else:
        caption += "None of these methods is in the papers."
    drawn = best_rows(rows)
    caption += left_out(len(drawn), len(rows))
    alt = f"Bar chart of test recall at 1 of {len(drawn)} methods"
    return Drawing(name, caption, partial(method_bars, drawn, setting), alt, "saturation_methods")


def _literature() -> Drawing:
    caption = (
        "R@1 as single papers report it, each under its own backbone, dimension, augmentation and selection (single "
        "numbers, no intervals published). Green: ResNet-50 with 128 dimensions, as in the grey band, which spans the "
        "plain methods of Roth et al. (2020) under one protocol. Differences between papers mix method and protocol."
    )
    alt = "Dot plot of published recall at 1 on three data sets"
    return Drawing("literature", caption, literature_dots, alt, "literature")
