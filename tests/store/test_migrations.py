"""Databases of every earlier version, as they were written then, are brought to this one.

`data/version_<n>.sql` was written by the harness of that version (`keep_version.py`).
"""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from keep_version import fill
from postgres_server import server_database
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from harness.store import schema, views
from harness.store.database import collect, rebuild, record_study
from harness.store.engine import open_engine
from harness.store.frames import Database

DATA = Path(__file__).parent / "data"
EARLIER = range(1, schema.VERSION)


def load(url, version):
    """Makes the database of an earlier version from what was kept of it."""
    script = (DATA / f"version_{version}.sql").read_text()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script)
        return
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for statement in in_order(as_a_server_has_it(script)):
            connection.exec_driver_sql(statement)


def as_a_server_has_it(script):
    """What SQLite says otherwise, in the words of PostgreSQL: the tables that the harness of then made there."""
    script = re.sub(r"BEGIN TRANSACTION;|COMMIT;|\s*WITHOUT ROWID", "", script)
    return script.replace("%", "%%")


def in_order(script):
    """Tables come before those that refer to them, and rows likewise; SQLite looks only at the end."""
    statements = [each.strip() for each in re.split(r";\n", script) if each.strip()]
    first = ("runs", "studies", "study_runs")
    rank = lambda each: next((n for n, name in enumerate(first) if re.search(rf'(TABLE|INTO) "?{name}"? ', each)), 9)  # noqa: E731
    kinds = ("CREATE TABLE", "INSERT", "CREATE INDEX", "CREATE VIEW")
    return sorted(statements, key=lambda each: (next(n for n, k in enumerate(kinds) if each.startswith(k)), rank(each)))


def test_a_database_of_every_earlier_version_is_kept():
    assert {path.name for path in DATA.glob("*.sql")} >= {f"version_{version}.sql" for version in EARLIER}


@pytest.mark.parametrize("version", EARLIER)
def test_an_earlier_version_is_brought_to_this_one_with_all_its_numbers(url, version):
    load(url, version)
    database = Database(url)
    assert list(database.studies()["study"]) == ["fair", "other"]
    assert sorted(database.runs("fair")["state"]) == ["done", "done", "failed", "pending"]
    curves = database.curves("fair")
    one = curves[curves["run_id"] == curves["run_id"][0]]
    numbers = {metric: group[["epoch", "value"]].values.tolist() for metric, group in one.groupby("metric")}
    assert numbers["recall_at_1"] == [[1, 0.0123457], [2, 0.25], [3, 0.333333], [4, 1.0]]
    assert numbers["nmi"] == [[2, 0.5], [4, 0.25]]
    assert numbers["loss"][0::2] == [[1, 12.5], [3, -0.000123456]]
    assert one["value"].isna().tolist().count(True) == 1
    scores = database.class_scores("fair")
    assert scores[["class", "value"]].values.tolist() == [["я", 0.25], ["ж", 0.75]] * 2
    assert len(database.measurements("fair")) == 6
    attempts = database.attempts("fair")
    assert (attempts["seconds"] >= 0).all()
    assert attempts["first_step"].isna().all()
    assert len(database.estimates("fair")) == (version > 1)
    with open_engine(url, write=False).connect() as connection:
        assert connection.execute(text("select version from schema_version")).all() == [(schema.VERSION,)]
        assert connection.execute(text("select count(*) from curves_long")).scalar() == 20


@pytest.mark.parametrize("version", EARLIER)
def test_the_tables_that_were_brought_up_are_those_that_are_made_new(url, version, tmp_path_factory, postgresql):
    load(url, version)
    open_engine(url, write=True)
    if url.startswith("sqlite"):
        new = f"sqlite:///{tmp_path_factory.mktemp('new')}/harness.db"
        open_engine(new, write=True)
        assert described(url) == described(new)
        return
    with server_database(postgresql, "new") as new:
        open_engine(new, write=True)
        assert described(url) == described(new)


def described(url):
    """Tables, columns, keys, references, indexes and views, as the database tells them."""
    found = inspect(create_engine(url, poolclass=NullPool))
    tables = {}
    for name in found.get_table_names():
        tables[name] = {
            "columns": [
                (c["name"], str(c["type"]).upper(), c["nullable"], c.get("comment")) for c in found.get_columns(name)
            ],
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "references": sorted(
                (tuple(key["constrained_columns"]), key["referred_table"], key["options"].get("ondelete"))
                for key in found.get_foreign_keys(name)
            ),
            "indexes": sorted((index["name"], tuple(index["column_names"])) for index in found.get_indexes(name)),
        }
    assert sorted(found.get_view_names()) == sorted(views.NAMES)
    return tables


@pytest.mark.parametrize("version", EARLIER)
def test_a_copy_of_the_earlier_version_stays_beside_the_new_one(tmp_path, version):
    url = f"sqlite:///{tmp_path}/harness.db"
    load(url, version)
    open_engine(url, write=False)
    (copy,) = tmp_path.glob("harness.db.before-version-*")
    assert copy.name == f"harness.db.before-version-{version}-1"
    with closing(sqlite3.connect(copy)) as old:
        assert old.execute("select version from schema_version").fetchall() == [(version,)]
        assert old.execute("select count(*) from curves").fetchall() == [(6,)]


def test_a_database_that_was_brought_up_goes_on_being_used(url, tmp_path):
    load(url, 1)
    fill(tmp_path, url)
    assert collect(url, tmp_path) == 0
    assert len(Database(url).curves("fair")) == 20
    record_study(url, "fair", None, [])
    assert rebuild(url, tmp_path) == 3
