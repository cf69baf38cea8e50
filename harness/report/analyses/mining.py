"""Mining: how fast each way of finding triplets converges, what the controller did, and what planning costs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from harness.report import published
from harness.report.analyses._mining_runs import FINAL, STAGES, WITHIN, runs_of
from harness.report.analyses.convergence import mean_curves
from harness.report.evidence import CELL, Evidence
from harness.report.figures.mining import control_panels, race_panels
from harness.report.names import DASH, SELECTIONS, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import Mean, paired_difference, t_interval

TITLE = "What does mining buy, and what does it cost?"
PUBLISHED = {
    "random": ("", "Triplet + Global"),
    "fixed": ("Triplet + FANNG", "Triplet + FANNG + Global"),
    "adaptive": ("", "Triplet + FANNG + Global + Adaptive"),
}
"""The rows of Harwood et al. (2017) without and with the global loss; they have no row without it for two of three."""

DATASETS = ("cub200", "cars196")
CONTROL = ("active_fraction", "active_fraction_mined", "active_fraction_random", "kappa", "coverage", "target")


def analyze(evidence: Evidence) -> Section:
    """Convergence, ablation, controller and cost of the runs whose batches were planned, beside all others."""
    runs = runs_of(evidence)
    if runs.empty or not runs["arm"].isin(["random", "fixed", "adaptive", "exhaustive"]).any():
        return Section("mining", TITLE, ["No finished run has a miner that plans from the whole training set."])
    tables = [_race_table(evidence, runs)]
    ablated = ablation(evidence, runs)
    tables += [_ablation_table(evidence, ablated)] if len(ablated) else []
    costs = planning(runs)
    tables += [_cost_table(evidence, costs, _means(evidence, "index_recall_at_10"))] if len(costs) else []
    return Section(
        "mining", TITLE, [_speed_up(runs, ablated), _interaction(ablated)], tables, _drawings(evidence, runs)
    )


def ablation(evidence: Evidence, runs: pd.DataFrame) -> pd.DataFrame:
    """One row a way of mining that was run without and with the global loss: setting, method (without), arm, plain and
    regularized ({seed: R@1})."""
    recall = evidence.values("recall_at_1", "test")
    rows = []
    for (setting, method), base in evidence.bases().items():
        own = runs[(runs["setting"] == setting) & (runs["method"] == method)]
        if own.empty or own["regularizer"].iloc[0] != "global_loss":
            continue
        values = recall[recall["setting"] == setting]
        seeds = {name: values[values["method"] == name].set_index("seed")["value"].to_dict() for name in (base, method)}
        rows.append(
            {"setting": setting, "method": base, "arm": own["arm"].iloc[0], "label": _plain(own["label"].iloc[0])}
            | {"plain": seeds[base], "regularized": seeds[method]}
        )
    return pd.DataFrame(rows)


def planning(runs: pd.DataFrame) -> pd.DataFrame:
    """Seconds of each stage of an epoch that was mined, means over runs, and the share of training time, without and
    with the pass that embeds: one row a method."""
    mined = runs[runs["plan_search_seconds"] > 0].copy()
    if mined.empty:
        return mined
    mined["epochs"] = mined["mined_epochs"].where(mined["mined_epochs"] > 0, np.nan)
    for name in STAGES:
        mined[f"{name}_an_epoch"] = mined[name] / mined["epochs"]
    without = mined[[name for name in STAGES if name != "plan_embed_seconds"]].sum(axis=1)
    mined["share"] = without / mined["train_seconds"]
    mined["share_with_embedding"] = (without + mined["plan_embed_seconds"]) / mined["train_seconds"]
    mined["share_selection"] = mined["plan_select_seconds"] / mined["train_seconds"]
    columns = [f"{name}_an_epoch" for name in STAGES]
    columns += ["share", "share_with_embedding", "share_selection"]
    grouped = mined.groupby([*CELL, "label"], sort=False)
    return grouped[columns].mean().assign(n=grouped.size()).reset_index()


def _race_table(evidence: Evidence, runs: pd.DataFrame) -> Table:
    names = ("best", "final", "converged_epoch", "converged_steps", "converged_seconds")
    rows, shown = [], []
    for (setting, method, label), group in runs.groupby([*CELL, "label"], sort=False):
        means = {name: t_interval(group[name].dropna().to_numpy()) for name in names}
        rows.append({"setting": setting, "method": method, "n": len(group)} | {k: m.mean for k, m in means.items()})
        shown.append(
            {"Method": label, "Setting": setting, "n": str(len(group))}
            | {"Best R@1": _percent(means["best"]), "Final R@1": _percent(means["final"])}
            | {"Epochs": _text(means["converged_epoch"], 1), "Steps": _text(means["converged_steps"], 0)}
            | {"Seconds": _text(means["converged_seconds"], 1)}
        )
    caption = (
        f"Test R@1 in percent (best measured epoch, selected on test; mean of the last {FINAL} measured) and when a "
        f"run had converged: the first measured epoch with an R@1 within {WITHIN * 100:.1f} points of that mean, in "
        "epochs, steps and seconds of training, mining and embedding included and evaluation left out. Means over n "
        "seeds ± half of the Student-t 95% interval. Epochs of different miners have different lengths; steps have not."
    )
    return Table("mining_convergence", caption, pd.DataFrame(rows), evidence.with_setting(pd.DataFrame(shown)))


def _ablation_table(evidence: Evidence, table: pd.DataFrame) -> Table:
    rows, numbers = [], []
    for row in table.to_dict("records"):
        plain, regularized = (t_interval(list(row[name].values())) for name in ("plain", "regularized"))
        gain = paired_difference(row["regularized"], row["plain"])
        numbers.append(
            {name: row[name] for name in ("setting", "method", "arm")}
            | {"plain": plain.mean, "global_loss": regularized.mean, "gain": gain.mean}
            | {"gain_low": gain.low, "gain_high": gain.high, "n": gain.n}
        )
        told = {"Mining": row["arm"], "Method": row["label"], "Setting": row["setting"], "n": str(gain.n)}
        told |= {"R@1": _percent(plain), "with global loss": _percent(regularized), "gain": _percent(gain)}
        rows.append(told | {f"published, {published.DATASETS[name]}": _printed(row["arm"], name) for name in DATASETS})
    caption = (
        f"Test R@1 in percent, {SELECTIONS[evidence.selection]}, means over n seeds ± half of the Student-t 95% "
        "interval; the gain is paired by seed. Beside it the rows of Harwood et al. (2017), single runs of GoogLeNet "
        "with 64 dimensions on other data: to be compared in their order, not in their height."
    )
    return Table("mining_ablation", caption, pd.DataFrame(numbers), evidence.with_setting(pd.DataFrame(rows)))


def _cost_table(evidence: Evidence, costs: pd.DataFrame, recalls: dict[tuple[str, str], float]) -> Table:
    shown = pd.DataFrame({"Method": costs["label"], "Setting": costs["setting"], "n": costs["n"].astype(str)})
    for name, title in STAGES.items():
        shown[f"{title} (s)"] = [number(value, 3) for value in costs[f"{name}_an_epoch"]]
    shown["mining, % of training"] = [number(value * 100, 1) for value in costs["share"]]
    shown["with embedding"] = [number(value * 100, 1) for value in costs["share_with_embedding"]]
    shown["selection alone"] = [number(value * 100, 2) for value in costs["share_selection"]]
    keys = zip(costs["setting"], costs["method"], strict=True)
    shown["recall@10"] = [number(recalls.get(key), 3) for key in keys]
    caption = (
        "Seconds of each stage in an epoch that was mined, means over runs; shares of the time of training without "
        "evaluation; recall of the lists of neighbors against exact ones. The paper claims that selection takes less "
        "than 1% of an epoch, which is not the cost of mining: the set is embedded once more."
    )
    return Table("mining_cost", caption, costs, evidence.with_setting(shown))


def _speed_up(runs: pd.DataFrame, ablated: pd.DataFrame) -> str:
    """Steps to converge of fixed over adaptive mining as the ablation has them, without regularizer, paired by seed."""
    plain = runs[runs["label"].isin(ablated["label"] if len(ablated) else [])]
    found = []
    for setting, own in plain.groupby("setting", sort=False):
        steps = {arm: group.groupby("seed")["converged_steps"].min() for arm, group in own.groupby("arm")}
        if {"fixed", "adaptive"} <= set(steps):
            fixed, adaptive = (
                {int(seed): float(np.log(value)) for seed, value in zip(one.index, one, strict=True)}
                for one in (steps["fixed"], steps["adaptive"])
            )
            ratio = paired_difference(fixed, adaptive)
            if ratio.n and ratio.low is not None and ratio.high is not None:
                low, high = np.exp(ratio.low), np.exp(ratio.high)
                verdict = "sooner" if low > 1 else "later" if high < 1 else "neither sooner nor later for sure"
                found.append(
                    f"{setting}: with the controller, runs converge {verdict} than with a fixed bound: by a factor of "
                    f"{np.exp(ratio.mean):.2f} (95% interval {low:.2f} to {high:.2f}, n={ratio.n} seeds)."
                )
    claim = "The paper claims 4 epochs against 20."
    return " ".join([*found, claim]) if found else f"There are not both adaptive and fixed runs yet. {claim}"


def _interaction(ablated: pd.DataFrame) -> str:
    """Whether the global loss and mining buy more together than each alone."""
    if ablated.empty or "random" not in set(ablated["arm"]):
        return "There is no ablation of mining and the global loss yet."
    found = []
    for setting, own in ablated.groupby("setting", sort=False):
        gains = {}
        for row in own.to_dict("records"):
            shared = set(row["plain"]) & set(row["regularized"])
            gains[row["arm"], row["label"]] = {seed: row["regularized"][seed] - row["plain"][seed] for seed in shared}
        random = next((gain for (arm, _), gain in gains.items() if arm == "random"), {})
        for (arm, label), gain in gains.items():
            difference = paired_difference(gain, random)
            if arm != "random" and difference.n:
                found.append(f"{setting}, {label}: {_percent(difference)} points (n={difference.n})")
    return (
        "What the global loss gains with mining beyond what it gains with random triplets, in percent points of R@1: "
        + "; ".join(found)
        + "."
    )


def _plain(label: str) -> str:
    return label.replace(" + global_loss", "")


def _drawings(evidence: Evidence, runs: pd.DataFrame) -> list[Drawing]:
    labels = runs.drop_duplicates(CELL)[[*CELL, "label"]]
    race = race_curves(evidence).merge(labels, on=CELL)
    told = evidence.curves[(evidence.curves["split"] == "train") & evidence.curves["metric"].isin(CONTROL)]
    keys = [*CELL, "regularizer", "metric", "epoch"]
    control = told.groupby(keys, sort=False)["value"].mean().reset_index().merge(labels, on=CELL)
    drawings = []
    for place, setting in enumerate(dict.fromkeys(race["setting"]), start=1):
        own, steered = (frame[(frame["setting"] == setting)] for frame in (race, control))
        caption = f"{setting}: test R@1 against steps and seconds of training, means over seeds, without regularizer."
        alt = f"Curves of test recall at 1 by steps and by time, {setting}"
        drawings.append(Drawing(f"mining_race_{place}", caption, partial(race_panels, own), alt, "mining_convergence"))
        if "kappa" in set(steered["metric"]):
            caption = (
                f"{setting}: share of triplets with a gradient (all, mined, random), the target where there is one, "
                "and kappa with the coverage, which is the share of anchors with a smart negative. Means over seeds."
            )
            alt = f"Curves of active triplets, kappa and coverage over epochs, {setting}"
            drawings.append(Drawing(f"mining_control_{place}", caption, partial(control_panels, steered), alt))
    return drawings


def race_curves(evidence: Evidence) -> pd.DataFrame:
    """Mean curves of test R@1 of plain methods, with the steps and seconds that a run had taken then."""
    curves = mean_curves(evidence, "recall_at_1", "test")
    done = evidence.runs[(evidence.runs["state"] == "done") & (evidence.runs["regularizer"] == "none")]
    done = done.reindex(columns=[*CELL, "run_id", "steps", "train_seconds"])
    epochs = {run: values.get("training.epochs") for run, values in evidence.configurations.items()}
    done = done.assign(epochs=pd.to_numeric(done["run_id"].map(epochs)))
    pace = pd.DataFrame({"steps": done["steps"], "seconds": done["train_seconds"]}).div(done["epochs"], axis=0)
    pace = pd.concat([done[CELL], pace.astype(float)], axis=1).groupby(CELL, sort=False).mean().reset_index()
    joined = curves.merge(pace, on=CELL)
    return joined.assign(steps=joined["steps"] * joined["epoch"], seconds=joined["seconds"] * joined["epoch"])


def _means(evidence: Evidence, metric: str) -> dict[tuple[str, str], float]:
    chosen = evidence.curves[(evidence.curves["split"] == "train") & (evidence.curves["metric"] == metric)]
    means = chosen.groupby(CELL, sort=False)["value"].mean()
    return {(str(key[0]), str(key[1])): float(value) for key, value in means.items()}  # type: ignore[index]


def _printed(arm: str, dataset: str) -> str:
    """`45.9 → 49.4`: what the paper has without and with the global loss."""
    rows = published.published().query("paper == 'harwood2017' and dataset == @dataset and metric == 'recall_at_1'")
    rows = rows[rows["backbone"].str.startswith("GoogLeNet", na=False)]
    values = dict(zip(rows["method"], rows["value"], strict=True))
    texts = [number(values[name] * 100, 1) if name in values else DASH for name in PUBLISHED.get(arm, ())]
    return " → ".join(texts) if any(text != DASH for text in texts) else DASH


def _percent(mean: Mean) -> str:
    return _text(mean, 1, 100.0)


def _text(mean: Mean, digits: int, scale: float = 1.0) -> str:
    if not mean.n:
        return DASH
    half = "" if mean.half_width is None else f" ± {mean.half_width * scale:.{digits}f}"
    return number(mean.mean * scale, digits) + half
