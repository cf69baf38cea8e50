"""Trials as tables: the ledger of budgets, what so many trials are worth, and what mattered in the search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.report.statistics.budget import expected_best


def ledger(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a method, the highest score first.

    Columns: method, trials, complete, pruned, failed, causes (in words), runs (folds trained), hours (of a worker),
    defaults (score of the first trial, nan where it has none), chosen (the highest score), gain, trial, epoch, values.
    """
    frame = pd.DataFrame([_entry(str(method), own) for method, own in trials.groupby("method", sort=False)])
    return frame.sort_values("chosen", ascending=False, na_position="last", kind="stable", ignore_index=True)


def _entry(method: str, own: pd.DataFrame) -> dict[str, Any]:
    states = own["state"].value_counts()
    complete = own[own["state"] == "complete"]
    best: Mapping[Any, Any] = {}
    if len(complete):
        best = complete.sort_values(["score", "trial"], ascending=[False, True]).iloc[0].to_dict()
    defaults = complete.loc[complete["trial"] == 0, "score"]
    first = float(defaults.iloc[0]) if len(defaults) else np.nan
    chosen = float(best.get("score", np.nan))
    causes = own.loc[own["state"] == "failed", "cause"].fillna("unknown").value_counts()
    return {
        "method": method,
        "trials": len(own),
        **{state: int(states.get(state, 0)) for state in ("complete", "pruned", "failed")},
        "causes": ", ".join(f"{count} {str(cause).replace('_', ' ')}" for cause, count in causes.items()),
        "runs": int(own["trained"].sum()),
        "hours": float(own["seconds"].sum()) / 3600,
        "defaults": first,
        "chosen": chosen,
        "gain": chosen - first,
        "trial": best.get("trial"),
        "epoch": best.get("epoch"),
        "values": dict(best.get("parameters", {})),
    }


def expectations(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a method and number of trials: expected, low, high. A failed trial counts with the score 0."""
    frames = []
    for method, own in trials.groupby("method", sort=False):
        best = expected_best(own["score"].fillna(0.0).to_list())
        frames.append(pd.DataFrame({"method": str(method), **vars(best)}).astype({"trials": int}))
    return pd.concat(frames, ignore_index=True)


def importances(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a method and searched option: importance (of a method they sum to 1), n (trials that it rests on).

    By Optuna's functional analysis of variance (Hutter et al., ICML 2014). Methods with fewer than two finished trials,
    or whose trials all have the same score, have no rows.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    rows: list[dict[str, Any]] = []
    for method, own in trials.groupby("method", sort=False):
        complete = own[own["state"] == "complete"]
        if len(complete) < 2 or complete["score"].nunique() < 2:
            continue
        found = get_param_importances(optuna_study(complete), evaluator=FanovaImportanceEvaluator(seed=0))
        rows += [
            {"method": str(method), "option": option, "importance": float(share), "n": len(complete)}
            for option, share in found.items()
        ]
    return pd.DataFrame(rows, columns=["method", "option", "importance", "n"])


def optuna_study(complete: pd.DataFrame) -> Any:
    """Finished trials of one method as a study of Optuna, from what the database has of them."""
    import optuna
    from optuna.distributions import json_to_distribution

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    finally:
        optuna.logging.set_verbosity(before)
    for row in complete.to_dict("records"):
        space = {name: json_to_distribution(json.dumps(found)) for name, found in row["space"].items()}
        trial = optuna.trial.create_trial(params=row["parameters"], distributions=space, value=row["score"])
        study.add_trial(trial)
    return study


def slices(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a trial and searched option: method, option, value, score, state, trial, log (whether by its logarithm),
    chosen."""
    chosen = {row["method"]: row["trial"] for row in ledger(trials).to_dict("records")}
    rows = [
        {
            "method": row["method"],
            "option": option,
            "value": value,
            "score": row["score"],
            "state": row["state"],
            "trial": row["trial"],
            "log": bool(row["space"][option]["attributes"].get("log", False)),
            "chosen": row["trial"] == chosen[row["method"]],
        }
        for row in trials.to_dict("records")
        for option, value in row["parameters"].items()
    ]
    columns = ["method", "option", "value", "score", "state", "trial", "log", "chosen"]
    return pd.DataFrame(rows, columns=columns)
