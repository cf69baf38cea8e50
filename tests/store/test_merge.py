"""Two places become one: the laptop and the cluster, in whatever order and however often."""

import json
import sqlite3
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from store_samples import make_failed, make_result, make_spec, run_it

from harness.errors import StoreError
from harness.store.database import collect, record_study
from harness.store.frames import Database
from harness.store.looks import begin_look
from harness.store.merge import Merged, merge
from harness.store.schema import metadata
from harness.store.spool import RunFolder
from harness.store.study_records import keep_study

STAMP = "folder_stamp"  # says where a database collects from, not what was found


def everything(url):
    """All rows of all tables, but for where they were collected from."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return {
            name: sorted(
                repr({column: value for column, value in row.items() if column != STAMP})
                for row in connection.execute(text(f'select * from "{name}"')).mappings()
            )
            for name in metadata.tables
        }


def place(folder, ended, study_specs, failed=(), pending=(), recall=0.5):
    """A results folder and its database: one lab's part of the work."""
    url = f"sqlite:///{folder}/harness.db"
    for spec in ended:
        run_it(folder, spec, make_result(spec, recall=recall))
    for spec in failed:
        run_it(folder, spec, make_failed(spec))
    for spec in pending:
        RunFolder(folder, spec.run_id).write_spec(spec)
    record_study(url, "fair", None, study_specs, {"question": folder.name})
    collect(url, folder)
    keep_study(url, folder, "fair", None)
    return url


@pytest.fixture
def laptop_and_cluster(tmp_path):
    specs = [make_spec(seed=seed) for seed in range(6)]
    laptop = place(tmp_path / "laptop", specs[:2], specs[:4], failed=[specs[2]], pending=[specs[3]])
    cluster = place(tmp_path / "cluster", specs[2:5], specs[2:])
    begin_look(laptop, "fair", None, choices="a" * 16, runs=1, classes={}, by={"host": "laptop"})
    begin_look(cluster, "fair", None, choices="a" * 16, runs=1, classes={}, by={"host": "cluster"})
    return laptop, cluster


def merged(target, *others):
    merge(target, others)
    return everything(target)


def test_merging_is_commutative_idempotent_and_loses_nothing(tmp_path, laptop_and_cluster):
    laptop, cluster = laptop_and_cluster
    new = [f"sqlite:///{tmp_path}/new-{number}.db" for number in range(3)]
    once = merged(new[0], laptop, cluster)
    assert merged(new[1], cluster, laptop) == once
    assert merged(new[1], laptop, cluster, new[0]) == once
    assert merged(new[2], new[0]) == once
    found = merge(laptop, [cluster])
    assert replace(found, copy=None) == Merged(added=2, ended=2)
    assert found.copy is not None  # for a failure gave way to a result
    assert everything(laptop) == once
    assert merge(cluster, [laptop]) == Merged(added=2)
    assert everything(cluster) == once
    assert merge(laptop, [cluster]) == Merged()
    assert everything(laptop) == once
    frame = Database(laptop).runs("fair")
    assert list(frame["seed"]) == [2, 3, 4, 5, 0, 1]  # the cluster launched later; then what only the laptop has
    assert list(frame["state"]) == ["done"] * 3 + ["pending"] + ["done"] * 2
    assert len(Database(laptop).attempts("fair")) == 6  # seed 2 failed on the laptop and was done on the cluster
    assert list(Database(laptop).looks("fair")["look"]) == [1, 2]


def test_a_results_folder_is_merged_as_its_database_would_be(tmp_path, laptop_and_cluster):
    laptop, cluster = laptop_and_cluster
    keep_study(cluster, tmp_path / "cluster", "fair", None)
    by_folder = f"sqlite:///{tmp_path}/by-folder.db"
    assert merged(by_folder, tmp_path / "cluster", laptop) == merged(f"sqlite:///{tmp_path}/other.db", laptop, cluster)


def test_of_a_results_folder_both_its_database_and_its_runs_are_merged(tmp_path, laptop_and_cluster):
    laptop, cluster = laptop_and_cluster
    once = merged(f"sqlite:///{tmp_path}/once.db", laptop, cluster)
    folder = tmp_path / "both"
    folder.mkdir()
    merge(f"sqlite:///{folder}/harness.db", [laptop])
    (folder / "runs").symlink_to(tmp_path / "cluster" / "runs")
    assert merged(f"sqlite:///{tmp_path}/by-folder.db", folder, cluster) == once
    (folder / "runs").unlink()
    only_database = merged(f"sqlite:///{tmp_path}/only.db", folder)
    assert only_database == merged(f"sqlite:///{tmp_path}/laptop.db", laptop)


def test_collecting_goes_on_after_merging_and_leaves_what_came_from_elsewhere(tmp_path, laptop_and_cluster):
    laptop, cluster = laptop_and_cluster
    merge(laptop, [cluster])
    before = everything(laptop)
    assert collect(laptop, tmp_path / "laptop") == 0
    assert everything(laptop) == before


