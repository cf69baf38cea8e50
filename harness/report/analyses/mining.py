"""Mining: how fast each way of finding triplets converges, what the controller did, and what planning costs."""

from __future__ import annotations

from functools import partial

import pandas as pd

from harness.report import published
from harness.report.analyses._mining_control import control, control_table, mean_text, noise_table, percent
from harness.report.analyses._mining_runs import FINAL, LEVEL, STAGES, WITHIN, runs_of
from harness.report.analyses._mining_speed import speed_up
from harness.report.analyses.convergence import mean_curves
from harness.report.evidence import CELL, Evidence, plain
from harness.report.figures.mining import control_panels, race_panels
from harness.report.names import DASH, SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import paired_difference, t_interval

TITLE = "What does mining buy, and what does it cost?"
PUBLISHED = {
    "random": ("", "Triplet + Global"),
    "fixed": ("Triplet + FANNG", "Triplet + FANNG + Global"),
    "adaptive": ("", "Triplet + FANNG + Global + Adaptive"),
}
"""The rows of Harwood et al. (2017) without and with the global loss; they have no row without it for two of three."""

DATASETS = ("cub200", "cars196")
RACED = ("recall_at_1", "recall_at_8", "nmi")
"""What the paper's figure of convergence shows."""

PLANNING = ("random_global", "smart", "exhaustive")
"""Miners that choose from the whole training set."""

CONTROL = ("active_fraction", "active_fraction_mined", "active_fraction_random", "kappa", "coverage", "target")


def analyze(evidence: Evidence) -> Section:
    """Convergence, ablation, controller and cost of the runs whose batches were planned, beside all others."""
    done = evidence.runs[evidence.runs["state"] == "done"]
    if not done["miner"].isin(PLANNING).any():
        return Section("mining", TITLE, ["No finished run has a miner that plans from the whole training set."])
    runs = runs_of(evidence)
    ablated, costs, steered = ablation(evidence, runs), planning(runs), control(evidence, runs)
    noise = noise_table(evidence, runs)
    tables = [_ablation_table(evidence, ablated)] if len(ablated) else []
    tables += [_race_table(evidence, runs)]
    tables += [control_table(evidence, steered)] if len(steered) else []
    tables += [noise] if noise else []
    tables += [_cost_table(evidence, costs)] if len(costs) else []
    compared = runs[runs["label"].map(_plain).isin(ablated["label"] if len(ablated) else [])]
    text = [*speed_up(compared), _interaction(ablated)]
    return Section("mining", TITLE, text, tables, _drawings(evidence, runs, ablated))


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
    """What planning took in an epoch that was mined, means over runs: seconds of each stage and of the whole epoch
    without evaluation, and shares of it, without and with the pass that embeds. One row a method."""
    mined = runs[(runs["plan_search_seconds"] > 0) & (runs["mined_epochs"] > 0)].copy()
    if mined.empty:
        return mined
    for name in STAGES:
        mined[f"{name}_an_epoch"] = mined[name] / mined["mined_epochs"]
    every = mined[[f"{name}_an_epoch" for name in STAGES]].sum(axis=1)
    rest = (mined["train_seconds"] - mined[list(STAGES)].sum(axis=1)) / mined["epochs"]
    mined["epoch_seconds"] = rest + every
    mined["share_with_embedding"] = every / mined["epoch_seconds"]
    mined["share"] = (every - mined["plan_embed_seconds_an_epoch"]) / mined["epoch_seconds"]
    mined["share_selection"] = mined["plan_select_seconds_an_epoch"] / mined["epoch_seconds"]
    columns = [f"{name}_an_epoch" for name in STAGES]
    columns += ["epoch_seconds", "share", "share_with_embedding", "share_selection"]
    grouped = mined.groupby([*CELL, "label"], sort=False)
    return grouped[columns].mean().assign(n=grouped.size()).reset_index()


