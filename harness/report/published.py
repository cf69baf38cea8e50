"""Numbers from papers and which of our runs they belong to. Every row of `published.csv` names its source.

Values come as fractions where the paper has percent. What the numbers of a paper rest on is in `PAPERS`; a published
method is matched with ours by `METHODS`, never by the likeness of names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from harness.report.statistics import t_half_width


@dataclass(frozen=True)
class Paper:
    """Where numbers come from and how they were taken. `seeds` is None where the paper's count is not known."""

    citation: str
    seeds: int | None
    rule: str


PAPERS = {
    "roth2020": Paper(
        "Roth et al. (2020), Revisiting Training Strategies and Generalization Performance in Deep Metric Learning",
        5,
        "mean over 5 seeds of the maximum over epochs, selected on test",
    ),
    "roth2022": Paper(
        "Roth et al. (2022), Non-isotropy Regularization for Proxy-based Deep Metric Learning",
        None,
        "mean over an unstated number of seeds, most likely selected on test",
    ),
    "harwood2017": Paper("Harwood et al. (2017), Smart Mining for Deep Metric Learning", None, "single runs"),
}


@dataclass(frozen=True)
class PublishedMethod:
    """A method as a paper calls it, in our words. `options` are those by which the paper tells its rows apart."""

    paper: str
    name: str
    objective: str
    miner: str = "none"
    regularizer: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict)


BETA_06, BETA_12 = {"objective.beta": 0.6}, {"objective.beta": 1.2}

METHODS = (
    PublishedMethod("roth2020", "Angular", "angular"),
    PublishedMethod("roth2020", "ArcFace", "arcface"),
    PublishedMethod("roth2020", "Contrastive (D)", "contrastive", "distance_weighted"),
    PublishedMethod("roth2020", "GenLift", "generalized_lifted"),
    PublishedMethod("roth2020", "Histogram", "histogram"),
    PublishedMethod("roth2020", "Margin (D, beta=0.6)", "margin", "distance_weighted", options=BETA_06),
    PublishedMethod("roth2020", "Margin (D, beta=1.2)", "margin", "distance_weighted", options=BETA_12),
    PublishedMethod("roth2020", "Multisimilarity", "multi_similarity"),
    PublishedMethod("roth2020", "N-Pair", "n_pair"),
    PublishedMethod("roth2020", "Normalized Softmax", "normalized_softmax"),
    PublishedMethod("roth2020", "ProxyNCA", "proxy_nca"),
    PublishedMethod("roth2020", "Quadruplet (D)", "quadruplet", "distance_weighted"),
    PublishedMethod("roth2020", "SNR (D)", "snr", "distance_weighted"),
    PublishedMethod("roth2020", "SoftTriple", "soft_triple"),
    PublishedMethod("roth2020", "Triplet (D)", "triplet", "distance_weighted"),
    PublishedMethod("roth2020", "Triplet (H)", "triplet", "softhard"),
    PublishedMethod("roth2020", "Triplet (R)", "triplet", "random"),
    PublishedMethod("roth2020", "Triplet (S)", "triplet", "semihard"),
    PublishedMethod("roth2020", "R-Contrastive (D)", "contrastive", "distance_weighted", "rho"),
    PublishedMethod("roth2020", "R-Margin (D, beta=0.6)", "margin", "distance_weighted", "rho", BETA_06),
    PublishedMethod("roth2020", "R-Margin (D, beta=1.2)", "margin", "distance_weighted", "rho", BETA_12),
    PublishedMethod("roth2020", "R-SNR (D)", "snr", "distance_weighted", "rho"),
    PublishedMethod("roth2020", "R-Triplet (D)", "triplet", "distance_weighted", "rho"),
    PublishedMethod("roth2022", "ProxyAnchor", "proxy_anchor"),
    PublishedMethod("roth2022", "ProxyAnchor+NIR", "proxy_anchor", regularizer="nir"),
    PublishedMethod("roth2022", "ProxyNCA+NIR", "proxy_nca", regularizer="nir"),
    PublishedMethod("roth2022", "SoftTriplet+NIR", "soft_triple", regularizer="nir"),
    *(
        PublishedMethod("harwood2017", name, "triplet_ratio", "smart", regularizer, {"miner.kappa_mode": mode})
        for name, regularizer, modes in (
            ("Triplet + FANNG", "none", ("fixed", "decay")),
            ("Triplet + FANNG + Global", "global_loss", ("fixed", "decay")),
            ("Triplet + FANNG + Global + Adaptive", "global_loss", ("ls",)),
        )
        for mode in modes
    ),
    PublishedMethod("harwood2017", "Triplet + Global", "triplet_ratio", "random_global", "global_loss"),
)

