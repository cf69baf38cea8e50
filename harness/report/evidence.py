"""What the database says about one study, in the shape that the analyses work on.

A *setting* is a data set with a backbone: numbers are compared within a setting only. A *cell* is one method in one
setting; its runs differ by seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path, PurePath
from typing import Any, Protocol

import numpy as np
import pandas as pd

from harness.errors import StudyError, did_you_mean
from harness.report.names import dataset_title
from harness.report.statistics import Mean, t_interval
from harness.specs import KINDS
from harness.specs import SELECTIONS as RULES

CELL = ["setting", "method"]
Curves = Callable[[str, tuple[str, ...]], pd.DataFrame]
EQUIVALENCE = 0.25
"""Of studies that were recorded before they could say it."""
SECTIONS = (*KINDS, "training", "optimizer", "evaluation")

UNEQUAL = 0.1
"""Methods whose budgets of trials differ by a larger share were not tuned equally."""


class Frames(Protocol):
    """What a report needs of a database (`harness.store.frames.Database`)."""

    def studies(self) -> pd.DataFrame:
        """One row a study (and profile): study, profile, question."""

    def runs(self, study: str, *, profile: str | None) -> pd.DataFrame:
        """One row a run of the study, whatever its state; the axes that vary as dotted paths."""

    def configurations(self, study: str, *, profile: str | None) -> pd.DataFrame:
        """One row a run with every dotted path of its spec."""

    def measurements(self, study: str, *, selection: str, profile: str | None, **only: Any) -> pd.DataFrame:
        """One row a number, of one selection rule; with `axes=False` without what the runs are."""

    def curves(self, study: str, *, profile: str | None, **only: Any) -> pd.DataFrame:
        """One row a run, split, metric and epoch, of one `split` and some `metrics`."""

    def spectra(self, study: str, *, selection: str, profile: str | None, **only: Any) -> pd.DataFrame:
        """One row a run, of one `split` and selection rule; `values` is a list."""

    def estimates(self, study: str, *, profile: str | None) -> pd.DataFrame:
        """One row a run whose time was foreseen: seconds, cost, source, device."""

    def trials(self, study: str, *, profile: str | None) -> pd.DataFrame:
        """One row a trial of a tuned study."""

    def looks(self, study: str, *, profile: str | None) -> pd.DataFrame:
        """One row a look at the sealed test classes of a tuned study."""


@dataclass(frozen=True)
class Evidence:
    """Everything one report rests on.

    `runs` has one row a run, all states; `configurations` maps a run_id to every setting by its dotted path, whether it
    varies or not; `estimates` has the runs that were planned; `measurements` (of the one selection rule) and `spectra`
    (of the training classes) have only done runs and carry setting, method, regularizer and seed of their run. Their
    texts are categories; `curves` reads those of some metrics of a split, in the same form, when they are asked for.
    """

    study: str
    question: str
    profile: str | None
    selection: str
    runs: pd.DataFrame
    configurations: dict[str, dict[str, Any]]
    measurements: pd.DataFrame
    curves: Curves
    spectra: pd.DataFrame
    estimates: pd.DataFrame
    questions: dict[str, list[str]] = field(default_factory=dict)  # of a block of the grid -> its run ids
    equivalence: float = EQUIVALENCE  # the difference in R@1 that nobody would care about, in percent points
    baseline: str | None = None  # the method that the study wants all others compared with
    results: Path | None = None  # where the folders of the runs are, if they may be read
    rules: Callable[[], pd.DataFrame] = pd.DataFrame  # reads the measurements of every selection rule, with `selection`
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)  # of a tuned study
    looks: pd.DataFrame = field(default_factory=pd.DataFrame)  # at its sealed test classes

    @property
    def equally_tuned(self) -> bool:
        """Whether no method has more than 10% more trials than another; else none of them may be called the best."""
        counts = self.trials.groupby("method").size() if len(self.trials) else pd.Series([1])
        return bool(counts.max() <= (1 + UNEQUAL) * counts.min())

    @property
    def settings(self) -> list[str]:
        """All settings, in the order of the study."""
        return list(dict.fromkeys(self.runs["setting"]))

    def cells(self) -> pd.DataFrame:
        """One row a cell, in the order of the study.

        Columns: setting, method, cell (its anchor), run_id (of the first run), the axes, runs (all ids), planned and
        done (numbers of runs), holes and seeds (in words).
        """
        return self._cells.copy()

    @cached_property
    def _cells(self) -> pd.DataFrame:
        rows = [self._cell(cell) for _, cell in self.runs.groupby(CELL, sort=False)]
        return pd.DataFrame(rows)

    def _cell(self, runs: pd.DataFrame) -> dict[str, Any]:
        own = [*CELL, "cell", "run_id", *axes(runs)]
        counts = {"planned": len(runs), "done": int((runs["state"] == "done").sum())}
        first = {name: runs.iloc[0][name] for name in own} | {"runs": " ".join(runs["run_id"])}
        return {**first, **counts, "holes": holes(runs), "seeds": seeds_text(runs)}

    def bases(self) -> dict[tuple[str, str], str]:
        """(setting, regularized method) -> the method that is the same but for the regularizer, where there is one."""
        plain: dict[tuple[str, ...], str] = {}
        regularized: dict[tuple[str, str], tuple[str, ...]] = {}
        for cell in self.cells().to_dict("records"):
            told = tuple(str(cell[name]) for name in axes(self.runs) if not name.startswith("regularizer"))
            if cell["regularizer"] == "none":
                plain[cell["setting"], *told] = cell["method"]
            else:
                regularized[cell["setting"], cell["method"]] = (cell["setting"], *told)
        return {key: plain[told] for key, told in regularized.items() if told in plain}

    def with_setting(self, shown: pd.DataFrame) -> pd.DataFrame:
        """A table for people, without its column Setting where there is only one."""
        return shown.drop(columns="Setting", errors="ignore") if len(self.settings) < 2 else shown

    def values(self, metric: str, split: str) -> pd.DataFrame:
        """One number a done run: the measurements of one metric on one split; empty where there are none."""
        return plain(self._values(metric, split))

    def by_seed(self, metric: str, split: str) -> dict[tuple[str, str], dict[int, float]]:
        """(setting, method) -> seed -> number, for the cells that have one."""
        groups = self._values(metric, split).groupby(CELL, sort=False)
        return {
            (str(key[0]), str(key[1])): dict(zip(own["seed"].astype(int), own["value"].astype(float), strict=True))
            for key, own in groups
        }

    def means(self, metric: str, split: str) -> dict[tuple[str, str], Mean]:
        """(setting, method) -> mean over seeds, for the cells that have a number."""
        if (metric, split) not in self._means:
            groups = self._values(metric, split).groupby(CELL, sort=False)["value"]
            told = {(str(key[0]), str(key[1])): t_interval(values.to_numpy()) for key, values in groups}
            self._means[metric, split] = told
        return self._means[metric, split]

    @cached_property
    def _means(self) -> dict[tuple[str, str], dict[tuple[str, str], Mean]]:
        return {}

    def _values(self, metric: str, split: str) -> pd.DataFrame:
        chosen = self.measurements[(self.measurements["metric"] == metric) & (self.measurements["split"] == split)]
        return pd.DataFrame(chosen[np.isfinite(chosen["value"])])

    def metrics(self, split: str) -> set[str]:
        """Names of the metrics that at least one run has on a split."""
        return set(self.measurements.loc[self.measurements["split"] == split, "metric"].unique())


def read(
    database: Frames,
    study: str,
    *,
    profile: str | None = None,
    selection: str = "last",
    results: Path | str | None = None,
) -> Evidence:
    """The evidence of one study. Raises StudyError when the database does not know the study."""
    about = _study_row(database, study, profile).get("about") or {}
    question = _question(database, study, profile)
    configurations = _by_run(database.configurations(study, profile=profile))
    runs = _with_cells(database.runs(study, profile=profile), configurations)
    done = runs[runs["state"] == "done"]
    return Evidence(
        study,
        question,
        profile,
        selection,
        runs,
        configurations,
        _of_runs(database.measurements(study, selection=selection, profile=profile, axes=False), done),
        lru_cache(maxsize=1)(partial(_of_curves, database, study, profile, done)),
        _of_runs(database.spectra(study, selection=selection, profile=profile, split="train", axes=False), done),
        database.estimates(study, profile=profile),
        _questions(database, study, profile),
        float(about.get("equivalence", EQUIVALENCE)),
        about.get("baseline"),
        None if results is None else Path(results),
        cache(partial(_of_rules, database, study, profile, done)),
        database.trials(study, profile=profile),
        database.looks(study, profile=profile),
    )


def holes(runs: pd.DataFrame) -> str:
    """`1 diverged, 2 pending`: why runs of a cell have no numbers; empty when all have."""
    missing = runs[runs["state"] != "done"]
    reasons = missing["cause"].where(missing["state"] == "failed", missing["state"]).fillna("failed")
    return ", ".join(f"{count} {str(reason).replace('_', ' ')}" for reason, count in reasons.value_counts().items())


def seeds_text(runs: pd.DataFrame) -> str:
    """`3`, or `2 of 3 (1 diverged)`: how many of the planned seeds a cell rests on."""
    done = int((runs["state"] == "done").sum())
    return str(done) if done == len(runs) else f"{done} of {len(runs)} ({holes(runs)})"


def _question(database: Frames, study: str, profile: str | None) -> str:
    row = _study_row(database, study, profile)
    question = row.get("question")
    return question if isinstance(question, str) else ""


def _questions(database: Frames, study: str, profile: str | None) -> dict[str, list[str]]:
    about = _study_row(database, study, profile).get("about") or {}
    return {block["question"]: list(block["runs"]) for block in about.get("blocks", [])}


def _study_row(database: Frames, study: str, profile: str | None) -> pd.Series:
    studies = database.studies()
    known = [str(name) for name in studies["study"]] if len(studies) else []
    if study not in known:
        raise StudyError(f"the database has no study {study!r}{did_you_mean(study, known)}")
    rows = studies[studies["study"] == study]
    if profile is not None and "profile" in rows and (rows["profile"] == profile).any():
        rows = rows[rows["profile"] == profile]
    return rows.iloc[-1]


def _by_run(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    rows = [{str(path): value for path, value in row.items()} for row in frame.to_dict("records")]
    # What part a run plays in a tuned study is no setting of its method.
    rows = [{path: value for path, value in row.items() if not path.startswith("tuned.")} for row in rows]
    return {str(row.pop("run_id")): {path: value for path, value in row.items() if value is not None} for row in rows}


def _with_cells(runs: pd.DataFrame, configurations: dict[str, dict[str, Any]]) -> pd.DataFrame:
    runs = runs.reset_index(drop=True).copy()
    for column in ("cause", "message"):
        runs[column] = runs.get(column)
    runs["regularizer"] = runs["regularizer"].fillna("none")
    runs["miner"] = runs["miner"].fillna("none")
    runs["setting"] = _settings(runs, configurations)
    runs["method"] = _told_apart(runs)
    numbers = runs.groupby(CELL, sort=False).ngroup() if len(runs) else pd.Series(dtype=int)
    runs["cell"] = [f"cell-{number + 1}" for number in numbers]
    return runs


def _settings(runs: pd.DataFrame, configurations: dict[str, dict[str, Any]]) -> list[str]:
    """`CUB200-2011, resnet50-128`; without the dimension where a study varies it, for then it belongs to the method."""
    keys = [
        (_data_name(run, configurations.get(run["run_id"], {})), str(run["backbone"]))
        for run in runs.to_dict("records")
    ]
    dimensions: dict[tuple[str, str], set[Any]] = {}
    for key, run_id in zip(keys, runs["run_id"], strict=True):
        dimensions.setdefault(key, set()).add(configurations.get(run_id, {}).get("backbone.embedding_dim"))
    only = {key: next(iter(found)) if len(found) == 1 else None for key, found in dimensions.items()}
    return [f"{key[0]}, {key[1]}" + (f"-{only[key]}" if only[key] else "") for key in keys]


def _data_name(run: Mapping[Hashable, Any], configuration: Mapping[str, Any]) -> str:
    """The data set by its name; a file or folder of somebody's own by the name of that."""
    place = configuration.get("dataset.file") or configuration.get("dataset.folder")
    return PurePath(place).stem if place else dataset_title(str(run["dataset"]))


