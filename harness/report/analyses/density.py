"""Embedding density and spectral decay of the training classes against generalization (Roth et al., 2020, figure 3).

One point is one method: the mean over seeds of a property of the training embedding, and of R@1 on the test classes.
Coefficients and lines are over plain methods, as in the paper; regularized methods are shown, and counted apart.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report import published
from harness.report.analyses._density_checks import checks, family, published_family
from harness.report.evidence import CELL, Evidence
from harness.report.figures.density import overlay
from harness.report.figures.most import POINTS
from harness.report.figures.scatter import labelled_decay, property_grid
from harness.report.names import SELECTIONS, SPEARMAN, STATISTICS, coefficient_text, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import Coefficient, least_squares, pearson, spearman

TITLE = "Do density and spectral decay predict generalization?"


def analyze(evidence: Evidence) -> Section:
    """Scatter grid, coefficients of ours and of the papers' points, and where they disagree."""
    own = points(evidence)
    shown = [name for name in STATISTICS if own[name].notna().any()]
    if not shown:
        return Section(
            "density", TITLE, ["No run has a test R@1 and embedding statistics of the training classes yet."]
        )
    ours, papers = {setting: own[own["setting"] == setting] for setting in dict.fromkeys(own["setting"])}, _papers()
    clouds = {**ours, **papers}
    table, robust = correlations(clouds), checks(clouds, STATISTICS)
    return Section(
        "density",
        TITLE,
        _reading(table, robust),
        [_table(table), _checks_table(robust), _points_table(evidence, own)],
        [_grid(evidence, clouds, table), _overlay(evidence, ours, papers), _labelled(evidence, own)],
    )


def points(evidence: Evidence) -> pd.DataFrame:
    """One row a method, all numbers means over seeds.

    Columns: setting, method, regularizer, family (of the objective), base (the plain form of a regularized method),
    ours = {setting: own[own["setting"] == setting] for setting in dict.fromkeys(own["setting"])}
    papers = _papers()
    """
    bases = evidence.bases()
    recall = evidence.means("recall_at_1", "test")
    properties = {name: evidence.means(name, "train") for name in STATISTICS}
    rows = []
    for cell in evidence.cells().to_dict("records"):
        key = (cell["setting"], cell["method"])
        if key in recall:
            row = {name: cell[name] for name in (*CELL, "regularizer", "cell")} | {"base": bases.get(key, "")}
            row |= {"family": family(cell["objective"], cell["miner"])}
            half = recall[key].half_width
            row |= {"recall_at_1": recall[key].mean, "half_width": np.nan if half is None else half, "n": recall[key].n}
            row |= {name: means[key].mean if key in means else np.nan for name, means in properties.items()}
            rows.append(row)
    columns = [*CELL, "regularizer", "family", "base", "cell", "recall_at_1", "half_width", "n", *STATISTICS]
    return pd.DataFrame(rows, columns=columns)


def _papers() -> dict[str, pd.DataFrame]:
    clouds = {f"Roth et al. (2020): {title}": published.points(name) for name, title in published.DATASETS.items()}
    return {name: cloud.assign(family=cloud["method"].map(published_family)) for name, cloud in clouds.items()}


