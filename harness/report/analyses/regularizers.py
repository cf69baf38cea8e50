"""What a regularizer buys: the same method with and without it, paired by seed, since the same seed is the same
batches and the same initial weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.report.evidence import Evidence
from harness.report.figures.most import ROWS
from harness.report.names import SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import paired_difference
from harness.report.style import INK, MUTED, REGULARIZED, panels, tip

TITLE = "What does regularization buy?"
COMPARED = (("recall_at_1", "test"), ("nmi", "test"), ("map_at_r", "test"), ("density", "train"), ("rho", "train"))


def analyze(evidence: Evidence) -> Section:
    """Paired gains of every regularized method whose plain form was run too."""
    table = gains(evidence)
    if table.empty:
        return Section("regularizers", TITLE, ["No method has results with and without a regularizer."])
    recall = table[table["metric"] == "recall_at_1"]
    drawings = [_drawing(evidence, recall)] if len(recall) else []
    return Section("regularizers", TITLE, _reading(recall), [_table(evidence, table)], drawings)


def gains(evidence: Evidence) -> pd.DataFrame:
    """One row a regularized method and metric.

    Columns: setting, method, base, regularizer, metric, split, gain (regularized minus plain, mean over shared seeds),
    low, high (Student-t 95% interval of the paired difference), sd, n (shared seeds).
    """
    rows = []
    seeds = {pair: evidence.by_seed(*pair) for pair in COMPARED}
    regularizers = {(c["setting"], c["method"]): c["regularizer"] for c in evidence.cells().to_dict("records")}
    for (setting, method), base in evidence.bases().items():
        for name, split in COMPARED:
            values = seeds[name, split]
            difference = paired_difference(values.get((setting, method), {}), values.get((setting, base), {}))
            if difference.n:
                regularizer = regularizers[setting, method]
                row = {"setting": setting, "method": method, "base": base, "regularizer": regularizer}
                row |= {"metric": name, "split": split, "gain": difference.mean, "low": difference.low}
                rows.append({**row, "high": difference.high, "sd": difference.sd, "n": difference.n})
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.astype(dict.fromkeys(("gain", "low", "high", "sd"), float))


_COLUMNS = ["setting", "method", "base", "regularizer", "metric", "split", "gain", "low", "high", "sd", "n"]


def _text(row: dict[Any, Any]) -> str:
    known = metric(row["metric"])
    gain = number(row["gain"] * known.scale, known.digits)
    text = gain if gain.startswith("\N{MINUS SIGN}") else f"+{gain}"
    if not np.isfinite(row["high"]):
        return f"{text} (n={row['n']})"
    return f"{text} ± {(row['high'] - row['gain']) * known.scale:.{known.digits}f}"


def _table(evidence: Evidence, table: pd.DataFrame) -> Table:
    rows = []
    for (setting, method), group in table.groupby(["setting", "method"], sort=False):
        row = {"Method": method, "Setting": setting, "Against": group["base"].iloc[0], "n": str(group["n"].max())}
        texts = {f"{metric(r['metric']).title}, {r['split']}": _text(r) for r in group.to_dict("records")}
        rows.append({**row, **texts})
    caption = (
        "Regularized minus plain, mean over the n seeds that both have, ± half of the Student-t 95% interval of the "
        f"paired difference; {SELECTIONS[evidence.selection]}. R@1, NMI and mAP in percent points."
    )
    return Table("regularizers", caption, table, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def _reading(recall: pd.DataFrame) -> list[str]:
    sure = recall[(recall["low"] > 0) | (recall["high"] < 0)]
    return [
        f"Of {len(recall)} regularized methods, {int((recall['gain'] > 0).sum())} have a higher mean R@1 than their "
        f"plain form; for {len(sure)} of them the 95% interval of the paired difference leaves out zero. The intervals "
        "are not corrected for their number: of twenty, one leaves out zero by chance."
    ]


def _drawing(evidence: Evidence, recall: pd.DataFrame) -> Drawing:
    seeds = sorted(set(recall["n"]))
    caption = (
        "Gain in test R@1 from the regularizer: mean of the paired differences over "
        f"{seeds[0]}{f' to {seeds[-1]}' if len(seeds) > 1 else ''} seeds with Student-t 95% interval; "
        f"{SELECTIONS[evidence.selection]}."
    )
    drawn = recall.loc[recall["gain"].abs().nlargest(ROWS).index].sort_index()
    if len(drawn) < len(recall):
        caption += f" The {ROWS} largest of {len(recall)}, in either direction; the table has all."
    alt = "Dot plot of gains by regularization"
    return Drawing("regularizers", caption, partial(_draw, drawn), alt, "regularizers")


def _draw(recall: pd.DataFrame) -> Figure:
    figure, [[axis]] = panels(1, 1, 7.0, 0.9 + 0.3 * len(recall))
    several = recall["setting"].nunique() > 1
    labels = [f"{row['method']} ({row['setting']})" if several else row["method"] for row in recall.to_dict("records")]
    axis.axvline(0, color=MUTED, linewidth=1)
    for place, row in enumerate(recall.to_dict("records")):
        half = (row["high"] - row["gain"]) * 100
        if np.isfinite(half):
            axis.errorbar(row["gain"] * 100, place, xerr=half, color=INK, capsize=2.5, elinewidth=1)
        (point,) = axis.plot(row["gain"] * 100, place, "o", color=REGULARIZED, markersize=6)
        tip(point, f"{labels[place]}: {_text(row)} points, n={row['n']}")
    axis.set_yticks(range(len(recall)), labels)
    axis.set_ylim(len(recall) - 0.5, -0.5)
    axis.set_xlabel("gain in test R@1, percent points")
    return figure
