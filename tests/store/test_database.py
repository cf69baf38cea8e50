"""Run folders become rows: collected once, whatever happens meanwhile."""

import json
import logging
import multiprocessing
import os
import shutil
import sqlite3
import time

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from store_samples import make_failed, make_result, make_spec, run_it

from harness.errors import StoreError
from harness.specs import Measurement
from harness.store.database import collect, rebuild, record_study
from harness.store.spool import RunFolder

SPAWN = multiprocessing.get_context("spawn")
TABLES = (
    *("runs", "attempts", "measurements", "epoch_lists", "curves", "spectra", "class_lists", "class_scores"),
    *("studies", "study_runs"),
)


def rows(url, query, **values):
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query), values)]


def parsed(value):
    """JSON as a server's driver gives it."""
    return json.loads(value) if isinstance(value, str) else value


def everything(url):
    """All rows of all tables, in one order."""
    return {table: sorted(map(repr, rows(url, f"select * from {table}"))) for table in TABLES}


def three_runs(results):
    specs = [make_spec(seed=seed) for seed in range(3)]
    for spec in specs[:2]:
        run_it(results, spec, make_result(spec, recall=0.25 + 0.25 * spec.seed))
    run_it(results, specs[2], make_failed(specs[2]))
    return specs


def test_collecting_brings_every_number_over_exactly(url, tmp_path):
    spec = make_spec(beta=1.2)
    run_it(tmp_path, spec, make_result(spec, recall=0.1 + 0.2))
    assert collect(url, tmp_path) == 1
    found = rows(url, "select split, metric, selection, epoch, value from measurements order by split, selection desc")
    assert found == [
        ("test", "recall_at_1", "last", 2, 0.1 + 0.2),
        ("test", "recall_at_1", "best_test", 1, 0.1 + 0.2 + 0.1),
        ("train", "density", "last", 2, 0.25),
    ]
    curve = "select epoch, value from curves_long where metric = 'loss' order by epoch"
    assert rows(url, curve) == [(1, 1.0), (2, None)]
    spectrum = "select split, selection, epoch, place, value from spectra_long order by place"
    assert rows(url, spectrum) == [("test", "last", 2, place, value) for place, value in ((1, 0.7), (2, 0.2), (3, 0.1))]
    scores = "select split, metric, selection, epoch, class, value from class_scores_long order by value"
    assert rows(url, scores) == [("test", "recall_at_1", "last", 2, *each) for each in (("я", 0.25), ("ж", 0.75))]
    (run,) = rows(url, "select objective, miner, regularizer, seed, state, spec, cost from runs")
    assert run[:5] == ("triplet", "semihard", "none", 0, "done")
    assert parsed(run[5]) == spec.to_dict()
    assert parsed(run[6]) == {"train_seconds": 1.5, "step_ms": 12.0}
    ((cause, device, provenance),) = rows(url, "select cause, device, provenance from attempts")
    assert (cause, device, parsed(provenance)) == ("done", "cpu", {"version": "0.1.0"})


def test_a_curve_keeps_six_significant_digits(url, tmp_path):
    spec = make_spec()
    run_it(tmp_path, spec, make_result(spec, recall=1 / 3))
    collect(url, tmp_path)
    curve = "select value from curves_long where metric = 'recall_at_1' order by epoch"
    assert rows(url, curve) == [(0.433333,), (0.333333,)]


def test_collecting_twice_changes_nothing_and_writes_nothing(url, tmp_path):
    three_runs(tmp_path)
    assert collect(url, tmp_path) == 3
    before, file = everything(url), tmp_path / "harness.db"
    written = file.exists() and file.stat().st_mtime_ns
    assert collect(url, tmp_path) == 0
    assert everything(url) == before
    assert (file.exists() and file.stat().st_mtime_ns) == written


def test_only_the_named_runs_are_collected(url, tmp_path):
    specs = three_runs(tmp_path)
    assert collect(url, tmp_path, [specs[1].run_id, "0" * 16]) == 1
    assert rows(url, "select run_id from runs") == [(specs[1].run_id,)]
    assert collect(url, tmp_path) == 2