def correlations(clouds: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a source, property and set of methods: "plain", and "all" where that is more.

    Columns: source, property, methods, n, then pearson and spearman each with _low, _high and _reason, and slope and
    intercept of the least-squares line of R@1.
    """
    rows = []
    for source, cloud in clouds.items():
        for methods in ("plain", "all"):
            chosen = cloud if methods == "all" else cloud[cloud["regularizer"] == "none"]
            for name in STATISTICS:
                if methods == "all" and not (cloud["regularizer"].ne("none") & cloud[name].notna()).any():
                    continue
                rows.append({"source": source, "property": name, "methods": methods, **_correlated(chosen, name)})
    return pd.DataFrame(rows)


def _correlated(cloud: pd.DataFrame, name: str) -> dict[str, Any]:
    x, y = cloud[name].to_numpy(dtype=float), cloud["recall_at_1"].to_numpy(dtype=float)
    row: dict[str, Any] = {"n": int((np.isfinite(x) & np.isfinite(y)).sum())}
    for kind, coefficient in (("pearson", pearson(x, y)), ("spearman", spearman(x, y))):
        row |= {
            kind: np.nan if coefficient.value is None else coefficient.value,
            f"{kind}_low": np.nan if coefficient.low is None else coefficient.low,
            f"{kind}_high": np.nan if coefficient.high is None else coefficient.high,
            f"{kind}_reason": coefficient.reason,
        }
    line = least_squares(x, y)
    return row | {"slope": line[0] if line else np.nan, "intercept": line[1] if line else np.nan}


def _coefficient(row: dict[Any, Any], kind: str) -> Coefficient:
    def known(value: float) -> float | None:
        return value if np.isfinite(value) else None

    low, high = known(row[f"{kind}_low"]), known(row[f"{kind}_high"])
    return Coefficient(known(row[kind]), low, high, row["n"], row[f"{kind}_reason"])


def _table(table: pd.DataFrame) -> Table:
    rows = table.to_dict("records")
    shown = pd.DataFrame(
        {
            "Points": [row["source"] for row in rows],
            "Property of the training classes": [metric(row["property"]).title for row in rows],
            "Methods": [row["methods"] for row in rows],
            "n": [str(row["n"]) for row in rows],
            "Pearson": [coefficient_text(_coefficient(row, "pearson")) for row in rows],
            "Spearman": [coefficient_text(_coefficient(row, "spearman")) for row in rows],
        }
    )
    return Table(
        "density_correlations",
        "Correlation with test R@1 over methods (seed means; n methods), with bootstrap (BCa) 95% intervals over "
        "methods. Plain: without regularizer, as in the papers; all: regularized methods included, which are no "
        "independent evidence, since they repeat an objective.",
        table,
        shown,
    )


def _checks_table(robust: pd.DataFrame) -> Table:
    rows = robust.to_dict("records")
    shown = pd.DataFrame(
        {
            "Points": [row["source"] for row in rows],
            "Property of the training classes": [metric(row["property"]).title for row in rows],
            "n": [str(row["n"]) for row in rows],
            "Pearson": [number(row["pearson"], 2) for row in rows],
            "Within families": [coefficient_text(_coefficient(row, "partial")) for row in rows],
            "One method left out": [
                f"{number(row['left_out_low'], 2)} to {number(row['left_out_high'], 2)}" for row in rows
            ],
            "Most depends on": [row["left_out_method"] for row in rows],
        }
    )
    caption = (
        "Does a coefficient rest on families or on single methods? Plain methods. Within families: partial correlation "
        "that controls the family of the objective (proxies, mined tuples, pairs of the whole batch), with bootstrap "
        "95% interval. One method left out: the range of Pearson's r, and the method without which it changes most."
    )
    return Table("density_checks", caption, robust, shown)


def _points_table(evidence: Evidence, own: pd.DataFrame) -> Table:
    shown = pd.DataFrame({"Method": own["method"], "Setting": own["setting"], "n": own["n"].astype(str)})
    shown["R@1, test"] = [number(value * 100) for value in own["recall_at_1"]]
    for name in STATISTICS:
        shown[metric(name).title] = [number(value, 3) for value in own[name]]
    caption = "The points of the figures: means over n seeds; R@1 in percent, properties of the training classes."
    links = {"Method": [f"#{cell}" for cell in own["cell"]]}
    return Table("density_points", caption, own, evidence.with_setting(shown), links, folded=True)


def _reading(table: pd.DataFrame, robust: pd.DataFrame) -> list[str]:
    text = []
    plain = table[table["methods"] == "plain"]
    for source, rows in plain.groupby("source", sort=False):
        if str(source).startswith("Roth"):
            continue
        told = [
            f"{metric(row['property']).title} {coefficient_text(_coefficient(row, 'pearson'))}"
            for row in rows.to_dict("records")
        ]
        text.append(f"{source}, {rows['n'].max()} plain methods, Pearson with test R@1: {'; '.join(told)}.")
    for row in robust[~robust["source"].str.startswith("Roth") & (robust["property"] == "rho")].to_dict("records"):
        if np.isfinite(row["partial"]) and np.isfinite(row["left_out_low"]):
            text.append(
                f"{row['source']}: within families of objectives, the coefficient of spectral decay is "
                f"{coefficient_text(_coefficient(row, 'partial'))}; leaving one method out, Pearson's r lies between "
                f"{number(row['left_out_low'], 2)} and {number(row['left_out_high'], 2)}."
            )
    text.append(
        "Roth et al. (2020) found positive coefficients for density and negative ones for spectral decay. An interval "
        "that contains zero means: these methods do not tell."
    )
    return text


def _grid(evidence: Evidence, clouds: dict[str, pd.DataFrame], table: pd.DataFrame) -> Drawing:
    caption = (
        "Each point is a method: the mean over seeds of a property of the embedding of the training classes "
        "(horizontal) and of R@1 on the test classes (vertical, with Student-t 95% interval over seeds, cut where it "
        f"leaves the panel), ours at the {SELECTIONS[evidence.selection]}. Density is π intra / π inter. Dashed: least "
        f"squares over plain methods; r Pearson, {SPEARMAN} Spearman over plain methods with bootstrap 95% interval. "
        "Arrows lead from a method to its regularized form. The lower rows are the points of Roth et al. (2020): 5 "
        "seeds, the epoch of the best test R@1."
    )
    if max(map(len, clouds.values())) > POINTS:
        caption += f" Panels of more than {POINTS} methods have no arrows."
    told = {
        (row["source"], row["property"]): _told(row) for row in table.to_dict("records") if row["methods"] == "plain"
    }
    alt = "Scatter plots of embedding properties against recall"
    return Drawing("density", caption, partial(property_grid, clouds, told), alt, "density_correlations")


def _overlay(evidence: Evidence, ours: dict[str, pd.DataFrame], papers: dict[str, pd.DataFrame]) -> Drawing:
    caption = (
        "Our plain methods over those of Roth et al. (2020): properties of the training embedding and test R@1, each "
        "in standard deviations over the methods of its source, so that data sets of other difficulty share a panel "
        f"and the slope of a line is Pearson's r. Ours: means over seeds, {SELECTIONS[evidence.selection]}; theirs: "
        "means of 5 seeds, selected on test."
    )
    alt = "Scatter plots of standardized embedding properties against recall, ours over the papers'"
    return Drawing("density_overlay", caption, partial(overlay, ours, papers), alt, "density_correlations")


def _told(row: dict[Any, Any]) -> str:
    """The coefficients of one panel, as its title."""
    lines = []
    for sign, kind in (("r", "pearson"), (SPEARMAN, "spearman")):
        coefficient = _coefficient(row, kind)
        text = coefficient_text(coefficient) if coefficient.low is not None else number(coefficient.value, 2)
        lines.append(f"{sign} = {text}")
    return "\n".join(lines) + f"   n = {row['n']}"


def _labelled(evidence: Evidence, own: pd.DataFrame) -> Drawing:
    caption = (
        "Spectral decay of the training embedding (low: many directions are used) against test R@1, every method "
        f"named; means over seeds with Student-t 95% interval, {SELECTIONS[evidence.selection]}."
    )
    alt = "Labelled scatter plot of spectral decay against recall"
    return Drawing("density_labelled", caption, partial(labelled_decay, own), alt, "density_points")
