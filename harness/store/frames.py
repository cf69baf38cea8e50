"""The results database as tidy DataFrames, for reports and notebooks.

Every frame has `run_id`, `method` (what tells the run from the others, see `method_labels`) and the axes: dataset,
backbone, objective, miner, sampler, regularizer, seed, and each dotted path, such as `objective.beta`, that varies
among the runs asked for. Three questions and how to ask them:

    >>> import harness
    >>> database = harness.Database("results/harness.db")

Which method is best, and by how much do its seeds differ?

    >>> measured = database.measurements("fair_comparison", selection="last")
    >>> recall = measured[(measured.split == "test") & (measured.metric == "recall_at_1")]
    >>> recall.groupby("method")["value"].agg(["mean", "std", "count"]).round(3)
                        mean    std  count
    method
    margin (beta=0.6)  0.550  0.014      2
    margin (beta=1.2)  0.590  0.014      2
    triplet            0.475  0.007      2

After how many epochs does each come within 0.025 of its highest recall?

    >>> curves = database.curves("fair_comparison")
    >>> curves = curves[(curves.split == "test") & (curves.metric == "recall_at_1")]
    >>> near = curves[curves.value > curves.groupby("run_id")["value"].transform("max") - 0.025]
    >>> near.groupby(["method", "run_id"])["epoch"].min().groupby("method").mean()
    method
    margin (beta=0.6)    3.0
    margin (beta=1.2)    2.0
    triplet              4.0
    Name: epoch, dtype: float64

What did they cost, and which runs are missing?

    >>> runs = database.runs("fair_comparison")
    >>> runs.groupby("method")["train_seconds"].sum()
    method
    margin (beta=0.6)    20.0
    margin (beta=1.2)    20.0
    triplet              16.0
    Name: train_seconds, dtype: float64
    >>> runs[runs.state != "done"][["method", "seed", "state", "cause"]]
                  method  seed   state     cause
    6  margin (beta=1.2)     2  failed  diverged
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Table, select

from harness.errors import StudyError, did_you_mean
from harness.specs import RunSpec
from harness.store import schema, tuning_tables
from harness.store.engine import open_engine, told_by_database
from harness.store.labels import method_labels, varying_paths
from harness.store.packing import unpack

__all__ = ["Database", "method_labels"]

Row = dict[str, Any]


class Database:
    """A results database to read from, by path or by URL. Raises StoreError when there is none.

    `study=None` asks for all runs. A study that was run with several profiles is asked for by `profile`, too; without
    it, the runs without a profile are meant, or those of the profile that was launched last where there are none.
    """

    def __init__(self, path_or_url: str | Path) -> None:
        self._url = path_or_url
        self._engine = open_engine(path_or_url, write=False)

    def studies(self) -> pd.DataFrame:
        """One row a study and profile: study, profile (None without one), question, recorded, runs, and `about`."""
        counts: dict[tuple[str, str], int] = {}
        for row in self._select(schema.study_runs, ["study", "profile"]):
            key = row["study"], row["profile"]
            counts[key] = counts.get(key, 0) + 1
        columns = ["study", "profile", "question", "recorded", "about"]
        rows = self._select(schema.studies, columns, order=["recorded", "study", "profile"])
        rows = [{**row, "runs": counts.get((row["study"], row["profile"]), 0)} for row in rows]
        frame = pd.DataFrame(rows, columns=["study", "profile", "question", "recorded", "runs", "about"])
        return frame.assign(profile=pd.Series([row["profile"] or None for row in rows], dtype=object))

    def runs(self, study: str | None = None, *, profile: str | None = None) -> pd.DataFrame:
        """One row a run, whatever its state: state, cause, message, and what it cost (names carry units).

        In the order of the study.
        """
        chosen = self._chosen(study, profile)
        columns = ["run_id", "state", "cause", "message", "cost"]
        found = {row["run_id"]: row for row in self._of_runs(schema.runs, columns, chosen)}
        costs = list(dict.fromkeys(name for row in found.values() for name in row["cost"]))
        rows = [{**found[run_id], **found[run_id]["cost"]} for run_id in chosen.ids]
        return chosen.frame(rows, ["run_id", "state", "cause", "message"], after=costs)

    def configurations(self, study: str | None = None, *, profile: str | None = None) -> pd.DataFrame:
        """One row a run: `run_id` and every dotted path of its spec, varying or not; None where a run has none."""
        chosen = self._chosen(study, profile)
        rows = [{"run_id": run_id, **flat} for run_id, flat in zip(chosen.ids, chosen.flats, strict=True)]
        paths = list(dict.fromkeys(["run_id", *(path for row in rows for path in row)]))
        return pd.DataFrame({path: pd.Series([row.get(path) for row in rows], dtype=object) for path in paths})

    def measurements(
        self, study: str | None = None, *, selection: str | None = None, profile: str | None = None
    ) -> pd.DataFrame:
        """One row a number: split, metric, selection (the rule for the epoch), epoch, value."""
        chosen = self._chosen(study, profile)
        columns = ["run_id", "split", "metric", "selection", "epoch", "value"]
        rows = self._of_runs(schema.measurements, columns, chosen)
        return chosen.frame([row for row in rows if selection in (None, row["selection"])], columns)

    def curves(self, study: str | None = None, *, profile: str | None = None) -> pd.DataFrame:
        """One row a number and epoch: split, metric, epoch, value (nan where it is not defined)."""
        chosen = self._chosen(study, profile)
        columns = ["run_id", "split", "metric"]
        rows = self._of_runs(schema.curves, [*columns, "epochs", "scale", "numbers"], chosen)
        frame, epochs = chosen.frame(rows, columns), self._lists(schema.epoch_lists, rows)
        return _unpacked(frame, rows, "numbers", len(columns), "epoch", epochs).astype({"epoch": int})

    def spectra(self, study: str | None = None, *, profile: str | None = None) -> pd.DataFrame:
        """One row a spectrum: split, selection, epoch, values (a list, largest first)."""
        chosen = self._chosen(study, profile)
        columns = ["run_id", "split", "selection", "epoch"]
        rows = self._of_runs(schema.spectra, [*columns, "scale", "singular_values"], chosen)
        values, lengths = unpack([row["singular_values"] for row in rows], [row["scale"] for row in rows])
        parts = np.split(values, np.cumsum(lengths)[:-1]) if rows else []
        rows = [{**row, "values": part.tolist()} for row, part in zip(rows, parts, strict=True)]
        return chosen.frame(rows, [*columns, "values"])

    def class_scores(self, study: str | None = None, *, profile: str | None = None) -> pd.DataFrame:
        """One row a class and number: split, metric, selection, epoch, class, value."""
        chosen = self._chosen(study, profile)
        columns = ["run_id", "split", "metric", "selection", "epoch"]
        rows = self._of_runs(schema.class_scores, [*columns, "class_list", "scale", "scores"], chosen)
        frame, names = chosen.frame(rows, columns), self._lists(schema.class_lists, rows)
        return _unpacked(frame, rows, "scores", len(columns), "class", names)

    def attempts(self, study: str | None = None, *, profile: str | None = None) -> pd.DataFrame:
        """One row for each time a run was worked on.

        Columns: attempt, began, ended, seconds, cause, host, device, pid, git_commit, first_step and last_step (the
        steps that the run had behind it; missing where it died before it could tell).
        """
        chosen = self._chosen(study, profile)
        columns = ["run_id", "attempt", "began", "ended", "seconds", "cause", "host", "device", "pid", "git_commit"]
        columns += ["first_step", "last_step"]
        return chosen.frame(self._of_runs(schema.attempts, columns, chosen), columns)

    def estimates(self, study: str | None = None, *, profile: str | None = None) -> pd.DataFrame:
        """One row a run whose time was foreseen by `harness plan`: seconds, cost, source, device, planned (when).

        Without a study, one row a run and study that it was foreseen for.
        """
        chosen = self._chosen(study, profile)
        columns = ["run_id", "study", "profile", "seconds", "cost", "source", "device", "planned"]
        where = {} if study is None else {"study": study, "profile": self._profile(study, profile)}
        found = self._select(schema.estimates, columns, where, schema.estimates.primary_key.columns.keys())
        place = {run_id: position for position, run_id in enumerate(chosen.ids)}
        rows = sorted((row for row in found if row["run_id"] in place), key=lambda row: place[row["run_id"]])
        return chosen.frame(rows, columns)

    def _lists(self, table: Table, rows: Sequence[Row]) -> list[list[Any]]:
        """For each row the list that it refers to."""
        (key,) = table.primary_key
        (content,) = (column for column in table.columns if column is not key)
        found = {row[key.name]: row[content.name] for row in self._select(table, [key.name, content.name])}
        return [found[row[key.name]] for row in rows]

    def trials(self, study: str, *, profile: str | None = None) -> pd.DataFrame:
        """One row a trial of a tuned study, in the order of the trials of each method.

        Columns: method, trial, state, cause, score, epoch, metric, parameters, space, runs (ids of its folds), trained
        (how many of these no earlier trial had trained) and seconds (that these took, setup included).
        """
        key = {"study": study, "profile": self._profile(study, profile)}
        columns = ["method", "trial", "state", "cause", "score", "epoch", "metric", "parameters", "space", "runs"]
        rows = self._select(tuning_tables.trials, columns, key, order=["method", "trial"])
        cost = {row["run_id"]: row["cost"] for row in self._select(schema.runs, ["run_id", "cost"])} if rows else {}
        seen: set[str] = set()
        for row in rows:
            own = [run_id for run_id in dict.fromkeys(row["runs"]) if run_id not in seen]
            seen.update(own)
            paid = [cost.get(run_id, {}) for run_id in own]
            seconds = sum(of.get("setup_seconds", 0.0) + of.get("total_seconds", 0.0) for of in paid)
            row |= {"trained": len(own), "seconds": float(seconds)}
        return pd.DataFrame(rows, columns=[*columns, "trained", "seconds"]).astype({"score": float})

    def looks(self, study: str, *, profile: str | None = None) -> pd.DataFrame:
        """One row a look at sealed test classes: look (its number), choices, runs, classes, by, began, ended."""
        key = {"study": study, "profile": self._profile(study, profile)}
        columns = ["look", "choices", "runs", "classes", "by", "began", "ended"]
        return pd.DataFrame(self._select(tuning_tables.looks, columns, key, order=["look"]), columns=columns)

    def _chosen(self, study: str | None, profile: str | None) -> Chosen:
        """The runs of a study in its order, or all. Raises StudyError when the study is not in the database."""
        columns = ["run_id", "spec"]
        if study is None:
            return Chosen(self._select(schema.runs, columns, order=["run_id"]), everything=True)
        key = {"study": study, "profile": self._profile(study, profile)}
        members = self._select(schema.study_runs, ["run_id"], key, order=["position"])
        wanted = {row["run_id"] for row in members}
        specs = {row["run_id"]: row for row in self._select(schema.runs, columns) if row["run_id"] in wanted}
        return Chosen([specs[row["run_id"]] for row in members])

    def _profile(self, study: str, profile: str | None) -> str:
        known = self._select(schema.studies, ["study", "profile"], order=["recorded"])
        profiles = [row["profile"] for row in known if row["study"] == study]
        if not profiles:
            names = {row["study"] for row in known}
            raise StudyError(f"the database has no study {study!r}{did_you_mean(study, names)}")
        if profile is not None and profile not in profiles:
            hint = did_you_mean(profile, [name for name in profiles if name])
            raise StudyError(f"the database has no profile {profile!r} of study {study!r}{hint}")
        if profile is None:
            return "" if "" in profiles else profiles[-1]
        return profile

    def _of_runs(self, table: Table, columns: Sequence[str], chosen: Chosen) -> list[Row]:
        """The rows of the chosen runs, run by run in their order."""
        # Asking for each of thousands of ids would be slower than passing over the rows of other studies.
        ids = None if chosen.everything else chosen.ids
        few = ids if ids is not None and len(ids) <= 500 else None
        rows = self._select(
            table, columns, {"run_id": few} if few is not None else {}, table.primary_key.columns.keys()
        )
        by_run: dict[str, list[Row]] = {run_id: [] for run_id in chosen.ids}
        for row in rows:
            if row["run_id"] in by_run:
                by_run[row["run_id"]].append(row)
        return [row for run_id in chosen.ids for row in by_run[run_id]]

    def _select(
        self, table: Table, columns: Sequence[str], where: dict[str, Any] | None = None, order: Sequence[str] = ()
    ) -> list[Row]:
        query = select(*(table.c[name] for name in columns)).order_by(*(table.c[name] for name in order))
        for name, value in (where or {}).items():
            query = query.where(table.c[name].in_(value) if isinstance(value, list) else table.c[name] == value)
        with told_by_database(self._url), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _unpacked(
    frame: pd.DataFrame, rows: Sequence[Row], packed: str, place: int, name: str, lists: list[list[Any]]
) -> pd.DataFrame:
    """A frame with a line for each packed row as one with a line for each number of it.

    At `place` stand what the numbers are of, under `name`, and the numbers as `value`.
    """
    values, lengths = unpack([row[packed] for row in rows], [row["scale"] for row in rows])
    long = frame.take(np.repeat(np.arange(len(rows)), lengths)).reset_index(drop=True)
    long.insert(place, name, list(itertools.chain.from_iterable(lists)))
    long.insert(place + 1, "value", values)
    return long


class Chosen:
    """The runs that were asked for, with what every frame says of them."""

    def __init__(self, rows: Sequence[Row], everything: bool = False) -> None:
        specs = [RunSpec.from_dict(row["spec"]) for row in rows]
        self.ids = [str(row["run_id"]) for row in rows]
        self.everything = everything
        self.paths = varying_paths(specs)
        labels = method_labels(specs)
        self.flats = [spec.flat() for spec in specs]
        self._about = {
            run_id: {**{path: flat.get(path) for path in self.paths}, "method": labels[spec.run_id]}
            for run_id, spec, flat in zip(self.ids, specs, self.flats, strict=True)
        }

    def frame(self, rows: Sequence[Row], first: Sequence[str], after: Sequence[str] = ()) -> pd.DataFrame:
        """Rows with a `run_id` as a frame: the columns `first`, the axes, the method, the columns `after`."""
        columns = [*first, *self.paths, "method", *after]
        about = self._about
        data = {name: [row.get(name) for row in rows] for name in (*first, *after)}
        for name in (*self.paths, "method"):
            data[name] = [about[row["run_id"]][name] for row in rows]
        return pd.DataFrame(data, columns=columns)
