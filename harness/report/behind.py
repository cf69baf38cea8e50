"""What stands behind a number of the page: the runs of a cell, how they were configured, how they went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.report.evidence import Evidence, plain
from harness.report.names import QUALITY, metric, number

MOST_RUNS = 3000
"""So many runs are told on the page; a file has them all."""
POINTS = 60
"""So many points of a curve are drawn."""
WIDTH, HEIGHT = 300, 80
CURVES = (("test", "recall_at_1"), ("train", "loss"))


def behind(evidence: Evidence) -> dict[str, Any]:
    """`shared`: settings of all runs alike; `metrics`: titles; `cells`: each with its own settings, runs and curves."""
    cells = _first_cells(evidence)
    configurations = {row["cell"]: _without_seed(evidence.configurations[row["run_id"]]) for row in cells}
    shared = _shared(list(configurations.values()))
    names = _told(evidence)
    told = {row["cell"] for row in cells}
    own = evidence.runs[evidence.runs["cell"].isin(told)]
    runs = {cell: list(rows["run_id"]) for cell, rows in own.groupby("cell", sort=False)}
    lines = _lines(evidence, names, own)
    curves = [_curves(evidence, split, name, set(own["run_id"])) for split, name in CURVES]
    return {
        "shared": shared,
        "metrics": [metric(name).title for name in names],
        "left_out": len(evidence.cells()) - len(cells),
        "cells": [
            {
                **row,
                "configuration": _own(configurations[row["cell"]], shared),
                "runs": [lines[run_id] for run_id in runs[row["cell"]]],
                "curves": [chart for drawn in curves if (chart := drawn(runs[row["cell"]]))],
            }
            for row in cells
        ],
    }


def all_runs(evidence: Evidence) -> pd.DataFrame:
    """One row a run, whatever its state: what it was, what became of it, its metrics and its configuration."""
    own = ["setting", "method", "seed", "run_id", "state", "cause", "message"]
    values = evidence.measurements
    wide = values.pivot_table(index="run_id", columns=["split", "metric"], values="value", aggfunc="last")
    numbers = wide.set_axis([".".join(pair) for pair in wide.columns.to_list()], axis=1)
    numbers = numbers.set_axis(numbers.index.astype(object), axis=0).sort_index(axis=1)
    known = pd.DataFrame.from_dict(evidence.configurations, orient="index").drop(columns="seed", errors="ignore")
    runs = evidence.runs[own].set_index("run_id", drop=False)
    return runs.join(numbers).join(known).reset_index(drop=True)


def _first_cells(evidence: Evidence) -> list[dict[str, Any]]:
    """The cells that the page tells: all, or as many as MOST_RUNS allows."""
    told: list[dict[str, Any]] = []
    room = MOST_RUNS
    for cell in evidence.cells().to_dict("records"):
        room -= int(cell["planned"])
        if room < 0 and told:
            break
        told.append({str(name): value for name, value in cell.items()})
    return told


def _without_seed(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in configuration.items() if name != "seed"}


def _shared(configurations: list[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all have, and have alike; none of a single one, whose settings are its own."""
    if len(configurations) < 2:
        return {}
    first = configurations[0]
    return {
        name: value for name, value in first.items() if all(other.get(name) == value for other in configurations[1:])
    }


def _own(configuration: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in configuration.items() if name not in shared}


def _told(evidence: Evidence) -> list[str]:
    return [name for name in (*QUALITY, "density", "rho") if name in evidence.metrics("test")]


def _lines(evidence: Evidence, names: list[str], runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """run_id -> what the page tells of some runs."""
    values = evidence.measurements[evidence.measurements["split"] == "test"]
    values = plain(values[values["run_id"].isin(runs["run_id"])])
    table = values.pivot_table(index="run_id", columns="metric", values="value", aggfunc="last").reindex(columns=names)
    numbers = dict(zip(table.index, table.to_numpy(dtype=float), strict=True))
    epochs = values.groupby("run_id")["epoch"].max().to_dict() if len(values) else {}
    nothing = np.full(len(names), math.nan)
    lines = {}
    for run in runs[["run_id", "seed", "state", "cause"]].to_dict("records"):
        pairs = zip(names, numbers.get(run["run_id"], nothing), strict=True)
        reason = "" if _absent(run["cause"]) else f" ({str(run['cause']).replace('_', ' ')})"
        lines[run["run_id"]] = {
            "run_id": run["run_id"],
            "seed": run["seed"],
            "state": f"{run['state']}{reason}",
            "epoch": epochs.get(run["run_id"], ""),
            "numbers": [number(value * metric(name).scale, metric(name).digits) for name, value in pairs],
        }
    return lines


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _curves(evidence: Evidence, split: str, name: str, runs: set[str]) -> Any:
    """A function from run ids to a chart of their curves: title, ends of both axes and points for `<polyline>`."""
    curves = evidence.curves(split, (name,))
    chosen = plain(curves[curves["run_id"].isin(runs) & np.isfinite(curves["value"])])
    by_run = {run_id: rows[["epoch", "value"]].to_numpy(dtype=float) for run_id, rows in chosen.groupby("run_id")}

    def chart(run_ids: list[str]) -> dict[str, Any] | None:
        drawn = [by_run[run_id] for run_id in run_ids if run_id in by_run]
        if not drawn:
            return None
        (left, low), (right, high) = (side(np.concatenate(drawn), axis=0) for side in (np.min, np.max))
        known = metric(name)
        return {
            "title": f"{known.axis}, {split}",
            "low": number(low * known.scale, known.digits),
            "high": number(high * known.scale, known.digits),
            "first": f"{left:g}",
            "last": f"{right:g}",
            "lines": [_polyline(line, (left, low), (right, high)) for line in drawn],
        }

    return chart


def _polyline(line: Any, start: tuple[float, float], end: tuple[float, float]) -> str:
    if len(line) > POINTS:
        line = line[np.linspace(0, len(line) - 1, POINTS).round().astype(int)]
    spans = [max(one - other, 1e-12) for one, other in zip(end, start, strict=True)]
    x = (line[:, 0] - start[0]) / spans[0] * WIDTH
    y = HEIGHT - (line[:, 1] - start[1]) / spans[1] * HEIGHT
    if len(line) == 1:
        x, y = np.array([0.0, WIDTH]), np.repeat(y, 2)
    return " ".join(f"{a:.0f},{b:.0f}" for a, b in zip(x, y, strict=True))
