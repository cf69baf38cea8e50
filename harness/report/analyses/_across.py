"""One number over all settings: the interquartile mean of a method's R@1, and ranks where they can show something."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from harness.report.analyses._comparisons import METRIC, points
from harness.report.evidence import Evidence
from harness.report.figures.ranks import critical_difference_diagram
from harness.report.names import DASH, SELECTIONS
from harness.report.section import Drawing, Table
from harness.report.statistics import Ranks, aggregate, rank_methods


@dataclass(frozen=True)
class Across:
    """What is said over all settings together."""

    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)


def across_settings(evidence: Evidence) -> Across:
    """Interquartile means and ranks of the methods that have a number in every setting; else the reason why not."""
    values = evidence.values(METRIC, "test")
    settings = [name for name in evidence.settings if (values["setting"] == name).any()]
    if len(settings) < 2:
        return Across(["Ranks and means over data sets are left out: there are results on one only."])
    shared = _in_all(values, len(settings))
    if shared["method"].nunique() < 2:
        return Across(["Ranks and means over data sets are left out: no two methods have results on all of them."])
    means = interquartile_means(shared)
    scores = shared.pivot_table(index="setting", columns="method", values="value", sort=False)
    ranks = rank_methods(scores.to_numpy(dtype=float))
    table = _table(evidence, means, len(settings))
    return Across([_reading(means), _about_ranks(ranks)], [table], _drawings(evidence, list(scores.columns), ranks))


def interquartile_means(values: pd.DataFrame) -> pd.DataFrame:
    """One row a method, best first: method, settings, n (runs in all), iqm, low, high, reason.

    R@1 is taken relative to the mean over all methods of the setting. Else the middle half of the runs would be those
    of the data sets of middling difficulty.
    """
    centers = values.groupby(["setting", "method"], sort=False)["value"].mean().groupby("setting", sort=False).mean()
    relative = values.assign(value=values["value"] - values["setting"].map(centers))
    rows = []
    for method, own in relative.groupby("method", sort=False):
        found = aggregate([group.to_numpy(dtype=float) for _, group in own.groupby("setting", sort=False)["value"]])
        numbers = {"iqm": found.value, "low": found.low, "high": found.high}
        told = {name: np.nan if value is None else value for name, value in numbers.items()}
        rows.append({"method": method, "settings": found.groups, "n": found.n, **told, "reason": found.reason})
    return pd.DataFrame(rows).sort_values("iqm", ascending=False, kind="stable").reset_index(drop=True)


def _in_all(values: pd.DataFrame, settings: int) -> pd.DataFrame:
    """The rows of methods that have a number in each of the settings."""
    return pd.DataFrame(values[values.groupby("method")["setting"].transform("nunique") == settings])


def _reading(means: pd.DataFrame) -> str:
    best = means.iloc[0]
    text = (
        f"Over {best['settings']} settings, {best['method']} has the highest interquartile mean: "
        f"{points(best['iqm'])} points of R@1 against the mean of all {len(means)} methods"
    )
    reasons = [reason for reason in means["reason"] if reason]
    return f"{text}. There are no intervals: {reasons[0]}." if reasons else f"{text}."


def _about_ranks(ranks: Ranks) -> str:
    if ranks.reason:
        return f"A critical-difference diagram is left out: {ranks.reason}."
    told = "differ" if ranks.friedman_p is not None and ranks.friedman_p <= 0.05 else "cannot be told apart"
    return f"By the ranks over {ranks.blocks} settings, methods {told} (Friedman test, p = {ranks.friedman_p:.2g})."


def _table(evidence: Evidence, means: pd.DataFrame, settings: int) -> Table:
    lines = [
        {
            "Method": row["method"],
            "n": str(row["n"]),
            "Interquartile mean": points(row["iqm"]),
            "95% interval": f"[{points(row['low'])}, {points(row['high'])}]" if np.isfinite(row["low"]) else DASH,
        }
        for row in means.to_dict("records")
    ]
    caption = (
        f"Mean of the middle half of a method's n runs on {settings} settings, each relative to the mean over all "
        "methods of its setting: test R@1, percent points. Interval: bootstrap of the runs within each setting; it "
        "says how other seeds would come out, not other data sets. R@1 is taken at the "
        f"{SELECTIONS[evidence.selection]}."
    )
    return Table("interquartile_means", caption, means, pd.DataFrame(lines))


def _drawings(evidence: Evidence, methods: list[str], ranks: Ranks) -> list[Drawing]:
    if ranks.critical is None:
        return []
    caption = (
        f"Mean ranks of test R@1 over {ranks.blocks} settings. Methods under one black bar cannot be told apart: their "
        f"ranks differ by less than the critical difference {ranks.critical:.2f} (Nemenyi, 5%). R@1 is taken at the "
        f"{SELECTIONS[evidence.selection]}."
    )
    draw = partial(critical_difference_diagram, methods, ranks.mean, ranks.critical)
    return [Drawing("mean_ranks", caption, draw, "Critical-difference diagram", "interquartile_means")]
