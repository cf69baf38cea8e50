"""A database as a large study leaves it: about 200 methods on five data sets, as many seeds as are asked for.

Numbers are made up, but shaped like those of real runs: methods differ by less than data sets and by about as much as
seeds, metrics of one run agree, embedding statistics go with quality, curves rise and level off, and one run of a
hundred fails. Rows of runs are made, and numbers packed, by the store itself; they are inserted many runs at a time,
in the order of their ids, since result files of a hundred thousand runs would take hours to write.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_database import PROVENANCE
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam

from harness.specs import Choice, RunSpec, Training
from harness.store import schema
from harness.store.database import record_study
from harness.store.engine import open_engine
from harness.store.lists import epochs_key
from harness.store.packing import pack

STUDY, EPOCHS, DIMS, AT_ONCE = "large", 50, 64, 1000
RULES = ("last", "best_test")
DATASETS = ("cub200", "cars196", "sop", "in_shop", "omniglot")
MINERS = ("random", "semihard", "softhard", "distance_weighted")
OF_TUPLES = {
    "contrastive": ("neg_margin", (0.8, 1.0, 1.2)),
    "triplet": ("margin", (0.1, 0.2, 0.3)),
    "margin": ("beta", (0.6, 0.9, 1.2)),
    "quadruplet": ("margin_1", (0.5, 1.0, 1.5)),
    "snr": ("margin", (0.1, 0.2, 0.3)),
}
OF_PROXIES = {
    "proxy_nca": ("scale", (1, 2, 3, 4, 8)),
    "proxy_anchor": ("alpha", (8, 16, 32, 48, 64)),
    "arcface": ("scale", (8, 16, 24, 32, 64)),
    "cosface": ("scale", (8, 16, 24, 32, 64)),
    "normalized_softmax": ("temperature", (0.03, 0.05, 0.07, 0.1, 0.2)),
    "soft_triple": ("la", (5, 10, 20, 30, 40)),
}
OF_BATCHES = {
    "n_pair": ("l2_weight", (0.0, 0.001, 0.005, 0.01, 0.02)),
    "histogram": ("bins", (11, 33, 65, 101, 151)),
    "multi_similarity": ("beta", (20, 30, 40, 50, 60)),
    "angular": ("alpha", (36, 40, 42, 45, 50)),
}
QUALITY = (
    *("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8"),
    *("map_at_r", "map_at_c", "map_at_1000", "r_precision", "nmi", "ami", "f1"),
)
STATISTICS = ("pi_intra", "pi_inter", "density", "uniformity", "alignment", "rho")
NAMES = (
    *(("test", name) for name in (*QUALITY, *STATISTICS)),
    *(("train", name) for name in ("recall_at_1", "map_at_r", "nmi", *STATISTICS)),
    *(("train", name) for name in ("loss", "gradient_norm", "active_fraction", "learning_rate")),
)
"""Of 30 curves; the last four are no metrics and so have no measurement."""
MEASURED = len(NAMES) - 4
PARTS = {"train_seconds": 0.8, "evaluate_seconds": 0.2, "total_seconds": 1.0}

Numbers = NDArray[np.float64]


def make(path: Path, *, methods: int = 200, datasets: int = 5, seeds: int = 100, about: Any = None) -> int:
    """Makes the database file and gives how many runs are in it."""
    combinations = list(itertools.product(DATASETS[:datasets], _spread_out(_methods(), methods)))
    specs = [_spec(dataset, *parts, seed) for dataset, parts in combinations for seed in range(seeds)]
    record_study(path, STUDY, None, specs, about or {"question": "Which objective is best?"})
    latents = _latents(combinations, seeds)
    in_order = sorted(range(len(specs)), key=lambda place: specs[place].run_id)
    chance = np.random.default_rng(0)
    with open_engine(path, write=True).begin() as connection:
        key = epochs_key(range(1, EPOCHS + 1))
        connection.execute(schema.epoch_lists.insert(), [{"epochs": key, "numbers": list(range(1, EPOCHS + 1))}])
        for first in range(0, len(in_order), AT_ONCE):
            some = in_order[first : first + AT_ONCE]
            _finish(connection, [specs[place] for place in some], latents[some], chance)
    return len(specs)


def _methods() -> Iterator[tuple[Choice, Choice | None, Choice | None]]:
    """Objective, miner and regularizer of each."""
    nothing, rho, nir = None, Choice("rho", {"probability": 0.35}), Choice("nir")
    groups = ((OF_TUPLES, MINERS, rho), (OF_PROXIES, (None,), nir), (OF_BATCHES, (None,), None))
    for objectives, miners, regularizer in groups:
        for (name, (option, values)), miner in itertools.product(objectives.items(), miners):
            for value, other in itertools.product(values, (nothing, regularizer)[: 1 + bool(regularizer)]):
                yield Choice(name, {option: value}), Choice(miner) if miner else None, other


def _spread_out(found: Iterator[Any], count: int) -> list[Any]:
    """Some of all, neighbors (plain and regularized) together."""
    every = list(found)
    step = max(1, len(every) // count)
    return [one for first in range(0, len(every), 2 * step) for one in every[first : first + 2]][:count]


def _spec(dataset: str, objective: Choice, miner: Choice | None, regularizer: Choice | None, seed: int) -> RunSpec:
    return RunSpec(
        dataset=Choice(dataset),
        backbone=Choice("resnet50", {"embedding_dim": 128, "frozen_batchnorm": True, "weights": "IMAGENET1K_V1"}),
        objective=objective,
        sampler=Choice("class_balanced", {"samples_per_class": 2}),
        miner=miner,
        regularizer=regularizer,
        training=Training(epochs=EPOCHS),
        seed=seed,
    )


def _latents(combinations: Sequence[Any], seeds: int) -> Numbers:
    """How good each run [runs] is: data set, method, what the method is on this data set, and seed."""
    chance = np.random.default_rng(1)
    levels = {name: 0.45 + 0.08 * place for place, name in enumerate(DATASETS)}
    effects: dict[str, float] = {}
    means = []
    for dataset, parts in combinations:
        told = [effects.setdefault(str(part), float(chance.normal(0, 0.01))) for part in parts]
        means.append(levels[dataset] + sum(told) + chance.normal(0, 0.002))
    return np.repeat(means, seeds) + chance.normal(0, 0.004, len(means) * seeds)


def _finish(connection: Connection, specs: Sequence[RunSpec], latents: Numbers, chance: np.random.Generator) -> None:
    """The results of some runs."""
    failed = chance.random(len(specs)) < 0.01
    hours = chance.uniform(1.0, 3.0, len(specs))
    ended = [_end(spec, lost, 3600 * each) for spec, lost, each in zip(specs, failed, hours, strict=True)]
    where = schema.runs.c.run_id == bindparam("of")
    columns = {name: bindparam(f"new_{name}") for name in ("state", "cause", "message", "cost", "provenance")}
    connection.execute(schema.runs.update().where(where).values(columns), ended)
    done = [spec.run_id for spec, lost in zip(specs, failed, strict=True) if not lost]
    curves = _curves(latents[~failed], chance)
    chosen = {"last": np.full(len(done), EPOCHS - 1), "best_test": curves[:, 0].argmax(axis=1)}
    connection.execute(schema.curves.insert(), _curve_rows(done, curves))
    connection.execute(schema.measurements.insert(), _measurement_rows(done, curves, chosen))
    connection.execute(schema.spectra.insert(), _spectrum_rows(done, chosen, chance))


def _end(spec: RunSpec, failed: bool, seconds: float) -> dict[str, Any]:
    cost = {name: seconds * share for name, share in PARTS.items()} | {"peak_device_memory_mb": 9000.0}
    end: dict[str, Any] = {"state": "done", "cause": None, "message": None, "cost": cost}
    if failed:
        why = ("out_of_memory", "the GPU is full") if spec.seed % 2 else ("diverged", "the loss is nan")
        end = {"state": "failed", "cause": why[0], "message": why[1], "cost": {}}
    return {"of": spec.run_id} | {f"new_{name}": value for name, value in {**end, "provenance": PROVENANCE}.items()}


def _curves(latents: Numbers, chance: np.random.Generator) -> Numbers:
    """All numbers [runs, metrics, epochs]."""
    epochs = np.arange(1, EPOCHS + 1)
    level = latents[:, None, None]
    order = np.arange(len(NAMES))[None, :, None]
    kinds = np.array([name in QUALITY for _, name in NAMES])[None, :, None]
    own = chance.normal(0, 0.003, (len(latents), len(NAMES), 1))
    quality = np.clip(level * (1 + 0.02 * (order % 11)) + own, 0.01, 0.99)
    statistic = np.abs(0.3 + 0.05 * (order % 7) + (order % 3 - 1) * (level - 0.6) + own)
    rise = 1 - 0.6 * np.exp(-epochs / 8)
    fall = 1 + 1.5 * np.exp(-epochs / 8)
    noise = chance.normal(0, 0.002, (len(latents), len(NAMES), EPOCHS))
    return np.asarray(np.where(kinds, quality * rise, statistic * fall) + noise)


def _curve_rows(ids: Sequence[str], curves: Numbers) -> list[dict[str, Any]]:
    key = epochs_key(range(1, EPOCHS + 1))
    packed = pack(curves.reshape(-1), [EPOCHS] * (len(ids) * len(NAMES)))
    return [
        {"run_id": run_id, "split": split, "metric": name, "epochs": key, "scale": one.scale, "numbers": one.text}
        for (run_id, (split, name)), one in zip(itertools.product(ids, NAMES), packed, strict=True)
    ]


def _measurement_rows(ids: Sequence[str], curves: Numbers, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    values = {rule: np.take_along_axis(curves, at[:, None, None], 2)[:, :, 0].tolist() for rule, at in chosen.items()}
    return [
        {"run_id": run_id, "split": split, "metric": name, "selection": rule, "epoch": int(chosen[rule][place]) + 1,
         "value": values[rule][place][number]}
        for place, run_id in enumerate(ids)
        for number, (split, name) in enumerate(NAMES[:MEASURED])
        for rule in RULES
    ]  # fmt: skip


def _spectrum_rows(ids: Sequence[str], chosen: dict[str, Any], chance: np.random.Generator) -> list[dict[str, Any]]:
    keys = list(itertools.product(range(len(ids)), ("train", "test"), RULES))
    values = np.sort(chance.exponential(size=(len(keys), DIMS)), axis=1)[:, ::-1]
    packed = pack((values / values.sum(axis=1, keepdims=True)).reshape(-1), [DIMS] * len(keys))
    return [
        {"run_id": ids[place], "split": split, "selection": rule, "epoch": int(chosen[rule][place]) + 1,
         "scale": one.scale, "singular_values": one.text}
        for (place, split, rule), one in zip(keys, packed, strict=True)
    ]  # fmt: skip
