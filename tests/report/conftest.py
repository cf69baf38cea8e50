"""A study that never ran: frames in the shape that the database gives, with numbers from a known model."""

import numpy as np
import pandas as pd
import pytest

from harness.specs import KINDS

METRICS = (
    "recall_at_1",
    "recall_at_2",
    "recall_at_4",
    "recall_at_8",
    "map_at_r",
    "map_at_c",
    "map_at_1000",
    "nmi",
    "f1",
)
GRID = [
    ("contrastive", "distance_weighted", "none", None),
    ("contrastive", "distance_weighted", "rho", None),
    ("triplet", "random", "none", None),
    ("triplet", "semihard", "none", None),
    ("triplet", "softhard", "none", None),
    ("triplet", "distance_weighted", "none", None),
    ("triplet", "distance_weighted", "rho", None),
    ("margin", "distance_weighted", "none", 0.6),
    ("margin", "distance_weighted", "rho", 0.6),
    ("margin", "distance_weighted", "none", 1.2),
    ("margin", "distance_weighted", "rho", 1.2),
    ("multi_similarity", "none", "none", None),
    ("n_pair", "none", "none", None),
    ("normalized_softmax", "none", "none", None),
    ("proxy_nca", "none", "none", None),
]


def some_of(frame, **wanted):
    """The rows that have one of the values wanted in each column."""
    for name, values in wanted.items():
        frame = frame if values is None else frame[frame[name].isin(values)]
    return frame


class FakeDatabase:
    """`harness.store.frames.Database` without a database."""

    def __init__(self, studies, runs, measurements, curves, spectra):
        self._studies, self._runs = studies, runs
        self._measurements, self._curves, self._spectra = measurements, curves, spectra

    def studies(self):
        return self._studies

    def runs(self, study, *, profile=None):
        return self._runs

    def configurations(self, study, *, profile=None):
        axes = [name for name in self._runs if "." in name or name in (*KINDS, "seed")]
        return self._runs[["run_id", *axes]].assign(**{"backbone.embedding_dim": 64})

    def measurements(self, study, *, selection, profile=None, split=None, axes=True):
        return some_of(self._measurements, selection=[selection], split=split and [split])

    def curves(self, study, *, profile=None, split, metrics, axes):
        return some_of(self._curves, split=[split], metric=metrics)

    def spectra(self, study, *, selection, profile=None, split, axes):
        return some_of(self._spectra, selection=[selection], split=[split])

    def trials(self, study, *, profile=None):
        return pd.DataFrame(columns=["method", "trial", "state", "score"])

    def looks(self, study, *, profile=None):
        return pd.DataFrame(columns=["look"])

    def estimates(self, study, *, profile=None):
        """Every method was planned to take 10 s a run, but for the last three, which nobody planned."""
        names = list(dict.fromkeys(self._runs["method"]))[-3:]
        planned = self._runs.loc[~self._runs["method"].isin(names), ["run_id"]]
        return planned.assign(
            seconds=10.0, cost=[{"train_seconds": 8.0}] * len(planned), source="measured", device="CPU"
        )


def method_name(objective, miner, regularizer, beta):
    name = objective if beta is None else f"{objective} (beta={beta})"
    name = name if regularizer == "none" else f"{regularizer} {name}"
    return name if miner == "none" else f"{name} + {miner}"


def make_database(
    seeds=3, datasets=("glyphs",), grid=GRID, holes=(), study="fair_comparison", question="Which is best?", epochs=6
):
    """`holes` maps (position in the grid, seed) to (state, cause, message); such runs have no numbers."""
    rng = np.random.default_rng(0)
    holes = dict(holes)
    runs, measurements, curves, spectra = [], [], [], []
    for dataset in datasets:
        for position, (objective, miner, regularizer, beta) in enumerate(grid):
            rho = 0.2 + 0.3 * rng.random() - (0.12 if regularizer == "rho" else 0)
            quality = 0.75 - 0.35 * rho + 0.01 * rng.standard_normal()
            for seed in range(seeds):
                state, cause, message = holes.get((position, seed), ("done", None, None))
                run_id = f"{dataset[:3]}{position:03d}{seed:02d}".ljust(16, "0")
                done = state == "done"
                method = method_name(objective, miner, regularizer, beta)
                axes = {"dataset": dataset, "backbone": "convnet", "objective": objective, "miner": miner}
                axes |= {"sampler": "class_balanced", "regularizer": regularizer, "objective.beta": beta}
                axes |= {"regularizer.probability": 0.35 if regularizer == "rho" else None}
                runs.append(
                    {"run_id": run_id, "method": method, **axes, "seed": seed, "state": state, "cause": cause}
                    | {"message": message, "train_seconds": 8 + 3 * rng.random() if done else None}
                    | {"total_seconds": 12.0 if done else None, "peak_device_memory_mb": 310.0 if done else None}
                )
                if not done:
                    continue
                recall = quality + 0.006 * rng.standard_normal()
                numbers = {
                    ("test", name): recall * (1 - 0.08 * i) + 0.003 * rng.standard_normal()
                    for i, name in enumerate(METRICS)
                }
                numbers |= {
                    ("train", "rho"): rho + 0.01 * rng.standard_normal(),
                    ("train", "pi_inter"): 0.8 + 0.1 * rng.random(),
                }
                numbers |= {("train", "pi_intra"): 0.4 - 0.3 * rho, ("train", "density"): 0.5 - 0.4 * rho}
                numbers |= {("test", "rho"): rho + 0.05, ("test", "density"): 0.6, ("test", "uniformity"): -2.5}
                for (split, metric), value in numbers.items():
                    for selection, bonus in (("last", 0.0), ("best_test", 0.01)):
                        measurements.append((run_id, split, metric, selection, epochs, value + bonus, method))
                for epoch in range(1, epochs + 1):
                    value = recall * (1 - np.exp(-epoch * (1 + rho)))
                    curves.append((run_id, method, "test", "recall_at_1", epoch, value))
                    curves.append((run_id, method, "train", "loss", epoch, 1 / epoch))
                values = np.exp(-np.arange(64) * rho / 8)
                spectra.append((run_id, method, "train", "last", epochs, list(values / values.sum())))
                spectra.append((run_id, method, "train", "best_test", epochs, list(values / values.sum())))
    return FakeDatabase(
        pd.DataFrame({"study": [study], "profile": [None], "question": [question], "about": [{}]}),
        pd.DataFrame(runs),
        pd.DataFrame(measurements, columns=["run_id", "split", "metric", "selection", "epoch", "value", "method"]),
        pd.DataFrame(curves, columns=["run_id", "method", "split", "metric", "epoch", "value"]),
        pd.DataFrame(spectra, columns=["run_id", "method", "split", "selection", "epoch", "values"]),
    )


@pytest.fixture(scope="session")
def database():
    """15 methods x 3 seeds; one run diverged, one whole method has no result."""
    holes = {
        (2, 1): ("failed", "diverged", "the loss became nan at step 31 of epoch 2"),
        (4, 2): ("pending", None, None),
    }
    holes |= {(12, seed): ("failed", "out_of_memory", "tried to allocate 2 GiB") for seed in range(3)}
    return make_database(holes=holes)


@pytest.fixture(scope="session")
def make():
    return make_database