ELSEWHERE = (
    # The same methods under the names of other tables, and methods that only those have. Which boundary the plain name
    # Margin stands for is said where it was published: 1.2, the default of its code.
    PublishedMethod("roth2020", "Margin / Distance", "margin", "distance_weighted", options=BETA_12),
    PublishedMethod("roth2020", "Margin", "margin", "distance_weighted", options=BETA_12),
    PublishedMethod("roth2020", "NPair", "n_pair"),
    PublishedMethod("roth2020", "Triplet / Softhard", "triplet", "softhard"),
    PublishedMethod("roth2020", "Multisimilarity (Wang 2019)", "multi_similarity"),
    PublishedMethod("roth2020", "NormSoft (Zhai & Wu 2018)", "normalized_softmax"),
    PublishedMethod("roth2020", "SoftTriple (Qian 2019)", "soft_triple"),
    PublishedMethod("roth2020", "Smart Mining", "triplet_ratio", "smart", "global_loss", {"miner.kappa_mode": "ls"}),
    PublishedMethod("roth2022", "Margin beta=1.2", "margin", "distance_weighted", options=BETA_12),
    PublishedMethod("roth2022", "Multisimilarity", "multi_similarity"),
    PublishedMethod("roth2022", "ProxyNCA", "proxy_nca"),
    PublishedMethod("roth2022", "SoftTriplet", "soft_triple"),
    PublishedMethod("roth2022", "ProxyNCA++", "proxy_nca_plus_plus"),
    PublishedMethod("roth2022", "ResNet-50 + ProxyNCA++", "proxy_nca_plus_plus"),
    PublishedMethod("roth2022", "BN-Inception + Proxy-Anchor", "proxy_anchor"),
    PublishedMethod("roth2022", "BN-Inception + SoftTriple", "soft_triple"),
    PublishedMethod("roth2022", "ResNet50 + NIR", "proxy_anchor", regularizer="nir"),
    PublishedMethod("harwood2017", "Smart Mining", "triplet_ratio", "smart", "global_loss", {"miner.kappa_mode": "ls"}),
    PublishedMethod("harwood2017", "N-pairs", "n_pair"),
    PublishedMethod("harwood2017", "Semi-hard triplet", "triplet", "semihard"),
)

BACKBONES = {
    "ResNet50 frozen-BN": "resnet50",
    "ResNet50": "resnet50",
    "BN-Inception": "bn_inception",
    "Inception-BN": "bn_inception",
    "Inception-BN (table marks the row with *)": "bn_inception",
    "GoogLeNet (ImageNet-pretrained)": "googlenet",
    "Inception-V1": "googlenet",
}
"""Backbones as the papers write them; what is not here is not stated."""

DATASETS = {"cub200": "CUB200-2011", "cars196": "CARS196", "sop": "SOP"}
"""The data sets of the literature, as they are written there."""

LITERATURE_TABLES = (
    "S2SD sota_comp (literature rows)",
    "README SOTA table CUB/Cars",
    "README SOTA table SOP",
)
"""Tables that put papers beside each other although their backbones, dimensions and protocols differ."""


