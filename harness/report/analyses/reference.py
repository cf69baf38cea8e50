"""Beside the published numbers: what was published for a method, what came out here, and how far that is apart.

A difference is formed where data set, backbone and dimension agree, and told in units of its interval; everywhere else
stands the reason why none is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report import published
from harness.report.evidence import Evidence
from harness.report.figures.reference import difference_rows
from harness.report.names import SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table

TITLE = "Beside the published numbers"
NOT_HERE = "no such number here"


def analyze(evidence: Evidence) -> Section:
    """Published, here, difference; what cannot be compared with its reason; what was published of other methods."""
    numbers = comparisons(evidence)
    comparable = numbers[numbers["not_comparable"] == ""]
    tables = [] if numbers.empty else [_reasons_table(evidence, numbers)]
    drawings = []
    if len(comparable):
        tables.insert(0, _table(evidence, comparable))
        if (comparable["metric"] == "recall_at_1").any():
            drawings.append(_drawing(evidence, comparable))
    return Section("reference", TITLE, _reading(numbers, comparable), [*tables, _others_table()], drawings)


def comparisons(evidence: Evidence) -> pd.DataFrame:
    """One row a cell and published number of its method.

    Columns: setting, method, cell, paper, table, published_method, dataset, backbone, embedding_dim, metric, split,
    published, published_half_width, here, half_width, n, difference, units (of the interval of the difference, half of
    it), not_comparable (the reason, empty where there is none), source.
    """
    rows = []
    means = {
        split: {name: evidence.means(name, split) for name in evidence.metrics(split)} for split in ("test", "train")
    }
    for cell in evidence.cells().to_dict("records"):
        run = {"miner": "none", "regularizer": "none", **evidence.configurations[cell["run_id"]]}
        for row in published.rows_of(run).to_dict("records"):
            split, name = (
                ("train", row["metric"][6:]) if row["metric"].startswith("train/") else ("test", row["metric"])
            )
            here = means[split].get(name, {}).get((cell["setting"], cell["method"]))
            told: dict[str, Any] = {key: cell[key] for key in ("setting", "method", "cell")}
            told |= {key: row[key] for key in ("paper", "table", "dataset", "backbone", "embedding_dim", "source")}
            told |= {"published_method": row["method"], "metric": name, "split": split, "published": row["value"]}
            half = np.nan if here is None or here.half_width is None else here.half_width
            told |= {"published_half_width": row["half_width"], "half_width": half}
            told |= {"here": np.nan if here is None else here.mean, "n": 0 if here is None else here.n}
            told["not_comparable"] = published.obstacle(run, row) or ("" if here else NOT_HERE)
            rows.append(told)
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, "source"])
    numeric = ("published", "published_half_width", "here", "half_width")
    return _with_differences(frame.astype(dict.fromkeys(numeric, float)))


_COLUMNS = ["setting", "method", "cell", "paper", "table", "published_method", "dataset", "backbone", "embedding_dim"]
_COLUMNS += ["metric", "split", "published", "published_half_width", "here", "half_width", "n", "not_comparable"]


def _with_differences(frame: pd.DataFrame) -> pd.DataFrame:
    """The half width of a difference of independent means is the root of the sum of the squares of both.

    Where the paper gives none, it is ours alone, and the difference looks surer than it is.
    """
    both = (frame["half_width"] ** 2 + frame["published_half_width"].fillna(0.0) ** 2) ** 0.5
    gap = (frame["here"] - frame["published"]).where(frame["not_comparable"] == "")
    return frame.assign(difference=gap, units=gap / both.where(both > 0))


def _value(row: dict[Any, Any], value: str, half: str) -> str:
    known = metric(row["metric"])
    text = number(row[value] * known.scale, known.digits)
    return f"{text} ± {row[half] * known.scale:.{known.digits}f}" if np.isfinite(row[half]) else text


def _signed(value: float, digits: int) -> str:
    text = number(value, digits)
    return f"+{text}" if np.isfinite(value) and value > 0 else text


def _table(evidence: Evidence, comparable: pd.DataFrame) -> Table:
    rows = [
        {
            "Method": row["method"],
            "Setting": row["setting"],
            "Published": f"{row['published_method']} ({row['paper']}, {row['table']})",
            "Metric": f"{metric(row['metric']).title}, {row['split']}",
            "published": _value(row, "published", "published_half_width"),
            "here": _value(row, "here", "half_width"),
            "n": str(row["n"]),
            "difference": _signed(row["difference"] * metric(row["metric"]).scale, metric(row["metric"]).digits),
            "in units of the interval": _signed(row["units"], 1) if np.isfinite(row["units"]) else "no interval",
        }
        for row in comparable.to_dict("records")
    ]
    caption = (
        "Published numbers of which data set, backbone and dimension are those of a method here, and ours "
        f"({SELECTIONS[evidence.selection]}; the published are selected on test, where a paper says how), ± half of "
        "the Student-t 95% interval. The last column divides the difference by half of its own 95% interval: beyond ±1 "
        "it is more than the seeds explain. Of papers that give no spread, that interval is ours alone."
    )
    links = {"Method": [f"#{cell}" for cell in comparable["cell"]]}
    return Table("reference", caption, comparable, evidence.with_setting(pd.DataFrame(rows)), links)


def _reasons_table(evidence: Evidence, numbers: pd.DataFrame) -> Table:
    left = numbers[numbers["not_comparable"] != ""]
    here, _, theirs = left["not_comparable"].str.partition(", published ").T.to_numpy()
    rows = [
        {
            "Method": method,
            "Setting": setting,
            "Published as": ", ".join(dict.fromkeys(group["published_method"])),
            "Numbers": str(len(group)),
            "Not comparable": _joined(str(reason), group["theirs"]),
            "cell": cell,
        }
        for (method, setting, cell, reason), group in left.assign(here=here, theirs=theirs).groupby(
            ["method", "setting", "cell", "here"], sort=False
        )
    ]
    shown = pd.DataFrame(rows, columns=["Method", "Setting", "Published as", "Numbers", "Not comparable", "cell"])
    caption = "Published numbers of the methods here that cannot be compared, by reason; the CSV has each of them."
    links = {"Method": [f"#{cell}" for cell in shown["cell"]]}
    shown = evidence.with_setting(shown.drop(columns="cell"))
    return Table("reference_not_comparable", caption, left, shown, links, folded=True)


def _joined(reason: str, theirs: pd.Series) -> str:
    """`data set glyphs, published cub200, cars196, sop`."""
    return f"{reason}, published {', '.join(dict.fromkeys(theirs))}" if theirs.any() else reason


def _others_table() -> Table:
    rows = published.of_no_method()
    shown = pd.DataFrame({"Method": rows["method"], "Paper": rows["paper"], "Table": rows["table"]})
    shown["Data set"] = rows["dataset"].map(published.DATASETS).fillna(rows["dataset"])
    shown["Backbone"] = rows["backbone"].fillna("not stated")
    shown["Dimension"] = [f"{size:.0f}" if np.isfinite(size) else "not stated" for size in rows["embedding_dim"]]
    shown["Metric"] = [metric(name).title for name in rows["metric"]]
    shown["Published"] = [
        number(value * (100 if unit == "percent" else 1))
        for value, unit in zip(rows["value"], rows["unit"], strict=True)
    ]
    caption = "Published numbers of methods that are not here; where each was found stands in the CSV."
    return Table("reference_others", caption, rows, shown, folded=True)


def _reading(numbers: pd.DataFrame, comparable: pd.DataFrame) -> list[str]:
    if numbers.empty:
        return ["Nothing was published for any method here."]
    methods = comparable["method"].nunique()
    if comparable.empty:
        reasons = numbers["not_comparable"].str.replace(r", published.*", "", regex=True).value_counts()
        return [
            f"For {numbers['method'].nunique()} of the methods here {len(numbers)} numbers were published. None can be "
            f"compared, mostly because of another setting ({reasons.index[0]})."
        ]
    known = comparable[comparable["units"].notna()]
    near = int((known["units"].abs() <= 1).sum())
    return [
        f"{len(comparable)} published numbers of {methods} methods can be compared. Of {len(known)} with an interval, "
        f"{near} differ from ours by no more than that."
    ]


def _drawing(evidence: Evidence, comparable: pd.DataFrame) -> Drawing:
    recall = comparable[comparable["metric"] == "recall_at_1"]
    caption = (
        "Test R@1 here minus as published, percent points, with the 95% interval of the difference (ours alone, where "
        f"a paper gives no spread; none for one seed); ours at the {SELECTIONS[evidence.selection]}. One row a "
        "published number."
    )
    return Drawing("reference", caption, partial(difference_rows, recall), "Dot plot of differences", "reference")
