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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Select, Table, Text, cast, select

from harness.errors import StudyError, did_you_mean
from harness.store import schema, tuning_tables
from harness.store.chosen import Chosen
from harness.store.columns import as_lists, gathered, unpacked, with_axes
from harness.store.engine import open_engine, told_by_database
from harness.store.labels import method_labels

__all__ = ["Database", "method_labels"]

Row = dict[str, Any]

FEW = 500
"""So many runs are asked for by their ids; of more, all rows are read."""
AT_ONCE = 20_000


class Database:
    """A results database to read from, by path or by URL. Raises StoreError when there is none.

    `study=None` asks for all runs. A study that was run with several profiles is asked for by `profile`, too; without
    it, the runs without a profile are meant, or those of the profile that was launched last where there are none.
    """

    def __init__(self, path_or_url: str | Path) -> None:
        self._url = path_or_url
        self._engine = open_engine(path_or_url, write=False)
        self._last: Chosen | None = None

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
        return self._chosen(study, profile).configurations()

    def measurements(
        self, study: str | None = None, *, selection: str | None = None, profile: str | None = None, **only: Any
    ) -> pd.DataFrame:
        """One row a number: split, metric, selection (the rule for the epoch), epoch, value. `only`: see `curves`."""
        columns = ["split", "metric", "selection", "epoch", "value"]
        wanted = {} if selection is None else {"selection": selection}
        return self._tidy(schema.measurements, columns, study, profile, wanted, **only)

    def curves(self, study: str | None = None, *, profile: str | None = None, **only: Any) -> pd.DataFrame:
        """One row a number and epoch: split, metric, epoch, value (nan where it is not defined).

        What only some want can be asked for by `split="test"` and `metrics=[...]`. With `axes=False` nothing but
        `run_id` says what the runs are, and texts are categories: so millions of numbers take no more than they must.
        """
        columns = ["split", "metric", "epochs", "scale", "numbers"]
        return self._tidy(schema.curves, columns, study, profile, {}, **only)

    def spectra(
        self, study: str | None = None, *, selection: str | None = None, profile: str | None = None, **only: Any
    ) -> pd.DataFrame:
        """One row a spectrum: split, selection, epoch, values (a list, largest first). `only`: see `curves`.

        Without axes the values are arrays.
        """
        columns = ["split", "selection", "epoch", "scale", "singular_values"]
        wanted = {} if selection is None else {"selection": selection}
        return self._tidy(schema.spectra, columns, study, profile, wanted, **only)

    def class_scores(self, study: str | None = None, *, profile: str | None = None, **only: Any) -> pd.DataFrame:
        """One row a class and number: split, metric, selection, epoch, class, value. `only`: see `curves`."""
        columns = ["split", "metric", "selection", "epoch", "class_list", "scale", "scores"]
        return self._tidy(schema.class_scores, columns, study, profile, {}, **only)

    def _tidy(
        self,
        table: Table,
        columns: Sequence[str],
        study: str | None,
        profile: str | None,
        where: dict[str, Any],
        *,
        split: str | None = None,
        metrics: Sequence[str] | None = None,
        axes: bool = True,
    ) -> pd.DataFrame:
        chosen = self._chosen(study, profile)
        where |= {"split": split} if split is not None else {}
        where |= {"metric": list(metrics)} if metrics is not None else {}
        frame = self._gathered(table, ["run_id", *columns], where, chosen)
        if table is schema.curves:
            frame = unpacked(frame, "numbers", "epoch", self._lists(schema.epoch_lists), "epochs")
            frame = frame.astype({"epoch": int})
        elif table is schema.class_scores:
            frame = unpacked(frame, "scores", "class", self._lists(schema.class_lists), "class_list")
        elif table is schema.spectra:
            frame = as_lists(frame, plain=axes)
        return with_axes(frame, chosen) if axes else frame

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

    def _lists(self, table: Table) -> dict[str, NDArray[Any]]:
        """What rows refer to by the key of a list."""
        (key,) = table.primary_key
        (content,) = (column for column in table.columns if column is not key)
        return {row[key.name]: np.array(row[content.name]) for row in self._select(table, [key.name, content.name])}

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
        key = {} if study is None else {"study": study, "profile": self._profile(study, profile)}
        table, order = (schema.study_runs, ["position"]) if key else (schema.runs, ["run_id"])
        ids = [row["run_id"] for row in self._select(table, ["run_id"], key, order=order)]
        # What a run is never changes, so the same ids are the same runs; a report asks for them many times.
        if self._last is None or self._last.ids != ids or self._last.everything != (study is None):
            self._last = Chosen(self._specs(ids), everything=study is None)
        return self._last

    def _specs(self, ids: Sequence[str]) -> list[tuple[str, str]]:
        """Of each run its spec as JSON text."""
        query = select(schema.runs.c.run_id, cast(schema.runs.c.spec, Text).label("spec"))
        query = query.where(schema.runs.c.run_id.in_(ids)) if len(ids) <= FEW else query
        with told_by_database(self._url), self._engine.connect() as connection:
            found = {row.run_id: row.spec for row in connection.execute(query)}
        return [(run_id, found[run_id]) for run_id in ids]

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
        few = ids if ids is not None and len(ids) <= FEW else None
        rows = self._select(
            table, columns, {"run_id": few} if few is not None else {}, table.primary_key.columns.keys()
        )
        by_run: dict[str, list[Row]] = {run_id: [] for run_id in chosen.ids}
        for row in rows:
            if row["run_id"] in by_run:
                by_run[row["run_id"]].append(row)
        return [row for run_id in chosen.ids for row in by_run[run_id]]

    def _gathered(self, table: Table, columns: Sequence[str], where: dict[str, Any], chosen: Chosen) -> pd.DataFrame:
        if not chosen.everything and len(chosen.ids) <= FEW:
            where = {**where, "run_id": chosen.ids}
        query = self._query(table, columns, where, table.primary_key.columns.keys())
        with told_by_database(self._url), self._engine.connect() as connection:
            result = connection.execution_options(stream_results=True).execute(query)
            return gathered(result.partitions(AT_ONCE), columns, chosen)

    def _select(
        self, table: Table, columns: Sequence[str], where: dict[str, Any] | None = None, order: Sequence[str] = ()
    ) -> list[Row]:
        query = self._query(table, columns, where or {}, order)
        with told_by_database(self._url), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @staticmethod
    def _query(table: Table, columns: Sequence[str], where: dict[str, Any], order: Sequence[str]) -> Select[Any]:
        query = select(*(table.c[name] for name in columns)).order_by(*(table.c[name] for name in order))
        for name, value in where.items():
            query = query.where(table.c[name].in_(value) if isinstance(value, list) else table.c[name] == value)
        return query
