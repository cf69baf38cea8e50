"""The database opens well in Datasette and in the shell of SQLite: tables, facets, views, comments."""

import asyncio
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool
from store_samples import make_failed, make_result, make_spec, run_it

from harness.store import schema, views
from harness.store.database import collect, record_study
from harness.store.engine import open_engine

TABLES = [table.name for table in schema.metadata.sorted_tables]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two methods with two seeds, and a run that failed."""
    folder = tmp_path_factory.mktemp("browsing")
    specs = [make_spec(seed=seed, objective=name) for name in ("triplet", "margin") for seed in (0, 1)]
    for number, spec in enumerate(specs):
        run_it(folder, spec, make_result(spec, recall=number / 10))
    failed = make_spec(seed=2)
    run_it(folder, failed, make_failed(failed))
    record_study(folder / "harness.db", "fair", None, [*specs, failed])
    collect(folder / "harness.db", folder)
    return folder / "harness.db"


def asked(file, *paths):
    """What the real Datasette answers."""
    app = pytest.importorskip("datasette.app", reason="Datasette is not installed: pip install 'harness[test]'")

    async def ask():
        site = app.Datasette([str(file)])
        await site.invoke_startup()
        return [await site.client.get(path) for path in paths]

    return asyncio.run(ask())


def test_every_table_and_view_is_a_page_of_datasette(file):
    names = [*TABLES, *views.NAMES]
    home, *pages = asked(file, "/harness", *(f"/harness/{name}" for name in names))
    assert home.status_code == 200
    for name, page in zip(names, pages, strict=True):
        assert f'href="/harness/{name}"' in home.text
        assert page.status_code == 200, name


def test_datasette_counts_runs_by_any_axis(file):
    by_state, by_objective = asked(
        file,
        "/harness/runs.json?_facet=state&_facet=objective",
        "/harness/curves_long.json?_facet=metric&split=train",
    )
    counted = {
        name: {each["value"]: each["count"] for each in facet["results"]}
        for name, facet in by_state.json()["facet_results"].items()
    }
    assert counted == {"state": {"done": 4, "failed": 1}, "objective": {"triplet": 3, "margin": 2}}
    (metric,) = by_objective.json()["facet_results"]["metric"]["results"]
    assert (metric["value"], metric["count"]) == ("loss", 8)


def test_datasette_shows_views_as_tables_of_plain_numbers(file):
    leaderboard, flat, curves, spectra, scores = (
        answer.json()
        for answer in asked(
            file,
            *("/harness/leaderboard.json?_shape=array&selection=last", "/harness/runs_flat.json?_shape=array"),
            *("/harness/curves_long.json?_shape=array&metric=recall_at_1", "/harness/spectra_long.json?_shape=array"),
            "/harness/class_scores_long.json?_shape=array&class=я",
        )
    )
    assert [(row["method"], row["runs"]) for row in leaderboard] == [("margin", 2), ("triplet", 2)]
    assert [(row["state"], row["selection"]) for row in flat].count(("failed", None)) == 1
    assert len(flat) == 9
    assert {row["epoch"] for row in curves} == {1, 2}
    assert all(isinstance(row["value"], float) for row in [*curves, *spectra, *scores])
    assert [row["value"] for row in spectra[:3]] == [0.7, 0.2, 0.1]


def test_datasette_leads_from_a_measurement_to_its_run(file):
    (page,) = asked(file, "/harness/measurements")
    assert 'href="/harness/runs/' in page.text


def test_the_shell_of_sqlite_reads_the_views(file):
    if shutil.which("sqlite3") is None:
        pytest.skip("the shell of SQLite is not installed")
    query = "select metric, epoch, value from curves_long where metric = 'loss' order by run_id, epoch limit 2"
    said = subprocess.run(["sqlite3", "-csv", file, query], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["loss,1,1.0", "loss,2,"]


def test_the_text_of_each_table_says_what_its_columns_mean(file):
    with closing(sqlite3.connect(file)) as connection:
        found = dict(connection.execute("select name, sql from sqlite_master where type = 'table'"))
    for table in schema.metadata.sorted_tables:
        for comment in (table.comment, *(column.comment for column in table.columns)):
            assert comment is None or f"/* {comment} */" in found[table.name]


def test_on_a_server_the_comments_are_those_of_its_catalog(server_url):
    open_engine(server_url, write=True)
    found = inspect(create_engine(server_url, poolclass=NullPool))
    for table in schema.metadata.sorted_tables:
        assert found.get_table_comment(table.name)["text"] == table.comment
        told = {column["name"]: column["comment"] for column in found.get_columns(table.name)}
        assert told == {column.name: column.comment for column in table.columns}


def test_every_table_and_all_but_plain_values_are_explained():
    for table in schema.metadata.sorted_tables:
        assert table.comment, table.name
        assert [column.name for column in table.columns if not column.comment and column.name != "value"] == []


def test_a_hundred_thousand_runs_are_not_read_for_the_first_page(file):
    """A view that groups everything before its first row times out in Datasette."""
    with create_engine(f"sqlite:///{file}", poolclass=NullPool).connect() as connection:
        plan = " ".join(str(row) for row in connection.execute(text("explain query plan select * from runs_flat")))
    assert "TEMP B-TREE" not in plan
