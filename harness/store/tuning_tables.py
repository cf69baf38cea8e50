"""The tables of tuned studies: trials, which can be had again from run folders, and looks, which cannot."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Connection, Float, Integer, String, Table, text

from harness.store.schema import metadata

trials = Table(
    "trials",
    metadata,
    Column("study", String(200), primary_key=True, comment="its name"),
    Column("profile", String(200), primary_key=True, comment="empty for the study without a profile"),
    Column("method", String(500), primary_key=True, comment="what tells it from the others, with its defaults"),
    Column("trial", Integer, primary_key=True, comment="from 0, which are the defaults"),
    Column("state", String(10), nullable=False, comment="complete, pruned or failed; all of them count"),
    Column("cause", String(20), comment="why it failed"),
    Column("score", Float(53), comment="mean over folds of the metric in the epoch; of a pruned one, of its folds"),
    Column("epoch", Integer, comment="where that is highest"),
    Column("metric", String(100), nullable=False, comment="what it is judged by, on held-out training classes"),
    Column("parameters", JSON, nullable=False, comment="name -> value"),
    Column("space", JSON, nullable=False, comment="name -> range, as Optuna writes it"),
    Column("runs", JSON, nullable=False, comment="the ids of its folds"),
    comment="What each method of a tuned study was tried with; `harness tune` makes them again from the run folders.",
)

looks = Table(
    "looks",
    metadata,
    Column("study", String(200), primary_key=True, comment="its name"),
    Column("profile", String(200), primary_key=True, comment="empty for the study without a profile"),
    Column("look", Integer, primary_key=True, comment="from 1"),
    Column("choices", String(16), nullable=False, comment="the digest of what had been chosen before"),
    Column("runs", Integer, nullable=False, comment="how many were looked at"),
    Column("classes", JSON, nullable=False, comment="data set -> digest of the names of its test classes"),
    Column("by", JSON, nullable=False, comment="who looked: host, code, libraries"),
    Column("began", String(40), nullable=False, comment="when, UTC, before anything was measured"),
    Column("ended", String(40), comment="when, UTC; null for a look that was interrupted"),
    comment="Each look at the sealed test classes of a tuned study. Rows are added and never removed.",
)


def add_tuning(connection: Connection) -> None:
    """The step to version 4."""
    key = "study varchar(200) not null, profile varchar(200) not null"
    connection.execute(
        text(
            f"create table trials ({key}, method varchar(500) not null, trial integer not null, "
            "state varchar(10) not null, cause varchar(20), score float, epoch integer, metric varchar(100) not null, "
            "parameters json not null, space json not null, runs json not null, "
            "primary key (study, profile, method, trial))"
        )
    )
    connection.execute(
        text(
            f"create table looks ({key}, look integer not null, choices varchar(16) not null, runs integer not null, "
            'classes json not null, "by" json not null, began varchar(40) not null, ended varchar(40), '
            "primary key (study, profile, look))"
        )
    )