def test_different_numbers_of_one_run_are_a_conflict_that_is_told_and_the_first_result_stands(tmp_path):
    specs = [make_spec(seed=seed) for seed in range(3)]
    first = place(tmp_path / "first", specs[:2], specs)
    second = place(tmp_path / "second", specs[1:], specs, recall=0.25)
    before = everything(first)
    found = merge(first, [second])
    (conflict,) = found.conflicts
    assert (conflict.run_id, conflict.kept, conflict.other) == (
        specs[1].run_id,
        "here",
        str(tmp_path / "second" / "harness.db"),
    )
    assert conflict.method == "triplet + semihard on glyphs, seed 1"
    assert ("test recall_at_1 last", 0.5, 0.25) in conflict.differences
    assert set(before["measurements"]) <= set(everything(first)["measurements"])
    assert found.copy is None
    # The other way round the same result stands, and a copy has the one that gives way.
    before = everything(second)
    found = merge(second, [first])
    assert [(conflict.run_id, conflict.kept) for conflict in found.conflicts] == [
        (specs[1].run_id, str(tmp_path / "first" / "harness.db"))
    ]
    assert everything(second) == everything(first)
    assert merge(second, [first]).conflicts == []
    assert everything(f"sqlite:///{found.copy}") == before


def test_three_places_in_conflict_end_alike_in_every_order(tmp_path):
    spec = make_spec()
    urls = [place(tmp_path / str(number), [spec], [spec], recall=number / 10) for number in range(3)]
    found = []
    for number, order in enumerate(([0, 1, 2], [2, 1, 0], [1, 0, 2])):
        target = f"sqlite:///{tmp_path}/merged-{number}.db"
        assert len(merge(target, [urls[index] for index in order]).conflicts) == 2
        found.append(everything(target))
    assert found[0] == found[1] == found[2]


def test_the_same_numbers_from_two_places_are_no_conflict(tmp_path):
    spec = make_spec()
    urls = [place(tmp_path / name, [spec], [spec]) for name in "ab"]
    other = make_spec(seed=1)
    result = replace(make_result(other), cost={"train_seconds": 99.0})
    for name, made in (("a", make_result(other)), ("b", result)):
        run_it(tmp_path / name, other, made)
        collect(f"sqlite:///{tmp_path}/{name}/harness.db", tmp_path / name)
    found = merge(urls[0], [urls[1]])
    assert (found.twice, found.conflicts) == (1, [])


@pytest.mark.parametrize(
    ("study", "profile"), [("../outside", None), ("a\\b", None), ("..", None), ("fair", "../../up")]
)
def test_a_study_whose_report_would_be_written_elsewhere_is_refused(tmp_path, laptop_and_cluster, study, profile):
    laptop, cluster = laptop_and_cluster
    record_study(cluster, study, profile, [])
    before = everything(laptop)
    with pytest.raises(StoreError, match="cannot be the name of a folder"):
        merge(laptop, [cluster])
    assert everything(laptop) == before


def test_only_what_belongs_to_a_study_is_taken_when_one_is_named(tmp_path, laptop_and_cluster):
    _, cluster = laptop_and_cluster
    other = make_spec(seed=9)
    run_it(tmp_path / "cluster", other, make_result(other))
    record_study(cluster, "other", None, [other])
    collect(cluster, tmp_path / "cluster")
    new = f"sqlite:///{tmp_path}/new.db"
    merge(new, [cluster], study="other")
    assert list(Database(new).studies()["study"]) == ["other"]
    assert list(Database(new).runs()["run_id"]) == [other.run_id]


def test_a_database_with_the_spec_of_another_run_is_refused_and_nothing_of_it_is_taken(tmp_path, laptop_and_cluster):
    laptop, cluster = laptop_and_cluster
    with sqlite3.connect(tmp_path / "cluster" / "harness.db") as connection:
        connection.execute("update runs set spec = replace(spec, '\"seed\":5', '\"seed\":55')")
    connection.close()
    before = everything(laptop)
    with pytest.raises(StoreError, match=r"cluster/harness\.db is damaged: the spec of run"):
        merge(laptop, [cluster])
    assert everything(laptop) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"a letter to my grandmother" * 9, "is not a database"), (None, "there is no database at")],
)
def test_what_is_no_database_is_refused(tmp_path, laptop_and_cluster, content, reason):
    other = tmp_path / "letter"
    if content:
        other.write_bytes(content)
    with pytest.raises(StoreError, match=reason):
        merge(laptop_and_cluster[0], [other])


def test_a_folder_without_runs_is_refused(tmp_path, laptop_and_cluster):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="no run folders"):
        merge(laptop_and_cluster[0], [tmp_path / "empty"])


def test_merging_works_between_kinds_of_databases(url, tmp_path, laptop_and_cluster):
    laptop, cluster = laptop_and_cluster
    sqlite = f"sqlite:///{tmp_path}/new.db"
    merge(url, [laptop, cluster])
    merge(sqlite, [url])
    assert everything(sqlite) == merged(f"sqlite:///{tmp_path}/direct.db", laptop, cluster)
    assert merge(url, [sqlite]) == Merged()
    assert json.dumps(Database(url).studies()["about"].tolist()) == json.dumps([{"question": "cluster"}])
