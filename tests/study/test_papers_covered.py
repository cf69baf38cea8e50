"""Every configuration of the papers' run scripts is a run of a `paper` profile; data/ has the scripts' settings.

The columns are copied from the published scripts: `revisiting_runs.csv` has the command lines of Roth et al. (2020),
each with its seeds, `nir_runs.csv` those of Roth et al. (2022).
"""

import csv
import functools
import math
from pathlib import Path

import pytest

from harness.registry import OBJECTIVES
from harness.study import Study

HERE = Path(__file__).parent
STUDIES = sorted((HERE.parents[1] / "studies").glob("*.yaml"))

DATASETS = {"cub200": "cub200", "cars196": "cars196", "online_products": "sop"}
OBJECTIVE_NAMES = {
    "angular": "angular",
    "arcface": "arcface",
    "contrastive": "contrastive",
    "histogram": "histogram",
    "lifted": "generalized_lifted",
    "margin": "margin",
    "multisimilarity": "multi_similarity",
    "npair": "n_pair",
    "proxynca": "proxy_nca",
    "quadruplet": "quadruplet",
    "snr": "snr",
    "softmax": "normalized_softmax",
    "softtriplet": "soft_triple",
    "triplet": "triplet",
}
MINERS = {"distance": "distance_weighted", "rho_distance": "distance_weighted", "lifted": "none", "npair": "none"}
OBJECTIVE_RATES = {"proxynca": 5e-4, "softmax": 1e-5, "arcface": 5e-4}
"""Of the classes' representatives, where the script does not say another; SoftTriple's crashes before it has one."""