@cache
def _table() -> pd.DataFrame:
    with resources.files("harness.report").joinpath("published.csv").open() as lines:
        frame = pd.read_csv(lines)
    percent = frame["unit"] == "percent"
    for column in ("value", "std"):
        frame[column] = frame[column].where(~percent, frame[column] / 100)
    return frame


def published() -> pd.DataFrame:
    """All rows: paper, table, dataset, method, backbone, embedding_dim, metric, unit, value, std, source."""
    return _table().copy()


def method_of(run: Mapping[str, Any]) -> PublishedMethod | None:
    """The published method that a run repeats, by objective, miner, regularizer and telling options.

    A run that does not say a telling option is no match: beta = 0.6 and beta = 1.2 are different methods.
    """
    return next((method for method in METHODS if _is_of(method, run)), None)


def _same_options(options: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    return all(name in run and _equal(run[name], value) for name, value in options.items())


def _equal(one: Any, other: Any) -> bool:
    if isinstance(other, str):
        return bool(one == other)
    try:
        return abs(float(one) - float(other)) < 1e-9
    except (TypeError, ValueError):
        return False


def points(dataset: str) -> pd.DataFrame:
    """The seed means of Roth et al. (2020), one row a method.

    Columns: method, regularizer, base (the plain form of a regularized method), recall_at_1, half_width (Student-t,
    5 seeds), and of the training classes pi_intra, pi_inter, density, rho (nan where the paper shows no point).
    """
    rows = published().query("paper == 'roth2020' and dataset == @dataset and backbone == 'ResNet50 frozen-BN'")
    rows = rows[rows["table"].str.startswith(("Fig Detailed", "Fig comp")) & (rows["unit"] != "correlation")]
    wide = rows.drop_duplicates(["method", "metric"]).pivot(index="method", columns="metric", values="value")
    wide.columns = [str(name).removeprefix("train/") for name in wide.columns]
    recall = rows[rows["metric"] == "recall_at_1"].set_index("method")
    wide["half_width"] = recall["std"].map(lambda std: t_half_width(std, 5, ddof=0))
    wide["regularizer"] = np.where(wide.index.str.startswith("R-"), "rho", "none")
    wide["base"] = wide.index.str.removeprefix("R-").where(wide.index.str.startswith("R-"), "")
    wide = wide.reindex(
        columns=["regularizer", "base", "recall_at_1", "half_width", "pi_intra", "pi_inter", "density", "rho"]
    )
    return wide.dropna(subset=["recall_at_1"]).reset_index()


def coefficients(dataset: str) -> dict[str, float]:
    """Pearson coefficients as printed by Roth et al. (2020): metric -> r with R@1 over the plain objectives."""
    rows = published().query("dataset == @dataset and unit == 'correlation'")
    rows = rows[rows["metric"].str.startswith("pearson(recall_at_1,train/")]
    names = rows["metric"].str.extract(r"train/(\w+)\)")[0]
    return dict(zip(names, rows["value"], strict=True))


def metric_correlations(dataset: str) -> pd.DataFrame:
    """The metric correlation matrix as printed by Roth et al. (2020), metric x metric, 1 on the diagonal."""
    rows = published().query("dataset == @dataset and table == 'Fig metric_correlation_matrix'")
    pairs = rows["metric"].str.extract(r"pearson\((\w+),(\w+)\)")
    names = list(dict.fromkeys([*pairs[0], *pairs[1]]))
    matrix = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
    for one, other, value in zip(pairs[0], pairs[1], rows["value"], strict=True):
        matrix.loc[one, other] = matrix.loc[other, one] = value
    return matrix


def values(dataset: str, method: PublishedMethod, metric: str = "recall_at_1") -> pd.DataFrame:
    """What was published for one method on one data set: rows with value, half_width (nan if not known), backbone."""
    rows = published().query(
        "paper == @method.paper and dataset == @dataset and method == @method.name and metric == @metric"
    )
    rows = rows[~rows["table"].isin(LITERATURE_TABLES)].drop_duplicates(["backbone", "embedding_dim"]).copy()
    seeds = PAPERS[method.paper].seeds
    rows["half_width"] = [t_half_width(std, seeds, ddof=0) if seeds else np.nan for std in rows["std"]]
    return rows.reset_index(drop=True)


def literature(dataset: str) -> pd.DataFrame:
    """R@1 of single papers under their own protocols: method, label with backbone and dimension, value, source."""
    rows = published().query("dataset == @dataset and metric == 'recall_at_1' and table in @LITERATURE_TABLES")
    rows = rows.drop_duplicates(["method", "backbone", "embedding_dim"]).copy()
    backbone = rows["backbone"].fillna("backbone not stated").str.replace(r" \(.*\)", "", regex=True)
    dimension = rows["embedding_dim"].map(lambda size: f"-{size:.0f}", na_action="ignore").fillna("")
    rows["label"] = rows["method"] + ", " + backbone + dimension
    return rows.sort_values("value", ascending=False).reset_index(drop=True)


def not_comparable(run: Mapping[str, Any], published_dataset: str) -> str:
    """Why a run's numbers must not be subtracted from Roth et al. (2020); empty when they may be."""
    wanted = {"dataset": published_dataset, "backbone": "resnet50", "backbone.embedding_dim": 128}
    for name, value in wanted.items():
        if name not in run:
            return f"{name} is not recorded"
        if str(run[name]) != str(value):
            return f"{name} is {run[name]}, in the paper {value}"
    return ""


def rows_of(run: Mapping[str, Any]) -> pd.DataFrame:
    """Every published number of the method of a run, in all tables that have it, whatever they were trained with.

    Columns as `published`, and half_width (Student-t, where std and number of seeds are known).
    """
    names = {(one.paper, one.name) for one in (*METHODS, *ELSEWHERE) if _is_of(one, run)}
    frame = published()
    rows = frame[[key in names for key in zip(frame["paper"], frame["method"], strict=True)]]
    seeds = rows["paper"].map({name: paper.seeds for name, paper in PAPERS.items()})
    known = zip(rows["std"], seeds, strict=True)
    return rows.assign(
        half_width=[t_half_width(std, int(n), ddof=0) if np.isfinite(std) and n == n else np.nan for std, n in known]
    )


def of_no_method() -> pd.DataFrame:
    """The published numbers of methods that are not here, correlations left out; columns as `published`."""
    ours = {(one.paper, one.name) for one in (*METHODS, *ELSEWHERE)}
    frame = published().query("unit != 'correlation'")
    return frame[[key not in ours for key in zip(frame["paper"], frame["method"], strict=True)]].reset_index(drop=True)


def obstacle(run: Mapping[str, Any], row: Mapping[Any, Any]) -> str:
    """Why a run must not be held against a published number (a row of `published`); empty where it may be."""
    if run["dataset"] != row["dataset"]:
        return f"data set {run['dataset']}, published {row['dataset']}"
    backbone = BACKBONES.get(row["backbone"]) if isinstance(row["backbone"], str) else None
    if backbone is None:
        return "the published backbone is not stated"
    if run["backbone"] != backbone:
        return f"backbone {run['backbone']}, published {backbone}"
    if "frozen" in row["backbone"] and not run.get("backbone.frozen_batchnorm"):
        return "batch norm learns, published frozen"
    if not np.isfinite(row["embedding_dim"]):
        return "the published dimension is not stated"
    if run.get("backbone.embedding_dim") != row["embedding_dim"]:
        return f"{run.get('backbone.embedding_dim')} dimensions, published {row['embedding_dim']:.0f}"
    return ""


def _is_of(method: PublishedMethod, run: Mapping[str, Any]) -> bool:
    parts = (method.objective, method.miner, method.regularizer)
    return parts == (run["objective"], run["miner"], run["regularizer"]) and _same_options(method.options, run)
