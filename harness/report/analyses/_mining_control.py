"""What the bound does: kappa, coverage and active triplets of each way of Smart Mining; and what wrong labels cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.report.evidence import CELL, Evidence, plain
from harness.report.names import DASH, SELECTIONS, number
from harness.report.section import Table
from harness.report.statistics import Mean, paired_difference, t_interval

SETTLED = 5
"""From this epoch on a controller is judged: it has seen at least two mined epochs."""

TOLD = ("kappa", "coverage", "active_fraction", "target", "stale_fraction", "index_recall_at_10", "neighbors")


def control(evidence: Evidence, runs: pd.DataFrame) -> pd.DataFrame:
    """One row a way of Smart Mining without regularizer and wrong labels: setting, method, label, n, recall_at_1,
    recall_at_8 (Mean), and means from the epoch SETTLED on of TOLD and of `off_target` (|active - target|)."""
    chosen = runs[(runs["miner"] == "smart") & (runs["regularizer"] == "none") & (runs["noise"] == 0)]
    if chosen.empty:
        return chosen
    told = plain(evidence.curves("train", tuple(TOLD)))
    told = told[told["epoch"] >= SETTLED]
    wide = told.pivot_table(index=["run_id", "epoch"], columns="metric", values="value").reindex(columns=list(TOLD))
    wide["off_target"] = (wide["active_fraction"] - wide["target"]).abs()
    settled = wide.groupby("run_id").mean()
    rows = []
    for (setting, method, label), group in chosen.groupby([*CELL, "label"], sort=False):
        means = settled.reindex(group["run_id"]).mean().to_dict()
        if (group["arm"] == "fixed").all():  # whose target steers nothing
            means |= {"target": np.nan, "off_target": np.nan}
        quality = {name: _selected(evidence, name, group) for name in ("recall_at_1", "recall_at_8")}
        rows.append({"setting": setting, "method": method, "label": label, "n": len(group)} | quality | means)
    return pd.DataFrame(rows)


def control_table(evidence: Evidence, found: pd.DataFrame) -> Table:
    """`control` for people."""
    shown = pd.DataFrame({"Method": found["label"], "Setting": found["setting"], "n": found["n"].astype(str)})
    shown["R@1"] = [percent(mean) for mean in found["recall_at_1"]]
    shown["R@8"] = [percent(mean) for mean in found["recall_at_8"]]
    titles = {"kappa": "kappa", "coverage": "coverage", "active_fraction": "active", "target": "target"}
    titles |= {"off_target": "off target", "stale_fraction": "stale", "index_recall_at_10": "recall@10"}
    for name, title in titles.items():
        shown[title] = [number(value, 2) for value in found[name]]
    shown["k"] = [number(value, 0) for value in found["neighbors"]]
    caption = (
        f"Smart Mining without regularizer: test R@1 and R@8 in percent, {SELECTIONS[evidence.selection]}, means over "
        f"n seeds ± half of the Student-t 95% interval; and means from epoch {SETTLED} on of kappa, the share of "
        "anchors with a smart negative, the share of triplets with a gradient, its distance from the target, the share "
        "of mined violations that were none any more when their turn came, and the lists' recall@10 and length k. "
        "Kappas with lists of different lengths are not comparable."
    )
    numbers = found.assign(**{name: [mean.mean for mean in found[name]] for name in ("recall_at_1", "recall_at_8")})
    return Table("mining_control", caption, numbers, evidence.with_setting(shown))


def noise_table(evidence: Evidence, runs: pd.DataFrame) -> Table | None:
    """R@1 without wrong labels, and what each share of them costs, paired by seed; None without such runs."""
    plain = runs[runs["regularizer"] == "none"].assign(way=runs["label"].map(way_of))
    shares = sorted(set(plain["noise"]) - {0.0})
    rows, shown = [], []
    for (setting, way), group in plain.groupby(["setting", "way"], sort=False):
        values = {noise: _by_seed(evidence, own) for noise, own in group.groupby("noise")}
        if 0.0 not in values or len(values) < 2:
            continue
        clean = t_interval(list(values[0.0].values()))
        row = {"Method": way, "Setting": setting, "n": str(clean.n), "R@1": percent(clean)}
        for share in shares:
            lost = paired_difference(values.get(share, {}), values[0.0])
            row[f"{share:.0%} wrong"] = percent(lost) if lost.n else DASH
            rows.append(
                {"setting": setting, "way": way, "label_noise": share, "clean": clean.mean, "n": lost.n}
                | {"difference": lost.mean, "low": lost.low, "high": lost.high}
            )
        shown.append(row)
    if not shown:
        return None
    caption = (
        f"Test R@1 in percent with right labels, {SELECTIONS[evidence.selection]}, and by how many points it changes "
        "where a share of the training labels is wrong: means over n seeds ± half of the Student-t 95% interval, the "
        "changes paired by seed. A bound that protects loses less than kappa 1 and than exhaustive mining."
    )
    return Table("mining_noise", caption, pd.DataFrame(rows), evidence.with_setting(pd.DataFrame(shown)))


def way_of(label: str) -> str:
    """A label without the wrong labels: `smart fixed 1.5, 20% wrong labels` is `smart fixed 1.5`."""
    return label.partition(", ")[0] if label.endswith(" wrong labels") else label


def percent(mean: Mean) -> str:
    """`55.1 ± 0.4`, of fractions; a dash for none."""
    return mean_text(mean, 1, 100.0)


def mean_text(mean: Mean, digits: int, scale: float = 1.0) -> str:
    """A mean with half of its interval, where there is one."""
    if not mean.n:
        return DASH
    half = "" if mean.half_width is None else f" ± {mean.half_width * scale:.{digits}f}"
    return number(mean.mean * scale, digits) + half


def _selected(evidence: Evidence, metric: str, runs: pd.DataFrame) -> Mean:
    values = evidence.values(metric, "test")
    return t_interval(values[values["run_id"].isin(runs["run_id"])]["value"].to_numpy())


def _by_seed(evidence: Evidence, runs: pd.DataFrame) -> dict[int, float]:
    values = evidence.values("recall_at_1", "test")
    chosen = values[values["run_id"].isin(runs["run_id"])]
    return {int(seed): float(value) for seed, value in zip(chosen["seed"], chosen["value"], strict=True)}
