"""Runs of a mining study, one row each: what mined, how fast it converged, and what planning cost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report.evidence import Evidence, plain

WITHIN = 0.005
FINAL = 3
"""Converged (stated before any result was seen): the first measured epoch with a test R@1 within half a point of the
mean of the last three. Where that is one of these three, the run was still rising and had not converged."""

LEVEL = 0.95
"""A run is counted as having got there at so much of the best R@1 of random triplets."""

STAGES = {
    "plan_embed_seconds": "embed",
    "plan_index_seconds": "build index",
    "plan_search_seconds": "search",
    "plan_probe_seconds": "probe recall",
    "plan_select_seconds": "select",
}


USUAL = {
    "share": 0.8,
    "negative_order": "near_first",
    "index": "auto",
    "refresh": 1,
    "neighbors": None,
    "per_anchor": 1,
}
"""Options of `smart` that a label tells where they are others."""


def runs_of(evidence: Evidence) -> pd.DataFrame:
    """One row a done run: run_id, setting, method, label, regularizer, seed, miner, arm, mode, noise (share of wrong
    labels), converged_epoch, converged_steps, converged_seconds (nan: not), reached_steps (nan: never), best, final
    (R@1), epochs, mined_epochs, train_seconds and the seconds of each stage."""
    done = evidence.runs[evidence.runs["state"] == "done"]
    curves = _by_run(evidence, "test", "recall_at_1")
    mined = _by_run(evidence, "train", "stale_fraction")  # told of epochs with mined triplets alone
    several = done["objective"].nunique() > 1
    rows = []
    for run in done.to_dict("records"):
        configuration = evidence.configurations.get(run["run_id"], {})
        row = {name: run[name] for name in ("run_id", "setting", "method", "regularizer", "seed", "miner")}
        row["label"] = f"{run['objective']}: " * several + label_of(run, configuration)
        row["arm"] = arm_of(str(run["miner"]), configuration)
        row["mode"] = str(configuration.get("miner.kappa_mode") or "")
        row["noise"] = float(configuration.get("dataset.label_noise") or 0.0)
        row["epochs"] = float(configuration.get("training.epochs") or np.nan)
        row |= converged(curves.get(run["run_id"]), run, configuration)
        row["mined_epochs"] = len(mined.get(run["run_id"], ()))
        row |= {name: float(run.get(name) or 0.0) for name in (*STAGES, "train_seconds", "steps")}
        rows.append(row)
    return with_levels(pd.DataFrame(rows), curves) if rows else pd.DataFrame()


def with_levels(runs: pd.DataFrame, curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The runs with `reached_steps`: those at the first measured epoch with LEVEL of the best R@1 of random triplets,
    the mean over their runs in the same setting without regularizer and wrong labels."""
    plain = runs[(runs["arm"] == "random") & (runs["regularizer"] == "none") & (runs["noise"] == 0)]
    levels = (plain.groupby("setting")["best"].mean() * LEVEL).to_dict()
    reached = []
    for run in runs.to_dict("records"):
        curve, level = curves.get(run["run_id"]), levels.get(run["setting"], np.nan)
        epochs = [] if curve is None else curve["epoch"][curve["value"] >= level].tolist()
        reached.append(epochs[0] / run["epochs"] * run["steps"] if epochs else np.nan)
    return runs.assign(reached_steps=reached)


def label_of(run: Mapping[Hashable, Any], configuration: Mapping[str, Any]) -> str:
    """`smart ls 0.6 + global_loss`: the way of mining in short; where no miner plans, the method's name without
    the objective."""
    miner = str(run["miner"])
    if miner not in ("smart", "random_global", "exhaustive"):
        return str(run["method"]).replace(f"{run['objective']} + ", "")
    told, option = [miner], partial(_option, configuration)
    if miner == "smart":
        adaptive = arm_of(miner, configuration) == "adaptive"
        told += [str(option("kappa_mode")), str(option("target" if adaptive else "kappa"))]
        told += [f"{name}={option(name)}" for name, usual in USUAL.items() if option(name) not in (usual, None)]
        told += [f"effort={option('effort')}"] if option("effort") else []
    if run["regularizer"] != "none":
        told.append(f"+ {run['regularizer']}")
    noise = configuration.get("dataset.label_noise")
    return " ".join(told) + (f", {noise:.0%} wrong labels" if noise else "")


def _option(configuration: Mapping[str, Any], name: str) -> Any:
    return configuration.get(f"miner.{name}")


def arm_of(miner: str, configuration: Mapping[str, Any]) -> str:
    """`random`, `fixed` or `adaptive` mining, or the miner's own name."""
    if miner == "random_global":
        return "random"
    if miner != "smart":
        return miner
    return "fixed" if configuration.get("miner.kappa_mode") in ("fixed", "decay") else "adaptive"


def converged(
    curve: pd.DataFrame | None, run: Mapping[Hashable, Any], configuration: Mapping[str, Any]
) -> dict[str, float]:
    """When a run had converged, in epochs, steps and seconds of training, nan where it had not; its best and final
    R@1."""
    if curve is None or not len(curve):
        return dict.fromkeys(("converged_epoch", "converged_steps", "converged_seconds", "best", "final"), np.nan)
    epochs, values = curve["epoch"].to_numpy(float), curve["value"].to_numpy(float)
    final = float(values[-FINAL:].mean())
    first = int(np.flatnonzero(values >= final - WITHIN)[0])
    epoch = float(epochs[first]) if first < len(epochs) - FINAL else np.nan
    share = epoch / float(configuration.get("training.epochs") or epochs[-1])
    steps, seconds = (float(run.get(name) or np.nan) for name in ("steps", "train_seconds"))
    return {
        "converged_epoch": epoch,
        "converged_steps": share * steps,
        "converged_seconds": share * seconds,
        "best": float(values.max()),
        "final": final,
    }


def _by_run(evidence: Evidence, split: str, metric: str) -> dict[str, pd.DataFrame]:
    chosen = plain(evidence.curves(split, (metric,)))
    chosen = chosen[np.isfinite(chosen["value"])].sort_values("epoch")
    return {str(run_id): curve for run_id, curve in chosen.groupby("run_id", sort=False)}
