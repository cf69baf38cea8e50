"""The tables of the results database; `views` has what a person browses.

The database is made from the run folders and can be made again from them. Numbers that decide are in columns; what is
only shown or handed on is JSON; long lists of numbers are packed (`packing`) and have a view that unpacks them. A
change of this file is a new version, one function in `migrations` and a kept database of the version before
(tests/store/keep_version.py).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn, CreateTable

VERSION = 3

metadata = MetaData()


def _of_a_run() -> Column[str]:
    return Column(
        "run_id", String(16), ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True, comment="whose it is"
    )


def _split() -> Column[str]:
    return Column("split", String(20), primary_key=True, comment="the classes it is measured on: test or train")


def _metric() -> Column[str]:
    return Column("metric", String(100), primary_key=True, comment="recall_at_1, map_at_r, nmi, loss, ...")


def _selection() -> Column[str]:
    return Column(
        "selection", String(20), primary_key=True, comment="which epoch it is: last, best_validation or best_test"
    )


def _epoch() -> Column[int]:
    return Column("epoch", Integer, nullable=False, comment="number of finished epochs")


def _scale() -> Column[float]:
    return Column("scale", Float(53), nullable=False, comment="by which the packed numbers are divided")


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, comment="of all tables and views"),
    comment="The version of these tables; SQLite also has it as PRAGMA user_version.",
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(16), primary_key=True, comment="SHA-256 of the spec, 64 bits, in hex"),
    Column("dataset", String(200), nullable=False, comment="name of the part; its options are in spec"),
    Column("backbone", String(200), nullable=False, comment="name of the part; its options are in spec"),
    Column("objective", String(200), nullable=False, comment="name of the part; its options are in spec"),
    Column("miner", String(200), nullable=False, comment="none where the objective takes the whole batch"),
    Column("sampler", String(200), nullable=False, comment="none where the miner plans the batches"),
    Column("regularizer", String(200), nullable=False, comment="none without one"),
    Column("seed", Integer, nullable=False, comment="of all chance in the run"),
    Column("state", String(10), nullable=False, comment="pending, running, done or failed, when last looked at"),
    Column("cause", String(20), comment="why it failed"),
    Column("message", Text, comment="what failed, in a sentence"),
    Column("traceback", Text, comment="where it failed"),
    Column("spec", JSON, nullable=False, comment="everything that decides the numbers"),
    Column("cost", JSON, nullable=False, comment="train_seconds, step_ms, peak_memory_mb, ..."),
    Column("provenance", JSON, nullable=False, comment="code, libraries, machine and command behind the result"),
    Column("result_digest", String(16), comment="SHA-256 of result.json, 64 bits, in hex"),
    Column("folder_stamp", String(80), comment="sizes and times of the files that were read; tells what is new"),
    # What `status` and collecting ask of every run; without these they would read every spec, too.
    Index("runs_by_state", "state", "run_id", "dataset", "backbone", "sampler"),
    Index("runs_as_collected", "run_id", "state", "result_digest", "folder_stamp"),
    comment="One row a run, whatever its state. A run is what its spec says; it may belong to several studies.",
)

studies = Table(
    "studies",
    metadata,
    Column("study", String(200), primary_key=True, comment="its name"),
    Column("profile", String(200), primary_key=True, comment="empty for the study without a profile"),
    Column("question", Text, comment="what the study asks"),
    Column("about", JSON, nullable=False, comment="what a report needs to know of the study file"),
    Column("recorded", String(40), nullable=False, comment="when it was last launched, UTC"),
    comment="One row a study and profile that was launched.",
)

study_runs = Table(
    "study_runs",
    metadata,
    Column("study", String(200), primary_key=True, comment="its name"),
    Column("profile", String(200), primary_key=True, comment="empty for the study without a profile"),
    _of_a_run(),
    Column("position", Integer, nullable=False, comment="order in the study"),
    Column(
        "method", Text, nullable=False, comment="what tells this run from the others of its study, but for the seed"
    ),
    ForeignKeyConstraint(["study", "profile"], ["studies.study", "studies.profile"], ondelete="CASCADE"),
    Index("study_runs_by_run", "run_id", "study", "profile"),
    comment="Which runs a study has.",
)

attempts = Table(
    "attempts",
    metadata,
    _of_a_run(),
    Column("attempt", String(40), primary_key=True, comment="its begin and a piece of its token"),
    Column("began", String(40), nullable=False, comment="UTC"),
    Column("ended", String(40), nullable=False, comment="UTC"),
    Column("cause", String(20), nullable=False, comment="done, lost, interrupted, or why it failed"),
    Column("host", String(255), nullable=False, comment="the machine"),
    Column("device", String(200), comment="cpu, cuda:0, ..."),
    Column("pid", Integer, comment="the process"),
    Column("git_commit", String(64), comment="of the harness"),
    Column("provenance", JSON, nullable=False, comment="code, libraries and machine"),
    Column("seconds", Float(53), comment="from began to ended; 0 where the clocks of two hosts disagree"),
    Column("first_step", BigInteger, comment="steps that the run had behind it when the attempt began"),
    Column("last_step", BigInteger, comment="steps that it had behind it at its end, up to a second before"),
    # What `status` adds up; without it every provenance would be read.
    Index("attempts_as_ended", "run_id", "cause", "device", "seconds"),
    comment="One row for each time somebody worked on a run.",
)

measurements = Table(
    "measurements",
    metadata,
    _of_a_run(),
    _split(),
    _metric(),
    _selection(),
    _epoch(),
    Column("value", Float(53), nullable=False),
    comment="One number a run, split, metric and rule by which the epoch was selected.",
    sqlite_with_rowid=False,
)

epoch_lists = Table(
    "epoch_lists",
    metadata,
    Column("epochs", String(200), primary_key=True, comment="in short: 1-150, or 5-150:5 for every fifth"),
    Column("numbers", JSON, nullable=False, comment="each of them"),
    comment="The epochs of curves, which most curves share.",
)

curves = Table(
    "curves",
    metadata,
    _of_a_run(),
    _split(),
    _metric(),
    Column("epochs", String(200), ForeignKey("epoch_lists.epochs"), nullable=False, comment="1-150: see epoch_lists"),
    _scale(),
    Column("numbers", Text, nullable=False, comment="packed, four characters an epoch: see the view curves_long"),
    comment="One number over the epochs of a run, to six significant digits. The view curves_long has a row an epoch.",
)

spectra = Table(
    "spectra",
    metadata,
    _of_a_run(),
    _split(),
    _selection(),
    _epoch(),
    _scale(),
    Column("singular_values", Text, nullable=False, comment="packed, four characters each: see the view spectra_long"),
    comment="The singular values of the embeddings of a split, largest first. The view spectra_long has a row a value.",
)

class_lists = Table(
    "class_lists",
    metadata,
    Column("class_list", String(16), primary_key=True, comment="SHA-256 of the names, 64 bits, in hex"),
    Column("names", JSON, nullable=False, comment="of the classes"),
    comment="The classes that scores are of, which all runs on one split of a data set share.",
)

class_scores = Table(
    "class_scores",
    metadata,
    _of_a_run(),
    _split(),
    _metric(),
    _selection(),
    _epoch(),
    Column("class_list", String(16), ForeignKey("class_lists.class_list"), nullable=False, comment="of whom"),
    _scale(),
    Column("scores", Text, nullable=False, comment="packed, four characters a class: see the view class_scores_long"),
    comment="A metric for each class of a split. The view class_scores_long has a row a class.",
)

estimates = Table(
    "estimates",
    metadata,
    Column("study", String(200), primary_key=True, comment="its name"),
    Column("profile", String(200), primary_key=True, comment="empty for the study without a profile"),
    Column("run_id", String(16), primary_key=True, comment="of a run that need not be recorded yet"),
    Column("seconds", Float(53), nullable=False, comment="of the whole run, by one worker"),
    Column("cost", JSON, nullable=False, comment="what it is made of, by the names that runs.cost has"),
    Column("source", String(20), nullable=False, comment="measured: steps of a rehearsal; database: finished runs"),
    Column("device", String(200), nullable=False, comment="that it was foreseen for"),
    Column("planned", String(40), nullable=False, comment="when, UTC"),
    comment="What `harness plan` foresaw of runs that were missing; no part of the record of runs.",
)

OF_A_RESULT = (measurements, curves, spectra, class_scores)
"""What is replaced when a run has a new result."""

LISTS = (epoch_lists, class_lists)
"""What results of different runs share. A list is told by its key, so whoever comes first may write it."""


@compiles(CreateColumn, "sqlite")
def _column_with_comment(create: CreateColumn, compiler: Any, **options: Any) -> str:
    # SQLite knows no comments on columns, but keeps the text of CREATE TABLE, which `.schema` and Datasette show.
    text = str(compiler.visit_create_column(create, **options))
    return f"{text} /* {create.element.comment} */" if create.element.comment else text


@compiles(CreateTable, "sqlite")
def _table_with_comment(create: CreateTable, compiler: Any, **options: Any) -> str:
    text = str(compiler.visit_create_table(create, **options))
    return text.replace("(", f"( /* {create.element.comment} */", 1) if create.element.comment else text
