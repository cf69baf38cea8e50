"""Convergence: R@1 on the test classes after every epoch, small multiples by objective."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.evidence import CELL, Evidence, plain
from harness.report.figures.multiples import left_out, multiples
from harness.report.names import metric
from harness.report.section import Drawing, Section, Table

TITLE = "Convergence"
METRIC = "recall_at_1"


def analyze(evidence: Evidence) -> Section:
    """One figure a setting; the methods of an objective stand out against all the others."""
    curves = mean_curves(evidence, METRIC, "test")
    if curves.empty:
        return Section("convergence", TITLE, ["No run has a curve of test R@1 yet."])
    drawings = [
        _drawing(_best_first(curves[curves["setting"] == setting]), f"convergence_{index}", setting)
        for index, setting in enumerate(dict.fromkeys(curves["setting"]), start=1)
    ]
    return Section("convergence", TITLE, _reading(evidence, curves), [_table(evidence, curves)], drawings)


def mean_curves(evidence: Evidence, name: str, split: str) -> pd.DataFrame:
    """One row a method and epoch: setting, method, objective, epoch, mean and sd over seeds, n.

    Only epochs that all curves of a method have, so that no step of a mean comes from a seed that stopped.
    """
    chosen = evidence.curves(split, (name,))
    chosen = chosen[np.isfinite(chosen["value"])]
    keys = [*CELL, "objective"]
    grouped = chosen.groupby([*keys, "epoch"], sort=False)["value"].agg(mean="mean", sd="std", n="count").reset_index()
    runs = chosen.groupby(keys, sort=False)["run_id"].nunique().rename("runs").reset_index()
    complete = grouped.merge(runs, on=keys)
    return plain(complete[complete["n"] == complete["runs"]].drop(columns="runs"))


def _best_first(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of a setting, those with the highest ends first."""
    ends = curves.groupby("method", sort=False)["mean"].transform("last")
    return curves.assign(end=ends).sort_values("end", ascending=False, kind="stable").drop(columns="end")


def _drawing(curves: pd.DataFrame, name: str, setting: str) -> Drawing:
    low, high = int(curves["n"].min()), int(curves["n"].max())
    seeds = str(low) if low == high else f"{low} to {high}"
    caption = (
        f"{setting}: test R@1 after every epoch, mean over {seeds} seeds, no interval drawn (sd in the table); one "
        "panel an objective, the other methods in grey. No selection of epochs."
    )
    caption += left_out(curves)
    alt = f"Curves of test recall at 1 over epochs, {setting}"
    return Drawing(name, caption, partial(_draw, curves), alt, "convergence")


def _draw(curves: pd.DataFrame) -> Figure:
    figure, axes = multiples(curves, "epoch", "mean", xlabel="epoch", ylabel="test R@1 (%)", scale=metric(METRIC).scale)
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def _table(evidence: Evidence, curves: pd.DataFrame) -> Table:
    last = curves.loc[curves.groupby(CELL, sort=False)["epoch"].idxmax()]
    best = curves.loc[curves.groupby(CELL, sort=False)["mean"].idxmax()]
    joined = last.merge(best, on=CELL, suffixes=("_last", "_best"))
    shown = pd.DataFrame({"Method": joined["method"], "Setting": joined["setting"], "n": joined["n_last"].astype(str)})
    shown["R@1 at the last epoch"] = [f"{value * 100:.1f}" for value in joined["mean_last"]]
    shown["Best mean R@1"] = [f"{value * 100:.1f}" for value in joined["mean_best"]]
    shown["at epoch"] = [
        f"{best:g} of {last:g}" for best, last in zip(joined["epoch_best"], joined["epoch_last"], strict=True)
    ]
    caption = (
        "The last and the best point of each mean curve of test R@1, percent, means over n seeds. A best epoch that is "
        "the last one has most likely not converged. The CSV has every epoch."
    )
    return Table("convergence", caption, curves, evidence.with_setting(shown))


def _reading(evidence: Evidence, curves: pd.DataFrame) -> list[str]:
    ends = [
        int(curve["epoch"].iloc[int(curve["mean"].argmax())]) == int(curve["epoch"].max())
        for _, curve in curves.groupby(CELL, sort=False)
    ]
    return [
        f"{sum(ends)} of {len(ends)} methods have their best mean R@1 at their last epoch: they were still "
        "improving, and their order may change with longer training."
    ]