def rows_of(name):
    with (HERE / "data" / name).open(newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def flats_of_papers():
    """Every run of every study's profile `paper`, by its paths."""
    studies = [Study.load(path, profile="paper") for path in STUDIES if "\n  paper:" in path.read_text()]
    return [run.flat() for study in studies for run in study.runs()]


def matching(wanted):
    return [flat for flat in flats_of_papers() if all(same(flat.get(path), value) for path, value in wanted.items())]


def same(found, wanted):
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(found, wanted, rel_tol=1e-9)
    return found == wanted


def wanted_by_revisiting(row):
    """What a run must have to be that of a command line, by its paths."""
    wanted = {
        "dataset": DATASETS[row["dataset"]],
        "objective": OBJECTIVE_NAMES[row["objective"]],
        "miner": MINERS.get(row["miner"], row["miner"]),
        "regularizer": "rho" if row["miner"] == "rho_distance" else "none",
        "sampler": "class_balanced",
        "sampler.samples_per_class": int(row["samples_per_class"]),
        "sampler.replace_classes": True,
        "backbone": "resnet50",
        "backbone.embedding_dim": 128,
        "backbone.weights": "IMAGENET1K_V1",
        "backbone.frozen_batchnorm": "frozen" in row["arch"],
        "backbone.trainable": "all",
        "training.epochs": int(row["epochs"]),
        "training.batch_size": int(row["batch_size"]),
        "training.augmentation": "base",
        "optimizer.name": "adam",
        "optimizer.lr": 1e-5,
        "optimizer.weight_decay": 4e-4,
        "evaluation.every": 1,
    }
    if row["miner"] == "rho_distance":
        wanted["regularizer.probability"] = float(row["miner_rho_distance_cp"])
    if row["objective"] == "margin":
        wanted["objective.beta"] = float(row["loss_margin_beta"] or 1.2)
    if row["objective"] == "histogram":
        wanted["objective.bins"] = int(row["loss_histogram_nbins"])
    if row["objective"] == "snr":  # the script drops the pull to a mean of zero for one miner, by its name
        wanted["objective.zero_mean_weight"] = 0.0 if row["miner"] == "distance" else 0.005
    rate = float(row["loss_softmax_lr"] or 0) or OBJECTIVE_RATES.get(row["objective"])
    if rate:
        wanted["objective.lr_multiplier"] = rate / 1e-5
    return wanted


@pytest.mark.parametrize("row", rows_of("revisiting_runs.csv"), ids=lambda row: f"{row['dataset']}-{row['group']}")
def test_every_command_line_of_the_comparison_is_a_run_with_each_of_its_seeds(row):
    runs = matching(wanted_by_revisiting(row))
    assert {run["seed"] for run in runs} >= {int(seed) for seed in row["seeds"].split()}
    assert OBJECTIVES.get(OBJECTIVE_NAMES[row["objective"]]).normalize == row["arch"].endswith("_normalize")


def wanted_by_nir(row):
    lr = float(row["lr_backbone_and_head"])
    steps = [int(epoch) for epoch in row["milestones"].split()] if row["lr_decay_effective"] == "1" else []
    wanted = {
        "dataset": DATASETS[row["dataset"]],
        "objective": "proxy_anchor",
        "objective.as_published": True,
        "objective.alpha": float(row["pos_alpha"]),
        "objective.delta": float(row["pos_delta"]),
        "objective.lr_multiplier": float(row["proxy_lr"]) / lr,
        "regularizer": "nir" if row["nir"] == "1" else "none",
        "sampler": "class_balanced",
        "sampler.samples_per_class": int(row["samples_per_class"]),
        "backbone": "resnet50",
        "backbone.embedding_dim": int(row["embed_dim"]),
        "backbone.weights": "IMAGENET1K_V1",
        "backbone.frozen_batchnorm": row["bn"] == "frozen_stats",
        "backbone.pooling": {"GAP": "avg", "GAP+GMP": "avg+max"}[row["pooling"]],
        "training.epochs": int(row["n_epochs"]),
        "training.batch_size": int(row["batch_size"]),
        "training.augmentation": row["augmentation"],
        "optimizer.name": "adam",
        "optimizer.lr": lr,
        "optimizer.weight_decay": float(row["weight_decay_backbone_and_head"]),
        "optimizer.warmup_epochs": int(row["warmup_epochs"]),
        "optimizer.milestones": steps,
        "seed": int(row["seed"]),
    }
    if steps:
        wanted["optimizer.gamma"] = float(row["gamma"])
    if row["nir"] == "1":
        wanted |= {
            "regularizer.form": "exp_nll",
            "regularizer.weight_on": "proxy",
            "regularizer.per_dimension": False,
            "regularizer.condition": "own_proxy",
            "regularizer.detach_embeddings": False,
            "regularizer.detach_proxies": False,
            "regularizer.weight": float(row["w_align_multiplies_proxy_loss"]),
            "regularizer.lr_multiplier": float(row["flow_lr"]) / lr,
            "regularizer.blocks": int(row["flow_blocks"]),
            "regularizer.width": int(row["flow_subnet_width"]),
            "regularizer.clamp": float(row["flow_clamp"]),
            "regularizer.noise": float(row["flow_noise"]),
        }
    return wanted


@pytest.mark.parametrize("row", rows_of("nir_runs.csv"), ids=lambda row: row["run_id"])
def test_every_command_line_of_nir_is_exactly_one_run(row):
    assert len(matching(wanted_by_nir(row))) == 1


def test_the_copies_have_every_row_of_the_scripts():
    rows = rows_of("revisiting_runs.csv")
    assert len(rows) == 68
    assert len(rows_of("nir_runs.csv")) == 14
    settings = {tuple(value for name, value in row.items() if name not in ("group", "seeds")) for row in rows}
    assert len(settings) == 67  # one line repeats a configuration without logging it


def test_the_studies_of_the_comparison_train_nothing_twice():
    runs = {}
    for name in ("fair_comparison", "density", "batch_sampling", "training_parameters", "rho_regularization"):
        for profile in (None, "paper"):
            study = Study.load(HERE.parents[1] / "studies" / f"{name}.yaml", profile=profile)
            runs[name, profile] = {run.run_id for run in study.runs()}
    for profile, shared in (
        (
            None,
            {"density": 27 * 2, "batch_sampling": 2 * 3, "training_parameters": 2 * 3, "rho_regularization": 10 * 3},
        ),
        (
            "paper",
            {
                "density": 67 * 5,
                "batch_sampling": 3 * 2 * 5,
                "training_parameters": 2 * 2 * 5,
                "rho_regularization": 150,
            },
        ),
    ):
        whole = runs["fair_comparison", profile]
        assert {name: len(runs[name, profile] & whole) for name in shared} == shared
