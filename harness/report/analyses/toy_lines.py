"""The toy experiment of Roth et al. (2020): points on lines, their embeddings on a circle, two singular values."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.datasets.toy_lines import UNIT, drawn
from harness.report.evidence import Evidence
from harness.report.figures.toy_lines import toy_panels
from harness.report.names import SELECTIONS, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import t_interval

TITLE = "Points on lines: which direction does training forget?"
PUBLISHED = {"Base": (0.907, 0.093), "As published": (0.563, 0.437)}
"""Shares of the singular values of the training embedding, as the published code gives them for its seed 1."""


def analyze(evidence: Evidence) -> Section:
    """The points, the embedding of each arm, and a table of arcs and singular values."""
    runs = toy_runs(evidence)
    angles = embedded(evidence, runs)
    if angles.empty:
        return Section("toy_lines", TITLE, ["No run on toy_lines has told the angles of its embeddings."])
    arms = summary(evidence, runs)
    tables = [_table(evidence, arms), _angles_table(angles)]
    return Section("toy_lines", TITLE, _reading(arms), tables, [_drawing(evidence, runs, angles, arms)])


def toy_runs(evidence: Evidence) -> pd.DataFrame:
    """One row a done run on toy_lines: run_id, arm (as the study's questions name it), seed, points, draw, cell."""
    asked = {run: question.partition(":")[0] for question, runs in evidence.questions.items() for run in runs}
    done = evidence.runs[(evidence.runs["state"] == "done") & (evidence.runs["dataset"] == "toy_lines")]
    rows = []
    for run in done.to_dict("records"):
        options = evidence.configurations[run["run_id"]]
        row = {"run_id": run["run_id"], "arm": asked.get(run["run_id"], run["method"]), "seed": run["seed"]}
        rows.append(row | {"points": options["dataset.points"], "draw": options["dataset.draw"], "cell": run["cell"]})
    return pd.DataFrame(rows, columns=["run_id", "arm", "seed", "points", "draw", "cell"])


def embedded(evidence: Evidence, runs: pd.DataFrame) -> pd.DataFrame:
    """One row a point of the lowest seed of each arm: arm, seed, split, point (its number), label, angle in radians."""
    shown = runs.loc[runs.groupby("arm", sort=False)["seed"].idxmin()] if len(runs) else runs
    told = evidence.measurements[evidence.measurements["metric"].str.fullmatch(r"angle_\d+")]
    rows = told[["run_id", "split", "metric", "value"]].merge(shown, on="run_id")
    point = rows["metric"].str.removeprefix("angle_").astype(int)
    # Both splits have four lines, whose points stand in the order of the data set; those that train are the first.
    label = point // rows["points"].astype(int) + np.where(rows["split"] == "test", 4, 0)
    frame = rows.assign(point=point, label=label, angle=rows["value"])[
        ["arm", "seed", "split", "point", "label", "angle"]
    ]
    arms = {arm: place for place, arm in enumerate(dict.fromkeys(runs["arm"]))}
    return frame.sort_values(
        ["arm", "label", "point"], key=lambda c: c.map(arms) if c.name == "arm" else c, ignore_index=True
    )


def summary(evidence: Evidence, runs: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and number: arm, cell, name, mean, low, high, n.

    Names: arc_train and arc_test (radians), first and second (shares of the singular values of the training embedding),
    recall_at_1 (of the test points).
    """
    values = {"arc_train": _numbers(evidence, "arc", "train"), "arc_test": _numbers(evidence, "arc", "test")}
    values["recall_at_1"] = _numbers(evidence, "recall_at_1", "test")
    spectra = evidence.spectra[evidence.spectra["split"] == "train"] if len(evidence.spectra) else evidence.spectra
    for place, name in enumerate(("first", "second")):
        values[name] = {str(r["run_id"]): float(r["values"][place]) for r in spectra.to_dict("records")}
    rows = []
    for arm, own in runs.groupby("arm", sort=False):
        for name, numbers in values.items():
            mean = t_interval([numbers[run] for run in own["run_id"] if run in numbers])
            row: dict[str, Any] = {"arm": arm, "cell": own["cell"].iloc[0], "name": name, "mean": mean.mean}
            rows.append(row | {"low": mean.low, "high": mean.high, "n": mean.n})
    return pd.DataFrame(rows).astype({"low": float, "high": float})


def _numbers(evidence: Evidence, metric: str, split: str) -> dict[str, float]:
    values = evidence.values(metric, split)
    return dict(zip(values["run_id"], values["value"], strict=True))


def _text(row: dict[Any, Any], digits: int, scale: float = 1.0) -> str:
    text = number(row["mean"] * scale, digits)
    half = (row["high"] - row["mean"]) * scale
    return f"{text} ± {half:.{digits}f}" if np.isfinite(half) else text


def _table(evidence: Evidence, arms: pd.DataFrame) -> Table:
    rows, anchors = [], []
    for arm, own in arms.groupby("arm", sort=False):
        told = {row["name"]: row for row in own.to_dict("records")}
        row = {"Arm": arm, "n": str(own["n"].max()), "Arc, train (rad)": _text(told["arc_train"], 2)}
        row |= {"Arc, test (rad)": _text(told["arc_test"], 2), "1st singular value": _text(told["first"], 3)}
        row |= {"2nd": _text(told["second"], 3), "R@1, test (%)": _text(told["recall_at_1"], 1, 100)}
        published = PUBLISHED.get(str(arm))
        rows.append(row | {"2nd, published code": number(published[1], 3) if published else ""})
        anchors.append(f"#{own['cell'].iloc[0]}")
    caption = (
        "Shortest arc of the circle that holds all embeddings, and shares of the two singular values of the training "
        "embedding; means over n seeds ± half of the Student-t 95% interval (for few seeds so wide that it can leave "
        f"the possible range), {SELECTIONS[evidence.selection]}. The published code was run with one seed."
    )
    return Table("toy_lines", caption, arms, pd.DataFrame(rows), {"Arm": anchors})


def _angles_table(angles: pd.DataFrame) -> Table:
    shown = angles.assign(angle=[number(value, 3) for value in angles["angle"]]).astype(str)
    caption = "The points of the embedding panels: direction of each embedding in radians, one seed of each arm."
    return Table("toy_lines_angles", caption, angles, shown, folded=True)


def _reading(arms: pd.DataFrame) -> list[str]:
    means = arms.pivot_table(index="arm", columns="name", values="mean", sort=False)
    told = [
        f"{arm}: the training points lie within {row['arc_train']:.2f} rad, the second singular value has "
        f"{row['second'] * 100:.0f} % of the sum"
        for arm, row in means.iterrows()
    ]
    return [
        f"{'; '.join(told)}.",
        "The published figure compares the first with the last arm, which differ in two things: replaced negatives, "
        "and an attraction that is left out. The arms between them tell which of the two opens the embedding.",
    ]


def _drawing(evidence: Evidence, runs: pd.DataFrame, angles: pd.DataFrame, arms: pd.DataFrame) -> Drawing:
    first = runs.iloc[0]
    pixels, labels = drawn(int(first["points"]), int(first["draw"]))
    seeds = sorted(set(angles["seed"]))
    caption = (
        "Left, top: the points; four lines of the diagonal train (filled), four across it test (hollow). Circles: "
        f"their embeddings in each arm (seed {', '.join(str(seed) for seed in seeds)}), training points on the circle, "
        "test points inside it for legibility; one color and mark a line. Bars: shares of the two singular values of "
        f"the training embedding, mean over {int(arms['n'].max())} seeds with Student-t 95% interval (cut at 0 and 1), "
        f"{SELECTIONS[evidence.selection]}; ticks: the published code. After Roth et al. (2020)."
    )
    draw = partial(toy_panels, pixels / UNIT, labels, angles, arms, PUBLISHED)
    return Drawing("toy_lines", caption, draw, "Points on lines and their embeddings on circles", "toy_lines")