def test_without_run_folders_no_database_is_made(tmp_path):
    assert collect(f"sqlite:///{tmp_path}/harness.db", tmp_path / "nothing") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_followed_from_pending_to_done_over_failure_and_retry(url, tmp_path):
    spec = make_spec()
    state = "select state, cause, result_digest is not null from runs"
    record_study(url, "s", None, [spec])
    assert rows(url, state) == [("pending", None, 0)]
    folder = RunFolder(tmp_path, spec.run_id)
    folder.write_spec(spec)
    lease = folder.take()
    assert collect(url, tmp_path) == 0
    assert rows(url, state) == [("running", None, 0)]
    folder.publish(make_failed(spec), lease)
    assert collect(url, tmp_path) == 1
    assert rows(url, state) == [("failed", "diverged", 1)]
    folder.retry()
    assert collect(url, tmp_path) == 0
    assert rows(url, state) == [("pending", None, 0)]
    folder.publish(make_result(spec), folder.take())
    assert collect(url, tmp_path) == 1
    assert rows(url, state) == [("done", None, 1)]
    assert rows(url, "select cause from attempts order by began") == [("diverged",), ("done",)]


def test_an_attempt_that_was_lost_is_collected_before_the_run_ends(url, tmp_path):
    spec = make_spec()
    folder = RunFolder(tmp_path, spec.run_id)
    folder.write_spec(spec)
    collect(url, tmp_path)
    folder.abandon(folder.take(), "interrupted")
    collect(url, tmp_path)
    assert rows(url, "select cause from attempts") == [("interrupted",)]


def test_what_was_collected_outlives_its_run_folder(url, tmp_path):
    specs = three_runs(tmp_path)
    collect(url, tmp_path)
    before = everything(url)["measurements"]
    shutil.rmtree(RunFolder(tmp_path, specs[0].run_id).path)
    RunFolder(tmp_path, specs[1].run_id).result_path.unlink()
    collect(url, tmp_path)
    collect(url, tmp_path)
    assert everything(url)["measurements"] == before
    assert rows(url, "select count(*) from runs where state = 'done' and result_digest is not null") == [(2,)]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace("0.25", "NaN"), "damaged"),
        (lambda text: text.replace("0.25", "1e999"), "not a finite number"),
        (lambda text: text.replace("0.25", '"0.25"'), "not a finite number"),
        (lambda text: text.replace('"recall_at_1"', '["recall_at_1"]'), "no text"),
        (lambda text: text.replace('"best_test"', '"last"'), "twice"),
        (lambda text: text.replace('"epochs": [1, 2]', '"epochs": [1]'), "one epoch for each value"),
        (lambda text: text.replace('"format": 1', '"format": 9'), "format 9"),
        (lambda text: "[" * 100_000, "damaged"),
        (lambda text: "\x00\xff", "damaged"),
    ],
)
def test_a_damaged_result_is_named_and_left_out_while_the_others_are_collected(url, tmp_path, caplog, damage, reason):
    specs = three_runs(tmp_path)
    path = RunFolder(tmp_path, specs[0].run_id).result_path
    text = path.read_text()
    path.write_text(damage(text))
    with caplog.at_level(logging.WARNING):
        assert collect(url, tmp_path) == 2
    (record,) = caplog.records
    assert specs[0].run_id in record.getMessage()
    assert reason in record.getMessage()
    assert rows(url, "select count(*) from runs where run_id = :id", id=specs[0].run_id) == [(0,)]
    # Once it is whole again, it is taken.
    path.write_text(text)
    assert collect(url, tmp_path) == 1


def test_a_folder_whose_spec_was_edited_is_left_out(url, tmp_path, caplog):
    (spec, *_) = three_runs(tmp_path)
    path = RunFolder(tmp_path, spec.run_id).path / "spec.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 7'))
    assert collect(url, tmp_path) == 2
    assert "was it edited" in caplog.text


