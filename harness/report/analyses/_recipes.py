"""What is trained apart from how: runs by recipe, which is objective, miner and regularizer with their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.report.evidence import Evidence

Configuration = Mapping[str, Any]

WHAT = ("objective", "miner", "regularizer")


def done_runs(evidence: Evidence) -> pd.DataFrame:
    """One row a done run: run_id, setting, cell, seed, recipe (in words), data (its data set with all options)."""
    done = evidence.runs[evidence.runs["state"] == "done"]
    frame = done[["run_id", "setting", "method", "cell", "seed"]].reset_index(drop=True)
    names = recipe_names({str(run_id): evidence.configurations[str(run_id)] for run_id in frame["run_id"]})
    data = [str(sorted(part(evidence.configurations[str(one)], "dataset").items())) for one in frame["run_id"]]
    return frame.assign(recipe=[names[str(run_id)] for run_id in frame["run_id"]], data=data)


def recipe_names(configurations: Mapping[str, Configuration]) -> dict[str, str]:
    """run_id -> the objective with whatever tells it from other recipes with the same objective."""
    by_objective: dict[str, list[Configuration]] = {}
    for run in configurations.values():
        by_objective.setdefault(str(run.get("objective")), []).append(run)
    telling = {objective: _telling(runs) for objective, runs in by_objective.items()}
    return {run_id: _name(run, telling[str(run.get("objective"))]) for run_id, run in configurations.items()}


def part(run: Configuration, kind: str) -> dict[str, Any]:
    """A part of a run: its name and its options, by their paths."""
    return {path: value for path, value in run.items() if path == kind or path.startswith(f"{kind}.")}


def _telling(runs: list[Configuration]) -> list[str]:
    paths = dict.fromkeys(path for run in runs for kind in WHAT for path in part(run, kind))
    return [path for path in paths if len({str(run.get(path, "none")) for run in runs}) > 1]


def _name(run: Configuration, telling: list[str]) -> str:
    words = [str(run.get("objective"))]
    for path in telling:
        if path in run:
            name, value = path.rpartition(".")[2], run[path]
            words.append(str(value) if path in WHAT else f"{name}={value}")
    return " ".join(word for word in words if word != "none")