def _race_table(evidence: Evidence, runs: pd.DataFrame) -> Table:
    names = ("best", "final", "converged_epoch", "converged_steps", "converged_seconds", "reached_steps")
    rows, shown = [], []
    for (setting, method, label), group in runs.groupby([*CELL, "label"], sort=False):
        means = {name: t_interval(group[name].dropna().to_numpy()) for name in names}
        row = {"setting": setting, "method": method, "label": label, "n": len(group)}
        rows.append(row | {"converged": means["converged_epoch"].n} | {k: m.mean for k, m in means.items()})
        shown.append(
            {"Method": label, "Setting": setting, "n": str(len(group))}
            | {"Best R@1": percent(means["best"]), "Final R@1": percent(means["final"])}
            | {"Converged": f"{means['converged_epoch'].n} of {len(group)}"}
            | {"Epochs": mean_text(means["converged_epoch"], 1), "Steps": mean_text(means["converged_steps"], 0)}
            | {"Seconds": mean_text(means["converged_seconds"], 1)}
            | {f"Steps to {LEVEL:.0%} of random": mean_text(means["reached_steps"], 0)}
        )
    caption = (
        f"Test R@1 in percent (best measured epoch, selected on test; mean of the last {FINAL} measured) and when a "
        f"run had converged: the first measured epoch with an R@1 within {WITHIN * 100:.1f} points of that mean, in "
        "epochs, steps and seconds of training, mining and embedding included and evaluation left out. A run for which "
        f"that is one of the last {FINAL} was still rising and does not count. Then the steps to the first measured "
        f"epoch with {LEVEL:.0%} of the best R@1 of random triplets. Means over runs ± half of the Student-t 95% "
        "interval. Epochs of different miners have different lengths; steps have not."
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
        told |= {"R@1": percent(plain), "with global loss": percent(regularized), "gain": percent(gain)}
        rows.append(told | {f"published, {published.DATASETS[name]}": _printed(row["arm"], name) for name in DATASETS})
    caption = (
        f"Test R@1 in percent, {SELECTIONS[evidence.selection]}, means over n seeds ± half of the Student-t 95% "
        "interval; the gain is paired by seed. Beside it the rows of Harwood et al. (2017), single runs of GoogLeNet "
        "with 64 dimensions on other data: to be compared in their order, not in their height."
    )
    return Table("mining_ablation", caption, pd.DataFrame(numbers), evidence.with_setting(pd.DataFrame(rows)))


def _cost_table(evidence: Evidence, costs: pd.DataFrame) -> Table:
    shown = pd.DataFrame({"Method": costs["label"], "Setting": costs["setting"], "n": costs["n"].astype(str)})
    for name, title in STAGES.items():
        shown[f"{title} (s)"] = [number(value, 3) for value in costs[f"{name}_an_epoch"]]
    shown["epoch (s)"] = [number(value, 2) for value in costs["epoch_seconds"]]
    shown["mining, % of it"] = [number(value * 100, 1) for value in costs["share"]]
    shown["with embedding"] = [number(value * 100, 1) for value in costs["share_with_embedding"]]
    shown["selection alone"] = [number(value * 100, 2) for value in costs["share_selection"]]
    caption = (
        "Seconds of each stage of planning in an epoch that was mined, and of that epoch without evaluation, means "
        "over runs. The paper claims that selection takes less than 1% of an epoch, which is not the cost of mining: "
        "the set is embedded once more, and searched."
    )
    return Table("mining_cost", caption, costs, evidence.with_setting(shown))


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
                found.append(f"{setting}, {label}: {percent(difference)} points (n={difference.n})")
    return (
        "What the global loss gains with mining beyond what it gains with random triplets, in percent points of R@1: "
        + "; ".join(found)
        + "."
    )


def _plain(label: str) -> str:
    return label.replace(" + global_loss", "")


def _drawings(evidence: Evidence, runs: pd.DataFrame, ablated: pd.DataFrame) -> list[Drawing]:
    labels = runs[runs["noise"] == 0].drop_duplicates(CELL)[[*CELL, "label", "arm"]]
    race = race_curves(evidence).merge(_racers(runs, ablated), on=CELL)
    told = plain(evidence.curves("train", CONTROL))
    told = told[told["regularizer"] == "none"]
    control = told.groupby([*CELL, "metric", "epoch"], sort=False)["value"].mean().reset_index().merge(labels, on=CELL)
    control = control[(control["arm"] == "adaptive") | (control["metric"] != "target")]  # it steers nothing else
    drawings = []
    for place, setting in enumerate(dict.fromkeys(race["setting"]), start=1):
        own, steered = (frame[(frame["setting"] == setting)] for frame in (race, control))
        shown = " and ".join(metric(name).title for name in RACED if name in set(own["metric"]))
        caption = (
            f"{setting}: test {shown} against steps and seconds of training, means over seeds, without regularizer and "
            "wrong labels; variants of Smart Mining that are in no ablation are in the tables alone."
        )
        alt = f"Curves of test {shown} by steps and by time, {setting}"
        drawings.append(Drawing(f"mining_race_{place}", caption, partial(race_panels, own), alt, "mining_convergence"))
        if "kappa" in set(steered["metric"]):
            caption = (
                f"{setting}: share of triplets with a gradient (all, mined, random), the target where there is one, "
                "and kappa with the coverage, which is the share of anchors with a smart negative. Means over seeds."
            )
            alt = f"Curves of active triplets, kappa and coverage over epochs, {setting}"
            drawing = Drawing(
                f"mining_control_{place}", caption, partial(control_panels, steered), alt, "mining_control"
            )
            drawings.append(drawing)
    return drawings


def _racers(runs: pd.DataFrame, ablated: pd.DataFrame) -> pd.DataFrame:
    """The cells whose curves are drawn together: setting, method, label. Sweeps of one option would hide the rest."""
    known = list(ablated["label"]) if len(ablated) else []
    modes = set(runs[runs["label"].isin(known)]["mode"])
    swept = (runs["miner"] == "smart") & ~runs["label"].isin(known) & runs["mode"].isin(modes)
    shown = runs[(runs["noise"] == 0) & (runs["regularizer"] == "none") & ~swept]
    return shown.drop_duplicates(CELL)[[*CELL, "label"]]


def race_curves(evidence: Evidence) -> pd.DataFrame:
    """Mean curves of RACED on test of plain methods, with the steps and seconds that a run had taken then: columns
    setting, method, metric, epoch, mean, steps, seconds."""
    curves = pd.concat([mean_curves(evidence, name, "test").assign(metric=name) for name in RACED])
    done = evidence.runs[(evidence.runs["state"] == "done") & (evidence.runs["regularizer"] == "none")]
    done = done.reindex(columns=[*CELL, "run_id", "steps", "train_seconds"])
    epochs = {run: values.get("training.epochs") for run, values in evidence.configurations.items()}
    done = done.assign(epochs=pd.to_numeric(done["run_id"].map(epochs)))
    pace = pd.DataFrame({"steps": done["steps"], "seconds": done["train_seconds"]}).div(done["epochs"], axis=0)
    pace = pd.concat([done[CELL], pace.astype(float)], axis=1).groupby(CELL, sort=False).mean().reset_index()
    joined = curves.merge(pace, on=CELL)
    return joined.assign(steps=joined["steps"] * joined["epoch"], seconds=joined["seconds"] * joined["epoch"])


def _printed(arm: str, dataset: str) -> str:
    """`45.9 → 49.4`: what the paper has without and with the global loss."""
    rows = published.published().query("paper == 'harwood2017' and dataset == @dataset and metric == 'recall_at_1'")
    rows = rows[rows["backbone"].str.startswith("GoogLeNet", na=False)]
    values = dict(zip(rows["method"], rows["value"], strict=True))
    texts = [number(values[name] * 100, 1) if name in values else DASH for name in PUBLISHED.get(arm, ())]
    return " → ".join(texts) if any(text != DASH for text in texts) else DASH
