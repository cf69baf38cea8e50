"""Singular-value spectra of the training embeddings: how many directions a method uses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from harness.report.evidence import CELL, Evidence
from harness.report.figures.multiples import left_out, multiples
from harness.report.names import SELECTIONS
from harness.report.section import Drawing, Section, Table

TITLE = "Spectra of the embeddings"


def analyze(evidence: Evidence) -> Section:
    """One figure a setting, spectra of the training classes."""
    spectra = mean_spectra(evidence, "train")
    if spectra.empty:
        return Section("spectra", TITLE, ["No run has a spectrum of the training classes yet."])
    drawings = [
        _drawing(evidence, spectra[spectra["setting"] == setting], f"spectra_{index}", setting)
        for index, setting in enumerate(dict.fromkeys(spectra["setting"]), start=1)
    ]
    text = (
        "A flat line uses all directions of the embedding alike, a steep one few; spectral decay is the divergence of "
        "the uniform distribution from this one without its largest value."
    )
    return Section("spectra", TITLE, [text], [_table(evidence, spectra)], drawings)


def mean_spectra(evidence: Evidence, split: str) -> pd.DataFrame:
    """One row a method and singular value: setting, method, objective, index (from 1), mean over seeds, n.

    Values of a run sum to 1. A run whose number of singular values differs from its siblings' is refused.
    """
    rows = evidence.spectra[evidence.spectra["split"] == split] if len(evidence.spectra) else evidence.spectra
    frames = []
    for key, group in rows.groupby([*CELL, "objective"], sort=False):
        values = np.array([np.asarray(one, dtype=float) for one in group["values"]])
        mean = values.mean(axis=0)
        own = dict(zip([*CELL, "objective"], key, strict=True))
        frames.append(pd.DataFrame({**own, "index": np.arange(1, len(mean) + 1), "mean": mean, "n": len(values)}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*CELL, "objective"])


def _drawing(evidence: Evidence, spectra: pd.DataFrame, name: str, setting: str) -> Drawing:
    low, high = int(spectra["n"].min()), int(spectra["n"].max())
    seeds = str(low) if low == high else f"{low} to {high}"
    caption = (
        f"{setting}: singular values of the embeddings of the training classes, each run's divided by their sum, mean "
        f"over {seeds} seeds; {SELECTIONS[evidence.selection]}. One panel an objective, the other methods in grey."
    )
    caption += left_out(spectra)
    return Drawing(name, caption, partial(_draw, spectra), f"Singular value spectra, {setting}", "spectra")


def _draw(spectra: pd.DataFrame) -> Figure:
    figure, axes = multiples(
        spectra, "index", "mean", xlabel="singular value, largest first", ylabel="share of the sum"
    )
    for axis in axes:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    return figure


def _table(evidence: Evidence, spectra: pd.DataFrame) -> Table:
    rows = []
    for (setting, method), group in spectra.groupby(CELL, sort=False):
        shares = group["mean"].to_numpy()
        half = int(np.searchsorted(np.cumsum(shares), 0.5) + 1)
        row = {"Method": method, "Setting": setting, "n": str(group["n"].iloc[0]), "Largest": f"{shares[0]:.3f}"}
        rows.append({**row, "Smallest": f"{shares[-1]:.5f}", "Values that hold half": f"{half} of {len(shares)}"})
    caption = (
        "Mean spectrum over n seeds, training classes: share of the largest and the smallest singular value, and how "
        f"many hold half of the sum; {SELECTIONS[evidence.selection]}. The CSV has all values."
    )
    return Table("spectra", caption, spectra, evidence.with_setting(pd.DataFrame(rows)), folded=True)
