"""A database that was lost comes back from run folders and the records of studies, row by row."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from store_samples import make_failed, make_result, make_spec, run_it

from harness.store.database import collect, record_study
from harness.store.estimates import Estimate, record_estimates
from harness.store.looks import begin_look, end_look
from harness.store.rebuild import Rebuilt, rebuild
from harness.store.schema import metadata
from harness.store.spool import RunFolder
from harness.store.study_records import combined, keep_study, read_record, record_path
from harness.store.trials import record_trials

TRIAL = {"state": "complete", "cause": None, "epoch": 2, "metric": "recall_at_1", "parameters": {}, "space": {}}


def everything(url):
    """All rows of all tables that the schema knows."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(text(f'select * from "{name}"')))) for name in metadata.tables
        }


def a_lab(results, url):
    """Studies as launches leave them: done, failed and open runs, one without a folder, estimates, trials, looks."""
    specs = [make_spec(seed=seed, margin=margin) for margin in (0.1, 0.2) for seed in (0, 1)]
    for spec in specs[:2]:
        run_it(results, spec, make_result(spec, recall=0.25 + 0.25 * spec.seed))
    run_it(results, specs[2], make_failed(specs[2]))
    record_study(url, "fair", None, specs, {"question": "Which margin?", "selection": "last"})
    record_study(url, "fair", "paper", specs[1:3][::-1], {"question": "Which?"})
    collect(url, results)
    record_estimates(url, "fair", None, [Estimate(specs[3].run_id, 12.5, {"train_seconds": 12.5}, "measured", "cpu")])
    runs = [spec.run_id for spec in specs[:2]]
    record_trials(url, "fair", None, [{**TRIAL, "method": "triplet", "trial": 0, "score": 0.5, "runs": runs}])
    look = begin_look(url, "fair", None, choices="a" * 16, runs=2, classes={"glyphs": "b"}, by={"host": "here"})
    end_look(url, "fair", None, look)
    begin_look(url, "fair", None, choices="c" * 16, runs=2, classes={"glyphs": "b"}, by={"host": "there"})
    for profile in (None, "paper"):
        keep_study(url, results, "fair", profile, "name: fair\n")
    return specs


def test_a_lost_database_comes_back_row_by_row(url, tmp_path):
    results = tmp_path / "results"
    specs = a_lab(results, url)
    before = everything(url)
    assert len(before["looks"]) == 2
    assert len(before["study_runs"]) == 6
    assert not RunFolder(results, specs[3].run_id).path.exists()
    again = f"sqlite:///{tmp_path}/again.db"
    assert rebuild(again, results) == Rebuilt(3)
    if url.startswith("sqlite"):
        assert everything(again) == before
    assert rebuild(url, results) == Rebuilt(3)
    assert everything(url) == before


def test_the_record_of_a_study_keeps_its_file_and_specs_that_no_folder_has(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = a_lab(tmp_path, url)
    record = read_record(record_path(tmp_path, "fair", None))
    assert record["file"] == "name: fair\n"
    assert list(record["specs"]) == [specs[3].run_id]
    keep_study(url, tmp_path, "fair", None)
    assert read_record(record_path(tmp_path, "fair", None)) == record


def test_a_rebuild_keeps_what_the_database_says_of_a_study_if_that_is_the_later_word(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = a_lab(tmp_path, url)
    record_study(url, "fair", None, specs[:2], {"question": "Later?"})
    rebuild(url, tmp_path)
    rows = everything(url)
    assert len(rows["study_runs"]) == 4
    assert any("Later?" in row for row in rows["studies"])
    assert len(rows["looks"]) == 2


def test_a_rebuild_says_what_has_no_folder_any_more(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = a_lab(tmp_path, url)
    shutil.rmtree(RunFolder(tmp_path, specs[0].run_id).path)
    assert rebuild(url, tmp_path) == Rebuilt(2, lost=1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace('"format": 1', '"format": 9'), "format 9"),
        (lambda text: text.replace('"runs"', '"ruins"'), "not the record of a study"),
        (lambda text: "[]", "not the record of a study"),
        (lambda text: text.replace('"study": "fair"', '"study": "../fair"'), "cannot be the name of a folder"),
        (lambda text: text.replace('"about": {', '"about": 7, "x": {'), "not the record of a study"),
    ],
)
def test_a_damaged_record_is_named_and_the_runs_are_there_nevertheless(tmp_path, caplog, damage, reason):
    url = f"sqlite:///{tmp_path}/harness.db"
    a_lab(tmp_path, url)
    path = record_path(tmp_path, "fair", None)
    path.write_text(damage(path.read_text()))
    again = f"sqlite:///{tmp_path}/again.db"
    with caplog.at_level(logging.WARNING):
        assert rebuild(again, tmp_path) == Rebuilt(3)
    assert "study.json" in caplog.text
    assert reason in caplog.text
    assert len(everything(again)["studies"]) == 1


def test_a_spec_that_is_not_that_of_its_id_is_not_taken_from_a_record(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = a_lab(tmp_path, url)
    path = record_path(tmp_path, "fair", None)
    record = json.loads(Path(path).read_text())
    record["specs"][specs[3].run_id]["seed"] = 77
    path.write_text(json.dumps(record))
    again = f"sqlite:///{tmp_path}/again.db"
    rebuild(again, tmp_path)
    assert not any(specs[3].run_id in row for row in everything(again)["runs"])


def record(**changes):
    empty = {"study": "s", "profile": "", "question": None, "about": {}, "recorded": None, "runs": []}
    return {**empty, "estimates": [], "trials": [], "looks": [], **changes}


def test_looks_of_two_places_are_all_counted_and_the_same_look_once():
    look = {
        "look": 1,
        "choices": "a",
        "runs": 1,
        "classes": {},
        "by": {"host": "x"},
        "began": "2026-01-02",
        "ended": None,
    }
    other = {**look, "by": {"host": "y"}, "began": "2026-01-01"}
    ended = {**look, "ended": "2026-01-03"}
    for records in ([record(looks=[look]), record(looks=[other]), record(looks=[ended])],):
        for order in (records, records[::-1]):
            found = combined(order, union=True)["looks"]
            assert [(row["look"], row["by"]["host"], row["ended"]) for row in found] == [
                (1, "y", None),
                (2, "x", "2026-01-03"),
            ]


def test_of_two_searches_the_longer_one_stands():
    short = [{"method": "m", "trial": 0, "score": 0.9}]
    long = [{"method": "m", "trial": number, "score": 0.1} for number in range(2)]
    other = [{"method": "n", "trial": 0, "score": 0.5}]
    for order in ([short + other, long], [long, short + other]):
        found = combined([record(trials=rows) for rows in order], union=True)["trials"]
        assert found == long + other
