"""Batch samplers: how well each does relative to the others, objective by objective (Roth et al., 2020).

Objectives differ by more than samplers do. So each number is divided by the mean of all samplers under the same recipe
(objective, miner, regularizer), and samplers are compared by the distribution of these relative numbers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report.analyses._recipes import Configuration, done_runs, part
from harness.report.evidence import Evidence
from harness.report.figures.batch_samplers import relative_panels
from harness.report.names import SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import Mean, paired_difference, t_interval

TITLE = "Does it matter how a batch is put together?"
METRICS = ("recall_at_1", "recall_at_2", "nmi", "f1", "map_at_c")
"""Those that the paper compared; its mAP is ours at C."""

SHORT = {"random": "SPC-R", "greedy_coreset": "GC", "distance_matching": "DDM", "frechet_matching": "FRD"}
REFERENCE = "SPC-2"


def analyze(evidence: Evidence) -> Section:
    """Relative performance by sampler, and the difference of each to two samples a class."""
    shares = relative(evidence)
    if shares.empty:
        return Section("batch_samplers", TITLE, ["No method has results with two samplers or more."])
    summary, gains = summarize(shares), differences(shares)
    tables = [_summary_table(evidence, summary)]
    if not gains.empty:
        tables.append(_gains_table(evidence, gains))
    tables.append(_runs_table(evidence, shares))
    text = _reading(summary, gains)
    return Section("batch_samplers", TITLE, text, tables, [_drawing(evidence, shares, summary)])


def relative(evidence: Evidence) -> pd.DataFrame:
    """One row a run and metric, of recipes that were run with two samplers or more.

    Columns: setting, recipe, sampler, metric, seed, value, relative (value over the mean of the samplers' means).
    """
    runs = done_runs(evidence)
    named = sampler_names({str(run): evidence.configurations[str(run)] for run in runs["run_id"]})
    runs["sampler"] = [named[str(run)] for run in runs["run_id"]]
    frames = []
    for name in METRICS:
        values = evidence.values(name, "test")[["run_id", "value"]]
        rows = runs.merge(values, on="run_id").assign(metric=name)
        for _, group in rows.groupby(["setting", "data", "recipe"], sort=False):
            means = group.groupby("sampler", sort=False)["value"].mean()
            if len(means) > 1 and means.mean() > 0:
                frames.append(group.assign(relative=group["value"] / means.mean()))
    columns = ["setting", "recipe", "sampler", "metric", "seed", "value", "relative"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def sampler_names(configurations: dict[str, Configuration]) -> dict[str, str]:
    """run_id -> SPC-2, SPC-R, GC, DDM, FRD as the paper calls them, with other options where they tell runs apart."""
    samplers = {run_id: part(run, "sampler") for run_id, run in configurations.items()}
    values: dict[tuple[str, str], set[str]] = {}
    for own in samplers.values():
        for path, value in own.items():
            values.setdefault((str(own.get("sampler")), path), set()).add(str(value))
    names = {}
    for run_id, own in samplers.items():
        told = [
            f"{path.partition('.')[2].replace('_', ' ')}={value}"
            for path, value in own.items()
            if path not in ("sampler", "sampler.samples_per_class" if _by_class(own) else "")
            and len(values[str(own.get("sampler")), path]) > 1
        ]
        names[run_id] = " ".join([_short(own), *told])
    return names


def _by_class(sampler: Configuration) -> bool:
    return sampler.get("sampler") == "class_balanced"


def _short(sampler: Configuration) -> str:
    if _by_class(sampler):
        return f"SPC-{sampler.get('sampler.samples_per_class', '?')}"
    name = str(sampler.get("sampler", "none"))
    return SHORT.get(name, name)


def summarize(shares: pd.DataFrame) -> pd.DataFrame:
    """One row a setting, sampler and metric: mean, low, high of the relative numbers over recipes, n (recipes).

    A recipe counts once, as its mean over seeds: seeds of one recipe say nothing of other recipes.
    """
    rows = []
    for (setting, sampler, name), group in shares.groupby(["setting", "sampler", "metric"], sort=False):
        told = t_interval(group.groupby("recipe")["relative"].mean().to_numpy())
        row: dict[str, Any] = {"setting": setting, "sampler": sampler, "metric": name}
        rows.append(row | {"mean": told.mean, "low": told.low, "high": told.high, "n": told.n})
    return pd.DataFrame(rows).astype({"low": float, "high": float})


def differences(shares: pd.DataFrame) -> pd.DataFrame:
    """R@1 of each sampler minus that of SPC-2, paired by seed: setting, recipe, sampler, mean, gain, low, high, n."""
    rows = []
    recall = shares[shares["metric"] == "recall_at_1"]
    for (setting, recipe), group in recall.groupby(["setting", "recipe"], sort=False):
        seeds = {str(name): dict(zip(own["seed"], own["value"], strict=True)) for name, own in group.groupby("sampler")}
        for sampler in dict.fromkeys(group["sampler"]):
            if REFERENCE not in seeds or sampler == REFERENCE:
                continue
            told = paired_difference(seeds[sampler], seeds[REFERENCE])
            row = {
                "setting": setting,
                "recipe": recipe,
                "sampler": sampler,
                "mean": np.mean(list(seeds[sampler].values())),
            }
            rows.append(row | {"gain": told.mean, "low": told.low, "high": told.high, "n": told.n})
    frame = pd.DataFrame(rows)
    return frame.astype({"low": float, "high": float}) if len(frame) else frame


def percent(mean: float, high: float, n: int) -> str:
    """`+1.2 ± 0.4 %`, of a mean relative number."""
    text = f"{(mean - 1) * 100:+.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{text} ± {(high - mean) * 100:.1f}" if np.isfinite(high) else f"{text} (n={n})"


def points(row: dict[Any, Any]) -> str:
    """`+0.4 ± 0.9`, a gain in percent points."""
    text = number(row["gain"] * 100)
    text = text if text.startswith("\N{MINUS SIGN}") else f"+{text}"
    return f"{text} ± {(row['high'] - row['gain']) * 100:.1f}" if np.isfinite(row["high"]) else f"{text} (n={row['n']})"


def _summary_table(evidence: Evidence, summary: pd.DataFrame) -> Table:
    rows = []
    for (setting, sampler), group in summary.groupby(["setting", "sampler"], sort=False):
        row = {"Sampler": sampler, "Setting": setting, "Recipes": str(group["n"].max())}
        rows.append(
            row | {metric(r["metric"]).title: percent(r["mean"], r["high"], r["n"]) for r in group.to_dict("records")}
        )
    caption = (
        "Relative performance on the test classes: percent above or below the mean of all samplers under the same "
        "recipe, mean over recipes (each the mean of its seeds) ± half of the Student-t 95% interval over recipes; "
        f"{SELECTIONS[evidence.selection]}."
    )
    return Table("batch_samplers", caption, summary, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def _gains_table(evidence: Evidence, gains: pd.DataFrame) -> Table:
    rows = []
    for (setting, recipe), group in gains.groupby(["setting", "recipe"], sort=False):
        row = {"Recipe": recipe, "Setting": setting, "n": str(group["n"].max())}
        rows.append(row | {one["sampler"]: points(one) for one in group.to_dict("records")})
    caption = (
        f"Test R@1 minus that with {REFERENCE}, percent points, paired by the n seeds that both have, ± half of the "
        f"Student-t 95% interval; {SELECTIONS[evidence.selection]}."
    )
    return Table("batch_samplers_gains", caption, gains, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def _runs_table(evidence: Evidence, shares: pd.DataFrame) -> Table:
    rows = []
    for (setting, recipe, sampler), group in shares.groupby(["setting", "recipe", "sampler"], sort=False):
        row = {"Recipe": recipe, "Sampler": sampler, "Setting": setting, "n": str(group["seed"].nunique())}
        for name, own in group.groupby("metric", sort=False):
            told: Mean = t_interval(own["value"].to_numpy())
            half = "" if told.half_width is None else f" ± {told.half_width * 100:.1f}"
            row[metric(str(name)).title] = f"{told.mean * 100:.1f}{half}"
        rows.append(row)
    caption = (
        "The numbers themselves: percent on the test classes, mean over n seeds ± half of the Student-t 95% interval; "
        f"{SELECTIONS[evidence.selection]}."
    )
    shown = evidence.with_setting(pd.DataFrame(rows).fillna(""))
    return Table("batch_samplers_runs", caption, shares, shown, folded=True)


def _reading(summary: pd.DataFrame, gains: pd.DataFrame) -> list[str]:
    text = []
    for setting, rows in summary[summary["metric"] == "recall_at_1"].groupby("setting", sort=False):
        told = rows.to_dict("records")
        best, worst = told[int(rows["mean"].argmax())], told[int(rows["mean"].argmin())]
        text.append(
            f"{setting}: over {int(rows['n'].max())} recipes, {best['sampler']} has the highest relative R@1 "
            f"({percent(best['mean'], best['high'], best['n'])} %), {worst['sampler']} the lowest "
            f"({percent(worst['mean'], worst['high'], worst['n'])} %)."
        )
    if len(gains):
        better = gains[gains["low"] > 0]
        named = ", ".join(f"{row['sampler']} under {row['recipe']}" for row in better.to_dict("records"))
        text.append(
            f"Of {len(gains)} comparisons with {REFERENCE}, {len(better)} have a 95% interval above zero"
            f"{f' ({named})' if named else ''}. The intervals are not corrected for their number. "
            f"Roth et al. (2020) found that diverse batches help and that {REFERENCE} is enough."
        )
    return text


def _drawing(evidence: Evidence, shares: pd.DataFrame, summary: pd.DataFrame) -> Drawing:
    caption = (
        "Percent above or below the mean of all samplers under the same recipe. Small marks: runs, one mark a recipe; "
        "diamonds: mean over recipes with Student-t 95% interval (none for one recipe; one that leaves the panel is "
        f"cut). Test classes, {SELECTIONS[evidence.selection]}."
    )
    alt = "Distributions of relative performance by batch sampler"
    draw = partial(relative_panels, shares, summary)
    return Drawing("batch_samplers", caption, draw, alt, "batch_samplers")
