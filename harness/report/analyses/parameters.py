"""Parameter study: one factor of the protocol at a time, as relative change to the base value (Roth et al., 2020).

A recipe (objective, miner, regularizer) on a data set has one base: the protocol from which the most others differ in a
single factor. Every such other is compared with it seed by seed. Protocols that differ in more are left out.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report.analyses._recipes import WHAT, Configuration, done_runs
from harness.report.evidence import Evidence
from harness.report.figures.parameters import change_rows
from harness.report.names import SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import t_interval

TITLE = "How much do the settings matter?"
METRICS = ("recall_at_1", "nmi", "map_at_r")
SETTINGS = ("training", "optimizer", "sampler")
"""Of these sections every setting is a factor of its own; a backbone is one factor, but for its dimension."""

Protocol = dict[str, dict[str, Any]]
"""Factor -> the settings that belong to it, by their paths."""


def analyze(evidence: Evidence) -> Section:
    """Relative change by each value of each factor, and the largest change beside the spread of recipes."""
    changes = relative_changes(evidence)
    if changes.empty:
        return Section("parameters", TITLE, ["No two protocols of a method that have results differ in one factor."])
    tables = [_table(evidence, changes)]
    return Section("parameters", TITLE, _reading(evidence, changes), tables, [_drawing(evidence, changes)])


def relative_changes(evidence: Evidence) -> pd.DataFrame:
    """One row a recipe, value of a factor and metric.

    Columns: setting (that of the base), recipe, factor, value and base_value (in words), metric, base and mean (over
    the shared seeds), change, low, high (relative change paired by seed, Student-t 95% interval), n.
    """
    runs = done_runs(evidence)
    rows = []
    numbers = {name: evidence.values(name, "test").set_index("run_id")["value"] for name in METRICS}
    for _, own in runs.groupby(["data", "recipe"], sort=False):
        protocols = [protocol(evidence.configurations[str(run)]) for run in own["run_id"]]
        distinct = {str(one): one for one in protocols}
        base = base_of(list(distinct.values()))
        if base is None:
            continue
        of_protocol = {
            str(key): runs for key, runs in own.groupby(pd.Series([str(one) for one in protocols], own.index))
        }
        base_runs = of_protocol[str(base)]
        for factor, changed in _neighbors(base, list(distinct.values())):
            others = of_protocol[str(changed)]
            about = {"setting": base_runs["setting"].iloc[0], "recipe": own["recipe"].iloc[0], "factor": factor}
            about |= {"value": told(changed, base, factor), "base_value": told(base, changed, factor)}
            rows += [about | _change(name, values, base_runs, others) for name, values in numbers.items()]
    frame = pd.DataFrame([row for row in rows if row["n"]], columns=_COLUMNS)
    frame = frame.astype(dict.fromkeys(("base", "mean", "change", "low", "high"), float))
    order = {factor: place for place, factor in enumerate(dict.fromkeys(frame["factor"]))}
    by = frame.assign(order=frame["factor"].map(order), size=[_size(value) for value in frame["value"]])
    return by.sort_values(["setting", "order", "size"], kind="stable")[_COLUMNS].reset_index(drop=True)


_COLUMNS = [
    "setting",
    "recipe",
    "factor",
    "value",
    "base_value",
    "metric",
    "base",
    "mean",
    "change",
    "low",
    "high",
    "n",
]


def protocol(run: Configuration) -> Protocol:
    """Everything that decides how a run is trained, by factor."""
    factors: Protocol = {}
    for path, value in run.items():
        section = path.partition(".")[0]
        if section == "backbone":
            name = "dimension" if path == "backbone.embedding_dim" else "backbone"
        elif section in SETTINGS:
            name = "sampler" if section == "sampler" else path.partition(".")[2].replace("_", " ")
        else:
            assert section in (*WHAT, "dataset", "evaluation", "seed"), path
            continue
        factors.setdefault({"lr": "learning rate"}.get(name, name), {})[path] = value
    return factors


def base_of(protocols: list[Protocol]) -> Protocol | None:
    """The protocol with the most others that differ from it in one factor, the first of equals; None without any."""
    distinct = list({str(one): one for one in protocols}.values())
    factors = list(dict.fromkeys(factor for one in distinct for factor in one))
    # Two protocols that differ in one factor are equal without it: counted so, thousands of them are no matter.
    without = [[_key(one, factor) for factor in factors] for one in distinct]
    alike = Counter(key for keys in without for key in keys)
    counts = [sum(alike[key] - 1 for key in keys) for keys in without]
    return distinct[int(np.argmax(counts))] if any(counts) else None


def _key(one: Protocol, left_out: str) -> str:
    return left_out + str(sorted((factor, str(own)) for factor, own in one.items() if factor != left_out))


def differing(one: Protocol, other: Protocol) -> list[str]:
    """The factors in which two protocols differ."""
    return [factor for factor in dict.fromkeys([*one, *other]) if one.get(factor) != other.get(factor)]


def told(one: Protocol, other: Protocol, factor: str) -> str:
    """What one has of a factor, as far as the other has something else: `64`, or `convnet width=16`."""
    own, others = one.get(factor, {}), other.get(factor, {})
    if len(own) == 1:
        return str(next(iter(own.values())))
    heads = [str(value) for path, value in own.items() if "." not in path]
    if heads and heads != [str(value) for path, value in others.items() if "." not in path]:
        return heads[0]  # the options of another part need not be told
    options = [f"{path.rpartition('.')[2]}={value}" for path, value in own.items() if others.get(path) != value]
    return " ".join([*heads, *options])


def _neighbors(base: Protocol, protocols: list[Protocol]) -> list[tuple[str, Protocol]]:
    pairs = [(differing(base, other), other) for other in protocols]
    return [(factors[0], other) for factors, other in pairs if len(factors) == 1]


def _change(name: str, values: pd.Series, base: pd.DataFrame, others: pd.DataFrame) -> dict[str, Any]:
    before, after = (
        {int(seed): float(values[run]) for run, seed in zip(runs["run_id"], runs["seed"], strict=True) if run in values}
        for runs in (base, others)
    )
    seeds = sorted(seed for seed in set(before) & set(after) if before[seed] > 0)
    mean = t_interval([after[seed] / before[seed] - 1 for seed in seeds])
    row: dict[str, Any] = {"metric": name, "n": mean.n, "change": mean.mean, "low": mean.low, "high": mean.high}
    row |= {"base": np.mean([before[seed] for seed in seeds]) if seeds else np.nan}
    return row | {"mean": np.mean([after[seed] for seed in seeds]) if seeds else np.nan}


def _size(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0


def percent(row: dict[Any, Any]) -> str:
    """`+3.1 ± 0.8 %`, a relative change."""
    text = f"{row['change'] * 100:+.1f}".replace("-", "\N{MINUS SIGN}")
    half = (row["high"] - row["change"]) * 100
    return f"{text} ± {half:.1f} %" if np.isfinite(half) else f"{text} % (n={row['n']})"


def _table(evidence: Evidence, changes: pd.DataFrame) -> Table:
    rows = []
    for key, group in changes.groupby(["setting", "recipe", "factor", "value"], sort=False):
        row = dict(zip(("Setting", "Recipe", "Factor", "Value"), key, strict=True))
        row |= {"Base": group["base_value"].iloc[0], "n": str(group["n"].max())}
        for one in group.to_dict("records"):
            title = metric(one["metric"]).title
            row |= {title: number(one["mean"] * 100), f"{title}, change": percent(one)}
        rows.append(row)
    caption = (
        "One factor changed, all else as in the base: means over the n seeds that both have, test classes, percent, "
        "and the relative change to the base, paired by seed, ± half of the Student-t 95% interval; "
        f"{SELECTIONS[evidence.selection]}."
    )
    return Table("parameters", caption, changes, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def _reading(evidence: Evidence, changes: pd.DataFrame) -> list[str]:
    text = []
    recall = changes[changes["metric"] == "recall_at_1"]
    for setting, rows in recall.groupby("setting", sort=False):
        widest = rows.to_dict("records")[int(rows["change"].abs().argmax())]
        sure = rows[(rows["low"] > 0) | (rows["high"] < 0)]
        text.append(
            f"{setting}: the largest change of R@1 by one factor is {percent(widest)} ({widest['recipe']}, "
            f"{widest['factor']} {widest['value']} in place of {widest['base_value']}). Of {len(rows)} changes, "
            f"{len(sure)} have a 95% interval that leaves out zero, not corrected for their number."
        )
        bases = rows.groupby("recipe")["base"].mean()
        if len(bases) > 1:
            gap = (bases.max() / bases.min() - 1) * 100
            more = int((rows["change"].abs() * 100 > gap).sum())
            text.append(
                f"Between the recipes, the best base is {gap:.1f} % above the worst; {more} of the {len(rows)} changes "
                "of a single factor are larger than that."
            )
    return text


def _drawing(evidence: Evidence, changes: pd.DataFrame) -> Drawing:
    caption = (
        "Relative change of test R@1 where one factor is changed and all else is as in the base (zero): mean of the "
        "changes paired by seed, with Student-t 95% interval (one that leaves the panel is cut); "
        f"{SELECTIONS[evidence.selection]}."
    )
    recall = changes[changes["metric"] == "recall_at_1"]
    alt = "Dot plot of relative changes of recall by factor and value"
    return Drawing("parameters", caption, partial(change_rows, recall), alt, "parameters")