def test_a_hostile_name_is_only_a_text(url, tmp_path):
    spec = make_spec()
    name = "'); drop table runs; --"
    run_it(tmp_path, spec, make_result(spec, measurements=[Measurement("test", name, "last", 1, 0.5)]))
    collect(url, tmp_path)
    assert rows(url, "select metric from measurements") == [(name,)]


def collect_often(url, results, times, outcome):
    try:
        outcome.put(sum(collect(url, results) for _ in range(times)))
    except Exception as error:
        outcome.put(error)


def test_collectors_at_the_same_time_leave_every_row_exactly_once(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    outcome = SPAWN.Queue()
    collectors = [SPAWN.Process(target=collect_often, args=(url, tmp_path, 6, outcome)) for _ in range(4)]
    for collector in collectors:
        collector.start()
    specs = [make_spec(seed=seed) for seed in range(60)]
    for spec in specs:
        run_it(tmp_path, spec, make_result(spec, recall=spec.seed / 100))
    found = [outcome.get(timeout=60) for _ in collectors]
    for collector in collectors:
        collector.join()
    assert all(isinstance(number, int) for number in found), found
    collect(url, tmp_path)
    assert rows(url, "select count(*) from runs where state = 'done'") == [(60,)]
    assert rows(url, "select count(*) from measurements") == [(180,)]
    assert rows(url, "select count(*) from attempts") == [(60,)]
    assert rows(url, "pragma integrity_check") == [("ok",)]
    assert rows(url, "pragma foreign_key_check") == []


def collect_until_killed(url, results, started):
    import harness.store.database as database

    real = database._apply

    def slowly(connection, batch):
        count = real(connection, batch)
        started.set()
        time.sleep(60)
        return count

    database._apply = slowly
    database.collect(url, results)


def test_a_collector_that_is_killed_before_it_commits_leaves_nothing_half(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    three_runs(tmp_path)
    record_study(url, "s", None, [make_spec(seed=9)])
    started = SPAWN.Event()
    collector = SPAWN.Process(target=collect_until_killed, args=(url, tmp_path, started))
    collector.start()
    assert started.wait(30)
    collector.kill()
    collector.join()
    assert rows(url, "select count(*) from runs") == [(1,)]
    assert rows(url, "select count(*) from measurements") == [(0,)]
    assert collect(url, tmp_path) == 3
    assert rows(url, "pragma integrity_check") == [("ok",)]


def test_a_full_disk_is_told_and_what_was_collected_before_is_kept(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = three_runs(tmp_path)
    collect(url, tmp_path, [specs[0].run_id])
    before = everything(url)
    from harness.store import engine

    real = sqlite3.connect

    def small(*arguments, **options):
        # SQLite's own limit on pages answers like a disk without space.
        connection = real(*arguments, **options)
        connection.execute(f"pragma max_page_count = {connection.execute('pragma page_count').fetchone()[0]}")
        return connection

    big = make_spec(seed=50)
    run_it(tmp_path, big, make_result(big, class_scores=[], provenance={"padding": "x" * 500_000}))
    monkeypatch.setattr(engine.sqlite3, "connect", small)
    with pytest.raises(StoreError, match="cannot grow, the disk is full"):
        collect(url, tmp_path)
    monkeypatch.undo()
    assert everything(url) == before
    assert collect(url, tmp_path) == 3


def test_a_study_is_recorded_and_recorded_again(url, tmp_path):
    specs = [make_spec(seed=seed, margin=margin) for margin in (0.1, 0.2) for seed in (0, 1)]
    about = {"question": "Which?", "analyses": ["saturation"], "selection": "last"}
    record_study(url, "fair", None, specs, about)
    record_study(url, "fair", "paper", specs[:1], about)
    members = "select run_id, position, method from study_runs where study = 'fair' and profile = '' order by position"
    assert rows(url, members) == [
        (spec.run_id, position, f"triplet (margin={spec.objective.options['margin']})")
        for position, spec in enumerate(specs)
    ]
    ((question, told),) = rows(url, "select question, about from studies where profile = ''")
    assert (question, parsed(told)) == ("Which?", about)
    record_study(url, "fair", None, specs[1:], {"question": "Why?"})
    assert [row[0] for row in rows(url, members)] == [spec.run_id for spec in specs[1:]]
    assert rows(url, "select question from studies where profile = ''") == [("Why?",)]
    assert rows(url, "select count(*) from study_runs where profile = 'paper'") == [(1,)]
    assert rows(url, "select count(*) from runs") == [(4,)]


def test_recording_a_study_leaves_results_alone(url, tmp_path):
    specs = three_runs(tmp_path)
    collect(url, tmp_path)
    before = everything(url)
    record_study(url, "s", None, [*specs, specs[0], make_spec(seed=3)])
    after = everything(url)
    assert [after[table] for table in TABLES[1:6]] == [before[table] for table in TABLES[1:6]]
    assert len(after["runs"]) == 4
    assert len(after["study_runs"]) == 4


def test_a_rebuilt_database_equals_the_one_that_grew_row_by_row(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = three_runs(tmp_path)
    record_study(url, "s", None, [*specs, make_spec(seed=3)], {"question": "Which?"})
    collect(url, tmp_path, [specs[1].run_id])
    collect(url, tmp_path)
    before = everything(url)
    assert rebuild(url, tmp_path) == 3
    assert everything(url) == before
    assert len(list(tmp_path.glob("harness.db.before-rebuild-*"))) == 1
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    collect(fresh, tmp_path)
    same = ("attempts", "measurements", "curves", "spectra", "class_scores")
    assert {table: everything(fresh)[table] for table in same} == {table: before[table] for table in same}


def test_a_rebuild_forgets_what_has_no_folder_but_not_without_any_folder(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = three_runs(tmp_path)
    collect(url, tmp_path)
    before = everything(url)
    with pytest.raises(StoreError, match="no run folders"):
        rebuild(url, tmp_path / "elsewhere")
    assert everything(url) == before
    shutil.rmtree(RunFolder(tmp_path, specs[0].run_id).path)
    assert rebuild(url, tmp_path) == 2
    assert rows(url, "select count(*) from runs") == [(2,)]
    # The copy still has it.
    (copy,) = tmp_path.glob("harness.db.before-rebuild-*")
    assert rows(f"sqlite:///{copy}", "select count(*) from runs") == [(3,)]


def test_the_views_show_one_run_a_line_and_one_method_a_line(url, tmp_path):
    specs = [make_spec(seed=seed, objective=name) for name in ("triplet", "margin") for seed in (0, 1)]
    for number, spec in enumerate(specs):
        run_it(tmp_path, spec, make_result(spec, recall=number / 10))
    record_study(url, "s", None, specs)
    collect(url, tmp_path)
    best = rows(url, "select method, runs, recall_at_1, lowest, highest from leaderboard where selection = 'last'")
    assert best == [("margin", 2, pytest.approx(0.25), 0.2, 0.3), ("triplet", 2, pytest.approx(0.05), 0.0, 0.1)]
    query = "select recall_at_1, train_density, epoch from runs_flat where run_id = :id and selection = 'last'"
    flat = rows(url, query, id=specs[3].run_id)
    assert flat == [(0.3, 0.25, 2)]


def test_the_store_works_without_torch():
    code = "import sys, harness.store.database, harness.store.frames, harness.provenance; print('torch' in sys.modules)"
    import subprocess

    done = subprocess.run([os.sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_collector_that_looked_earlier_does_not_undo_one_that_looked_later(url, tmp_path, monkeypatch):
    spec = make_spec()
    folder = RunFolder(tmp_path, spec.run_id)
    record_study(url, "s", None, [spec])
    folder.write_spec(spec)
    lease = folder.take()
    import harness.store.database as database

    real = database._batches

    def overtaken(found):
        for batch in real(found):
            assert [each.run["state"] for each in batch] == ["running"]
            monkeypatch.undo()
            folder.publish(make_result(spec), lease)
            assert collect(url, tmp_path) == 1
            yield batch

    monkeypatch.setattr(database, "_batches", overtaken)
    collect(url, tmp_path)
    assert rows(url, "select state from runs") == [("done",)]
    assert rows(url, "select count(*) from measurements") == [(3,)]