def _told_apart(runs: pd.DataFrame) -> pd.Series:
    """Method names under which no two runs of a setting share a seed.

    A name that stands for several configurations gets the options by which they differ: averaging over them would
    show the spread of configurations as the spread of seeds.
    """
    methods = runs["method"].astype(str).copy()
    for _, group in runs.groupby(CELL, sort=False):
        if not group["seed"].duplicated().any():
            continue
        telling = [name for name in axes(group) if group[name].astype(str).nunique() > 1]
        for index, run in group.iterrows():
            told = ", ".join(f"{name}={run[name]}" for name in telling)
            methods.loc[index] = f"{run['method']} ({told or run['run_id']})"  # type: ignore[call-overload]
    return methods


def axes(runs: pd.DataFrame) -> list[str]:
    """The columns that say what was run, the seed left out: `objective`, `objective.beta`, `training.epochs`."""
    names = [str(name) for name in runs.columns]
    return [name for name in names if name in KINDS or ("." in name and name.partition(".")[0] in SECTIONS)]


def _of_runs(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of done runs, with what is needed to group them."""
    own = [name for name in ("split", "metric", "selection", "epoch", "value", "values") if name in frame]
    ids = frame["run_id"].astype("category").cat
    place = pd.Index(runs["run_id"]).get_indexer(ids.categories)[ids.codes]
    known = place >= 0
    joined: pd.DataFrame = frame.loc[known, ["run_id", *own]].reset_index(drop=True)
    for name in (*CELL, "objective", "regularizer"):
        joined[name] = runs[name].astype("category").array[place[known]]
    joined["seed"] = runs["seed"].to_numpy()[place[known]]
    return joined.astype({"value": float}) if "value" in joined else joined


def _of_curves(
    database: Frames, study: str, profile: str | None, runs: pd.DataFrame, split: str, metrics: tuple[str, ...]
) -> pd.DataFrame:
    return _of_runs(database.curves(study, profile=profile, split=split, metrics=metrics, axes=False), runs)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with texts in place of categories."""
    categories = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return pd.DataFrame(frame.astype(dict.fromkeys(categories, object)))


def _of_rules(database: Frames, study: str, profile: str | None, runs: pd.DataFrame) -> pd.DataFrame:
    """Measurements of the test classes by each selection rule; only read when asked for, for they are many."""
    frames = []
    for rule in RULES:
        frame = database.measurements(study, selection=rule, profile=profile, split="test", axes=False)
        if len(frame):
            frames.append(_of_runs(frame, runs))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
