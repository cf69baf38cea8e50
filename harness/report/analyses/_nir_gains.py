"""What non-isotropy regularization gains, and what it does to the embedding, beside what was published."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from harness.report import published
from harness.report.analyses._nir_names import Cell, short_names
from harness.report.evidence import CELL, Evidence
from harness.report.names import SELECTIONS, Metric, metric, number
from harness.report.section import Table
from harness.report.statistics import paired_difference

QUALITY = ("recall_at_1", "nmi", "map_at_1000")
SPREAD = "concentration_spread"
"""Variance of class concentration over its squared mean: without unit, unlike the variance itself."""

STRUCTURE = ("rho", "density", "gaussian_potential", "uniformity", "concentration_variance", SPREAD)
SHOWN = ("rho", "density", "gaussian_potential", SPREAD)
PUBLISHED_NAMES = {"proxy_anchor": "ProxyAnchor", "proxy_nca": "ProxyNCA", "soft_triple": "SoftTriplet"}
PUBLISHED_STRUCTURE = {
    "rho": "rho",
    "density": "density",
    "gaussian_potential": "uniformity_g2",
    SPREAD: "sigma2_kappa",
}


def pairs(evidence: Evidence) -> dict[Cell, str]:
    """Cell with nir -> the method that is the same but for it. Without a flow, or with one that nothing feels, it is no
    NIR."""
    options = _options(evidence)
    return {cell: base for cell, base in evidence.bases().items() if _acts(options[cell])}


def weight_pairs(evidence: Evidence) -> dict[Cell, str]:
    """Cell whose nir multiplies the proxy loss -> the method with that weight on it and no flow."""
    options = _options(evidence)
    scaled = {_beside_the_flow(told): cell for cell, told in options.items() if told.get("regularizer.form") == "none"}
    found = {cell: scaled.get(_beside_the_flow(told)) for cell, told in options.items() if _acts(told)}
    return {cell: base[1] for cell, base in found.items() if base and base[0] == cell[0]}


def _options(evidence: Evidence) -> dict[Cell, dict[str, Any]]:
    cells = evidence.cells().to_dict("records")
    return {(cell["setting"], cell["method"]): evidence.configurations[cell["run_id"]] for cell in cells}


def _beside_the_flow(options: Mapping[str, Any]) -> str:
    """All but the seed and the options of the flow."""
    kept = ("regularizer", "regularizer.weight", "regularizer.weight_on")
    told = {path: str(value) for path, value in options.items() if path in kept or not path.startswith("regularizer.")}
    return str(sorted((path, value) for path, value in told.items() if path != "seed"))


def _acts(options: Mapping[str, Any]) -> bool:
    felt = not (options.get("regularizer.detach_embeddings") and options.get("regularizer.detach_proxies"))
    return options["regularizer"] == "nir" and options.get("regularizer.form") != "none" and felt


def differences(evidence: Evidence) -> pd.DataFrame:
    """One row a pair, metric and split.

    Columns: setting, objective, name and base_name (short), method, base, metric, split, plain and with_nir (means over
    the shared seeds), gain, low, high (Student-t 95% interval of the paired difference), n, and the published gain in
    that metric on each data set of the paper.
    """
    quality = [(name, "test") for name in QUALITY]
    everything = quality + [(name, split) for split in ("train", "test") for name in STRUCTURE]
    compared = [(*pair, everything) for pair in pairs(evidence).items()]
    compared += [(*pair, quality) for pair in weight_pairs(evidence).items()]
    if not compared:
        return pd.DataFrame()
    rows, names = [], short_names(evidence)
    seeds = {pair: _by_seed(_values(evidence, *pair)) for pair in everything}
    objectives = {(cell["setting"], cell["method"]): cell["objective"] for cell in evidence.cells().to_dict("records")}
    for (setting, method), base, numbers in compared:
        for name, split in numbers:
            with_nir, plain = (seeds[name, split].get((setting, one), {}) for one in (method, base))
            difference = paired_difference(with_nir, plain)
            if not difference.n:
                continue
            objective = str(objectives[setting, method])
            shared = sorted(set(with_nir) & set(plain))
            row: dict[str, Any] = {"setting": setting, "objective": objective, "name": names[setting, method]}
            row |= {"base_name": names[setting, base], "method": method, "base": base}
            row |= {"metric": name, "split": split, "plain": float(np.mean([plain[seed] for seed in shared]))}
            row |= {"with_nir": float(np.mean([with_nir[seed] for seed in shared])), "gain": difference.mean}
            row |= {"low": difference.low, "high": difference.high, "n": difference.n}
            rows.append(row | _published_gains(objective, name))
    return pd.DataFrame(rows)


@cache
def _published_gains(objective: str, name: str) -> dict[str, float]:
    """`published_cub200` and so on: NIR minus plain as the paper has it; nan where it has none."""
    table = published.published().query("paper == 'roth2022'")
    table = table[table["table"].isin(["relative comparison", "embedding structure"])]
    theirs, wanted = PUBLISHED_NAMES.get(objective, ""), PUBLISHED_STRUCTURE.get(name, name)
    found = {}
    for dataset in published.DATASETS:
        rows = table[(table["dataset"] == dataset) & (table["metric"] == wanted)].set_index("method")["value"]
        known = theirs in rows.index and f"{theirs}+NIR" in rows.index
        found[f"published_{dataset}"] = float(rows[f"{theirs}+NIR"] - rows[theirs]) if known else np.nan
    return found


def _values(evidence: Evidence, name: str, split: str) -> pd.DataFrame:
    """As `evidence.values`, also of the relative spread."""
    if name != SPREAD:
        return evidence.values(name, split)
    variances, means = (evidence.values(part, split) for part in ("concentration_variance", "concentration"))
    joined = variances.merge(means[["run_id", "value"]], on="run_id", suffixes=("", "_mean"))
    return joined.assign(value=joined["value"] / joined["value_mean"] ** 2)


def _written(name: str) -> Metric:
    return Metric("concentration var/mean²", percent=False, digits=3) if name == SPREAD else metric(name)


def _by_seed(values: pd.DataFrame) -> dict[Cell, dict[int, float]]:
    groups = values.groupby(["setting", "method"], sort=False)
    return {
        (str(key[0]), str(key[1])): dict(zip(own["seed"].astype(int), own["value"].astype(float), strict=True))
        for key, own in groups
    }


def _digits(name: str) -> int:
    return 0 if name == "concentration_variance" else _written(name).digits


def _gain(row: dict[Any, Any]) -> str:
    known, digits = _written(row["metric"]), _digits(row["metric"])
    text = _signed(row["gain"] * known.scale, digits)
    if row["high"] is None or not np.isfinite(row["high"]):
        return f"{text} (n={row['n']})"
    return f"{text} ± {(row['high'] - row['gain']) * known.scale:.{digits}f}"


def _signed(value: float, digits: int) -> str:
    text = number(value, digits)
    return f"+{text}" if np.isfinite(value) and value > 0 else text


def _theirs(row: dict[Any, Any]) -> str:
    """`+1.6, +2.8, +0.9`, the gains on the paper's data sets; a dash for each that it does not have."""
    known = _written(row["metric"])
    return ", ".join(_signed(row[f"published_{dataset}"] * known.scale, known.digits) for dataset in published.DATASETS)


