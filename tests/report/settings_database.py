"""A study that never ran, whose runs differ in anything: the frames of a database from settings and numbers."""

import pandas as pd

from harness.report.evidence import read
from harness.specs import KINDS

USUAL = {
    "dataset": "glyphs",
    "backbone": "convnet",
    "backbone.embedding_dim": 64,
    "objective": "margin",
    "miner": "distance_weighted",
    "regularizer": "none",
    "sampler": "class_balanced",
    "sampler.samples_per_class": 2,
    "training.batch_size": 112,
    "optimizer.lr": 1e-3,
}


class SettingsDatabase:
    """`runs`: (settings over `USUAL`, seed, {(split, metric, rule): value}); a run's method is its settings.

    `questions` of blocks have the places of their runs; `spectra` of the training classes are in the order of `runs`.
    """

    def __init__(self, runs, questions=None, spectra=()):
        rows, self.numbers = [], []
        for place, (settings, seed, values) in enumerate(runs):
            run_id = f"{place:016d}"
            told = ", ".join(f"{path}={value}" for path, value in settings.items()) or "usual"
            rows.append({"run_id": run_id, "method": told, "seed": seed, "state": "done", **USUAL, **settings})
            for (split, metric, rule), value in values.items():
                self.numbers.append((run_id, split, metric, rule, 5, value))
        self.rows, self.frame = rows, pd.DataFrame(rows)
        self.singular = [
            (row["run_id"], "train", "last", 5, list(one)) for row, one in zip(rows, spectra, strict=False)
        ]
        self.blocks = [
            {"question": question, "runs": [f"{place:016d}" for place in places]}
            for question, places in (questions or {}).items()
        ]

    def studies(self):
        about = {"blocks": self.blocks}
        return pd.DataFrame({"study": ["s"], "profile": [None], "question": ["Which?"], "about": [about]})

    def runs(self, study, *, profile=None):
        return self.frame

    def configurations(self, study, *, profile=None):
        paths = [name for name in self.frame if "." in name or name in (*KINDS, "seed", "run_id")]
        return pd.DataFrame({path: pd.Series([row.get(path) for row in self.rows], dtype=object) for path in paths})

    def measurements(self, study, *, selection, profile=None, split=None, axes=True):
        columns = ["run_id", "split", "metric", "selection", "epoch", "value"]
        frame = pd.DataFrame(self.numbers, columns=columns)
        return frame[(frame["selection"] == selection) & (frame["split"].isin([split or "test", split or "train"]))]

    def curves(self, study, *, profile=None, **_):
        return pd.DataFrame(columns=["run_id", "split", "metric", "epoch", "value"])

    def spectra(self, study, *, selection, profile=None, split, axes):
        frame = pd.DataFrame(self.singular, columns=["run_id", "split", "selection", "epoch", "values"])
        return frame[(frame["selection"] == selection) & (frame["split"] == split)]

    def trials(self, study, *, profile=None):
        return pd.DataFrame(columns=["method", "trial"])

    def looks(self, study, *, profile=None):
        return pd.DataFrame(columns=["look"])

    def estimates(self, study, *, profile=None):
        return pd.DataFrame(columns=["run_id", "seconds"])


def evidence_of(runs, questions=None, spectra=()):
    """The evidence of such a study, at the last epoch."""
    return read(SettingsDatabase(runs, questions, spectra), "s")


def recall(value, rule="last"):
    """The one number that most analyses rest on."""
    return {("test", "recall_at_1", rule): value}
