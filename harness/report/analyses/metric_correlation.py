"""Do the metrics agree? Pearson correlation of every two quality metrics over plain methods (Roth et al., 2020)."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.report import published
from harness.report.evidence import Evidence
from harness.report.names import METRICS, QUALITY, SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import MIN_POINTS, pearson
from harness.report.style import HEAT, panels

TITLE = "Do the metrics agree?"


def analyze(evidence: Evidence) -> Section:
    """A matrix a setting beside those of the papers."""
    own = {setting: correlations(evidence, setting) for setting in evidence.settings}
    enough = {setting: matrix for setting, matrix in own.items() if len(matrix)}
    if not enough:
        return Section(
            "metric_correlation",
            TITLE,
            [f"Fewer than {MIN_POINTS} plain methods have results: no coefficient is formed."],
        )
    theirs = {
        f"Roth et al. (2020): {title}": published.metric_correlations(name)
        for name, title in published.DATASETS.items()
    }
    tables = [
        _table(matrix, f"metric_correlation_{i}", setting) for i, (setting, matrix) in enumerate(enough.items(), 1)
    ]
    tables.append(_published_table(theirs))
    drawings = [_heat_maps(evidence, enough, "metric_correlation", papers=False)]
    drawings.append(_heat_maps(evidence, theirs, "metric_correlation_published", papers=True))
    return Section(
        "metric_correlation", TITLE, [_reading(setting, matrix) for setting, matrix in enough.items()], tables, drawings
    )


def correlations(evidence: Evidence, setting: str) -> pd.DataFrame:
    """Metric x metric, over the seed means of plain methods; empty with fewer than four methods.

    A metric that is missing for a method leaves that method out of its own pairs only; nan where a metric is constant.
    """
    plain = evidence.runs[(evidence.runs["regularizer"] == "none") & (evidence.runs["setting"] == setting)]
    methods = list(dict.fromkeys(plain["method"]))
    columns = {}
    for name in (name for name in QUALITY if name in evidence.metrics("test")):
        means = evidence.means(name, "test")
        columns[name] = [means[setting, method].mean if (setting, method) in means else np.nan for method in methods]
    return correlation_matrix(pd.DataFrame(columns, index=methods))


def correlation_matrix(values: pd.DataFrame) -> pd.DataFrame:
    """Pearson's r of every two columns over the rows that have both; columns with too few values are left out."""
    names = [name for name in values if values[name].notna().sum() >= MIN_POINTS]
    matrix = pd.DataFrame(np.nan, index=names, columns=names)
    for one in names:
        for other in names:
            value = pearson(values[one].to_numpy(), values[other].to_numpy()).value
            matrix.loc[one, other] = np.nan if value is None else value
    matrix.attrs["n"] = int(values[names].dropna(how="all").shape[0]) if names else 0
    return matrix


def _table(matrix: pd.DataFrame, name: str, setting: str) -> Table:
    titles = [metric(str(column)).title for column in matrix]
    shown = pd.DataFrame({"Metric": titles})
    for column, title in zip(matrix, titles, strict=True):
        shown[title] = [number(value, 2) for value in matrix[column]]
    numbers = matrix.rename_axis("metric").reset_index()
    caption = (
        f"{setting}: Pearson correlation between metrics over the seed means of {matrix.attrs['n']} plain methods."
    )
    return Table(name, caption, numbers, shown, folded=True)


def _published_table(matrices: dict[str, pd.DataFrame]) -> Table:
    frames = [
        matrix.rename_axis("metric").reset_index().assign(source=source).set_index("source").reset_index()
        for source, matrix in matrices.items()
    ]
    numbers = pd.concat(frames, ignore_index=True)
    shown = pd.DataFrame({"Source": numbers["source"], "Metric": [metric(name).title for name in numbers["metric"]]})
    for column in numbers.columns.drop(["source", "metric"]):
        shown[metric(str(column)).title] = [number(value, 2) for value in numbers[column]]
    caption = "Pearson correlation between metrics as printed by Roth et al. (2020)."
    return Table("metric_correlation_published", caption, numbers, shown, folded=True)


def _heat_maps(evidence: Evidence, matrices: dict[str, pd.DataFrame], name: str, papers: bool) -> Drawing:
    if papers:
        caption = (
            "The same as printed by Roth et al. (2020), over the seed means of 18, 18 and 16 plain methods; each "
            f"metric at its own best epoch on test. {METRICS['map_at_c'].title} is what the paper calls mAP."
        )
    else:
        counts = ", ".join(f"{matrix.attrs['n']} methods ({setting})" for setting, matrix in matrices.items())
        caption = (
            f"Pearson correlation between metrics on the test classes over the seed means of plain methods: {counts}; "
            f"{SELECTIONS[evidence.selection]}. Shades run from 0 (light) to 1; negative values are as light as 0."
        )
    table = name if papers else "metric_correlation_1"
    alt = "Heat map of correlations between metrics"
    return Drawing(name, caption, partial(_draw, matrices, papers), alt, table)


def _draw(matrices: dict[str, pd.DataFrame], in_a_row: bool) -> Figure:
    import seaborn as sns  # takes as long to load as many a report to write

    cell = 0.46 if in_a_row else 0.62
    sizes = [cell * len(matrix) + 1.0 for matrix in matrices.values()]
    columns = len(matrices) if in_a_row else 1
    rows = 1 if in_a_row else len(matrices)
    figure, grid = panels(rows, columns, max(sizes), max(sizes) - 0.5)
    for axis, (title, matrix) in zip((axis for line in grid for axis in line), matrices.items(), strict=True):
        titles = [metric(str(column)).title for column in matrix]
        upper = np.triu(np.ones(matrix.shape, dtype=bool), k=1)
        sns.heatmap(
            matrix.to_numpy(),
            mask=upper,
            ax=axis,
            vmin=0,
            vmax=1,
            cmap=sns.light_palette(HEAT, as_cmap=True),
            annot=True,
            fmt=".2f",
            annot_kws={"fontsize": 8},
            square=True,
            cbar=False,
            linewidths=1,
            linecolor="none",
            xticklabels=titles,
            yticklabels=titles,
        )
        for text in axis.texts:
            # seaborn turns to dark text only at much lighter shades than white can be read on
            text.set_color("white" if float(text.get_text()) > 0.65 else "black")
        axis.set_title(title if not in_a_row else title.replace(": ", ":\n"))
        axis.set_xticks(axis.get_xticks(), titles, rotation=45, ha="right", rotation_mode="anchor")
        axis.tick_params(axis="x", length=0)
        axis.tick_params(axis="y", rotation=0, length=0)
        axis.grid(visible=False)
        sns.despine(ax=axis, left=True, bottom=True)
    return figure


def _reading(setting: str, matrix: pd.DataFrame) -> str:
    others = matrix["recall_at_1"].drop("recall_at_1").dropna() if "recall_at_1" in matrix else pd.Series(dtype=float)
    if others.empty:
        return f"{setting}: R@1 cannot be compared with another metric."
    least = str(others.idxmin())
    return (
        f"{setting}, {matrix.attrs['n']} plain methods: R@1 agrees least with {metric(least).title} "
        f"(r = {number(others[least], 2)}); over all other metrics r is {number(others.median(), 2)} in the median."
    )