def gains_table(evidence: Evidence, numbers: pd.DataFrame) -> Table:
    rows = []
    quality = numbers[numbers["metric"].isin(QUALITY)]
    for (setting, *_), group in quality.groupby([*CELL, "base"], sort=False):
        first = group.iloc[0]
        row = {"Method": first["name"], "Setting": setting, "Against": first["base_name"], "n": str(group["n"].max())}
        for one in group.to_dict("records"):
            title = metric(one["metric"]).title
            row |= {title: _gain(one), f"{title}, published": _theirs(one)}
        rows.append(row)
    caption = (
        "Gain by NIR on the test classes, percent points: with minus without, paired by the n seeds that both have, ± "
        f"half of the Student-t 95% interval; {SELECTIONS[evidence.selection]}. Published gains (Roth et al., 2022) "
        f"are those on {', '.join(published.DATASETS.values())}; they have no interval, and of "
        "Proxy-Anchor the plain runs are known to have had another proxy rate and no warm-up. In the released form the "
        "weight multiplies the proxy loss: the gain against the plain run is that of flow and weight together, the one "
        "against the same weight without a flow that of the flow."
    )
    return Table("nir_gains", caption, quality, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def structure_table(evidence: Evidence, numbers: pd.DataFrame) -> Table:
    """One row a method and split, then the published rows."""
    structure = numbers[numbers["metric"].isin(STRUCTURE)]
    rows = []
    for (setting, _, split), group in structure.groupby([*CELL, "split"], sort=False):
        first = group.iloc[0]
        row = {"Method": first["name"], "Setting": setting, "Classes": split}
        told = {one["metric"]: _change(one) for one in group.to_dict("records")}
        rows.append(row | {_written(name).title: told.get(name, "") for name in SHOWN})
    shown = pd.DataFrame([*rows, *_published_structure()]).fillna("")
    caption = (
        "Structure of the embedding without NIR → with it, means over the seeds that both have, ± half of the "
        "Student-t 95% interval of the paired difference. The Gaussian potential is our reading of the published G2; "
        "the variance of class concentration over its squared mean one reading of the published variance of cluster "
        "sizes, which is nowhere defined; nor is it known on which classes those were measured. The CSV has n, the "
        "bare variance, and the uniformity, which is the logarithm of the potential."
    )
    return Table("nir_structure", caption, structure, evidence.with_setting(shown))


def _change(row: dict[Any, Any]) -> str:
    """`0.511 → 0.507 ± 0.013`"""
    digits = _digits(row["metric"])
    text = f"{number(row['plain'], digits)} → {number(row['with_nir'], digits)}"
    return text if pd.isna(row["high"]) else f"{text} ± {number(row['high'] - row['gain'], digits)}"


def _published_structure() -> list[dict[str, str]]:
    table = published.published().query("paper == 'roth2022' and table == 'embedding structure'")
    rows = []
    for dataset in dict.fromkeys(table["dataset"]):
        values = table[table["dataset"] == dataset].set_index(["method", "metric"])["value"]
        row = {"Method": f"published, {published.DATASETS[dataset]}"}
        for name, theirs in PUBLISHED_STRUCTURE.items():
            plain, with_nir = (values[method, theirs] for method in ("ProxyAnchor", "ProxyAnchor+NIR"))
            row[_written(name).title] = f"{number(plain, 3)} → {number(with_nir, 3)}"
        rows.append(row)
    return rows


def structure_text(numbers: pd.DataFrame) -> list[str]:
    """Which statistics of test embeddings moved, by the signs of their intervals, and moved as far as the published."""
    told = numbers[numbers["metric"].isin(PUBLISHED_STRUCTURE) & (numbers["split"] == "test") & numbers["low"].notna()]
    moved = told[(told["low"] > 0) | (told["high"] < 0)]
    far = moved[moved["gain"].abs() >= moved["metric"].map(_smallest_published) / 2].to_dict("records")
    lines = [f"{row['name']}: {_written(row['metric']).title} {_gain(row)}" for row in far]
    return [
        f"Of {len(told)} differences in the structure of test embeddings, {len(moved)} have an interval that leaves "
        "out 0, where chance alone makes one in twenty. At least half as large as those published for Proxy-Anchor "
        + (f"are {len(lines)} of these: {'; '.join(lines)}." if lines else "is none of these.")
    ]


def _smallest_published(name: str) -> float:
    changes = _published_gains("proxy_anchor", name).values()
    return min(abs(change) for change in changes if np.isfinite(change))


def gains_text(numbers: pd.DataFrame) -> list[str]:
    recall = numbers[numbers["metric"] == "recall_at_1"].to_dict("records")
    lines = [f"{row['name']} against {row['base_name']} {_gain(row)}" for row in recall]
    return [f"Points of test R@1 with NIR minus without, everything else equal: {'; '.join(lines)}."] if lines else []
