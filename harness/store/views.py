"""The views of the results database: what a person browses, and long lists of numbers as rows.

They hold nothing, so they are made again whenever tables are brought up to date; each is one SELECT.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from harness.store.packing import cut_sql, length_sql, number_sql

_TEST_METRICS = (
    *("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "map_at_r", "map_at_c", "map_at_1000", "r_precision"),
    *("nmi", "ami", "f1", "pi_intra", "pi_inter", "density", "uniformity", "alignment", "rho"),
)
_TRAIN_METRICS = ("pi_intra", "pi_inter", "density", "uniformity", "alignment", "rho")


def make_views(connection: Connection) -> None:
    """Makes the views as they are in this version, whatever was there."""
    dialect = connection.dialect.name
    for name in NAMES:
        connection.execute(text(f"drop view if exists {name}"))
    for name in NAMES:
        connection.exec_driver_sql(f"create view {name} as {query_of(name, dialect)}")


def query_of(name: str, dialect: str) -> str:
    """The SELECT behind a view, for sqlite or postgresql."""
    fixed, unpacking = {"leaderboard": _LEADERBOARD, "runs_flat": _RUNS_FLAT}, _UNPACKING.get(name)
    return unpacking(dialect) if unpacking else fixed[name]


NAMES = ("leaderboard", "runs_flat", "curves_long", "spectra_long", "class_scores_long")

_LEADERBOARD = """
    select s.study, s.profile, r.dataset, r.backbone, s.method, m.selection,
        count(*) as runs, avg(m.value) as recall_at_1, min(m.value) as lowest, max(m.value) as highest
    from study_runs s
    join runs r on r.run_id = s.run_id
    join measurements m on m.run_id = r.run_id and m.split = 'test' and m.metric = 'recall_at_1'
    where r.state = 'done'
    group by s.study, s.profile, r.dataset, r.backbone, s.method, m.selection
    order by s.study, s.profile, r.dataset, r.backbone, m.selection, recall_at_1 desc
"""


def _runs_flat() -> str:
    # A look-up a number, not a join of everything: the first page of 100,000 runs comes at once.
    columns = ",\n".join(
        f"(select m.value from measurements m where m.run_id = r.run_id and m.split = '{split}' "
        f"and m.metric = '{metric}' and m.selection = s.selection) as {prefix}{metric}"
        for split, prefix, metrics in (("test", "", _TEST_METRICS), ("train", "train_", _TRAIN_METRICS))
        for metric in metrics
    )
    return f"""
    select r.run_id, r.dataset, r.backbone, r.objective, r.miner, r.sampler, r.regularizer, r.seed,
        r.state, r.cause, s.selection,
        (select max(m.epoch) from measurements m where m.run_id = r.run_id and m.selection = s.selection) as epoch,
        {columns}
    from runs r
    left join (select 'last' as selection union all select 'best_validation' union all select 'best_test') s
        on exists (select 1 from measurements m where m.run_id = r.run_id and m.selection = s.selection)
    """


def _curves_long(dialect: str) -> str:
    cut = cut_sql("c.numbers", _INDEX[dialect])
    return f"""
    select run_id, split, metric, epoch, {number_sql("characters", "scale", dialect)} as value
    from (
        select c.run_id, c.split, c.metric, {_WHOLE[dialect]} as epoch, c.scale, {cut} as characters
        from curves c join epoch_lists l on l.epochs = c.epochs {_EACH[dialect].format(list="l.numbers")}
    ) as numbers
    """


def _spectra_long(dialect: str) -> str:
    count = length_sql("c.singular_values")
    # SQLite makes no series of numbers by itself; a JSON list of as many zeros, from zero bytes, has such keys.
    zeros = f"'[0' || replace(hex(zeroblob({count} - 1)), '00', ',0') || ']'"
    each, index = {
        "sqlite": (f"cross join json_each({zeros}) item", "item.key"),
        "postgresql": (f"cross join lateral generate_series(0, {count} - 1) as item (place)", "item.place"),
    }[dialect]
    return f"""
    select run_id, split, selection, epoch, place, {number_sql("characters", "scale", dialect)} as value
    from (
        select c.run_id, c.split, c.selection, c.epoch, {index} + 1 as place, c.scale,
            {cut_sql("c.singular_values", index)} as characters
        from spectra c {each}
        where c.singular_values <> ''
    ) as numbers
    """


def _class_scores_long(dialect: str) -> str:
    cut = cut_sql("c.scores", _INDEX[dialect])
    return f"""
    select run_id, split, metric, selection, epoch, class, {number_sql("characters", "scale", dialect)} as value
    from (
        select c.run_id, c.split, c.metric, c.selection, c.epoch, item.value as class, c.scale, {cut} as characters
        from class_scores c join class_lists l on l.class_list = c.class_list {_EACH[dialect].format(list="l.names")}
    ) as numbers
    """


_RUNS_FLAT = _runs_flat()
_UNPACKING = {
    "curves_long": _curves_long,
    "spectra_long": _spectra_long,
    "class_scores_long": _class_scores_long,
}
_EACH = {
    "sqlite": "cross join json_each({list}) item",
    "postgresql": "cross join lateral json_array_elements_text({list}) with ordinality as item (value, place)",
}
_INDEX = {"sqlite": "item.key", "postgresql": "(item.place::integer - 1)"}
_WHOLE = {"sqlite": "item.value", "postgresql": "item.value::integer"}
