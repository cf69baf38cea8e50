"""The tables and views of the results database.

The database is made from the run folders and can be made again from them. Numbers that decide are in columns; what is
only shown or handed on is JSON. A change of this file is a new version and one function in `migrations`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

VERSION = 2

metadata = MetaData()


def _of_a_run() -> Column[str]:
    return Column("run_id", String(16), ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True),
    comment="The version of these tables; SQLite also has it as PRAGMA user_version.",
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(16), primary_key=True, comment="SHA-256 of the spec, 64 bits, in hex"),
    Column("dataset", String(200), nullable=False),
    Column("backbone", String(200), nullable=False),
    Column("objective", String(200), nullable=False),
    Column("miner", String(200), nullable=False, comment="none where the objective takes the whole batch"),
    Column("sampler", String(200), nullable=False),
    Column("regularizer", String(200), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("state", String(10), nullable=False, comment="pending, running, done or failed, when last looked at"),
    Column("cause", String(20), comment="why it failed"),
    Column("message", Text),
    Column("traceback", Text),
    Column("spec", JSON, nullable=False, comment="everything that decides the numbers"),
    Column("cost", JSON, nullable=False, comment="train_seconds, step_ms, peak_memory_mb, ..."),
    Column("provenance", JSON, nullable=False, comment="code, libraries, machine and command behind the result"),
    Column("result_digest", String(16), comment="SHA-256 of result.json, 64 bits, in hex"),
    Column("folder_stamp", String(80), comment="sizes and times of the files that were read; tells what is new"),
    Index("runs_by_state", "state"),
)

studies = Table(
    "studies",
    metadata,
    Column("study", String(200), primary_key=True),
    Column("profile", String(200), primary_key=True, comment="empty for the study without a profile"),
    Column("question", Text),
    Column("about", JSON, nullable=False, comment="what a report needs to know of the study file"),
    Column("recorded", String(40), nullable=False, comment="when it was last launched, UTC"),
)

study_runs = Table(
    "study_runs",
    metadata,
    Column("study", String(200), primary_key=True),
    Column("profile", String(200), primary_key=True),
    _of_a_run(),
    Column("position", Integer, nullable=False, comment="order in the study"),
    Column(
        "method", Text, nullable=False, comment="what tells this run from the others of its study, but for the seed"
    ),
    ForeignKeyConstraint(["study", "profile"], ["studies.study", "studies.profile"], ondelete="CASCADE"),
    Index("study_runs_by_run", "run_id"),
)

attempts = Table(
    "attempts",
    metadata,
    _of_a_run(),
    Column("attempt", String(40), primary_key=True, comment="its begin and a piece of its token"),
    Column("began", String(40), nullable=False),
    Column("ended", String(40), nullable=False),
    Column("cause", String(20), nullable=False, comment="done, lost, interrupted, or why it failed"),
    Column("host", String(255), nullable=False),
    Column("device", String(200)),
    Column("pid", Integer),
    Column("git_commit", String(64)),
    Column("provenance", JSON, nullable=False),
)

measurements = Table(
    "measurements",
    metadata,
    _of_a_run(),
    Column("split", String(20), primary_key=True),
    Column("metric", String(100), primary_key=True),
    Column("selection", String(20), primary_key=True, comment="the rule by which the epoch was chosen"),
    Column("epoch", Integer, nullable=False, comment="number of finished epochs"),
    Column("value", Float(53), nullable=False),
    sqlite_with_rowid=False,
)

curves = Table(
    "curves",
    metadata,
    _of_a_run(),
    Column("split", String(20), primary_key=True),
    Column("metric", String(100), primary_key=True),
    Column("epochs", JSON, nullable=False),
    Column("numbers", JSON, nullable=False, comment="as many as epochs, six significant digits, null where undefined"),
)

spectra = Table(
    "spectra",
    metadata,
    _of_a_run(),
    Column("split", String(20), primary_key=True),
    Column("selection", String(20), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("singular_values", JSON, nullable=False, comment="largest first, sum 1"),
)

class_scores = Table(
    "class_scores",
    metadata,
    _of_a_run(),
    Column("split", String(20), primary_key=True),
    Column("metric", String(100), primary_key=True),
    Column("selection", String(20), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("scores", JSON, nullable=False, comment="name of the class -> value"),
)

estimates = Table(
    "estimates",
    metadata,
    Column("study", String(200), primary_key=True),
    Column("profile", String(200), primary_key=True),
    Column("run_id", String(16), primary_key=True, comment="of a run that need not be recorded yet"),
    Column("seconds", Float(53), nullable=False, comment="of the whole run, by one worker"),
    Column("cost", JSON, nullable=False, comment="what it is made of, by the names that runs.cost has"),
    Column("source", String(20), nullable=False, comment="measured: steps of a rehearsal; database: finished runs"),
    Column("device", String(200), nullable=False),
    Column("planned", String(40), nullable=False, comment="when, UTC"),
    comment="What `harness plan` foresaw of runs that were missing; no part of the record of runs.",
)

OF_A_RESULT = (measurements, curves, spectra, class_scores)
"""What is replaced when a run has a new result."""

_TEST_METRICS = (
    *("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "map_at_r", "map_at_c", "map_at_1000", "r_precision"),
    *("nmi", "ami", "f1", "pi_intra", "pi_inter", "density", "uniformity", "alignment", "rho"),
)
_TRAIN_METRICS = ("pi_intra", "pi_inter", "density", "uniformity", "alignment", "rho")

_COLUMNS = ",\n".join(
    f"max(case when m.split = '{split}' and m.metric = '{metric}' then m.value end) as {prefix}{metric}"
    for split, prefix, metrics in (("test", "", _TEST_METRICS), ("train", "train_", _TRAIN_METRICS))
    for metric in metrics
)

VIEWS = {
    "runs_flat": f"""
        select r.run_id, r.dataset, r.backbone, r.objective, r.miner, r.sampler, r.regularizer, r.seed,
            r.state, r.cause, m.selection, max(m.epoch) as epoch,
            {_COLUMNS}
        from runs r left join measurements m on m.run_id = r.run_id
        group by r.run_id, r.dataset, r.backbone, r.objective, r.miner, r.sampler, r.regularizer, r.seed,
            r.state, r.cause, m.selection
    """,
    "leaderboard": """
        select s.study, s.profile, r.dataset, r.backbone, s.method, m.selection,
            count(*) as runs, avg(m.value) as recall_at_1, min(m.value) as lowest, max(m.value) as highest
        from study_runs s
        join runs r on r.run_id = s.run_id
        join measurements m on m.run_id = r.run_id and m.split = 'test' and m.metric = 'recall_at_1'
        where r.state = 'done'
        group by s.study, s.profile, r.dataset, r.backbone, s.method, m.selection
        order by s.study, s.profile, r.dataset, r.backbone, m.selection, recall_at_1 desc
    """,
}


def make_views(connection: Connection) -> None:
    """Makes the views as they are in this version, whatever was there."""
    for name, query in VIEWS.items():
        connection.execute(text(f"drop view if exists {name}"))
        connection.execute(text(f"create view {name} as {query}"))
