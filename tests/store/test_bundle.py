"""A study as one file: packed whole, opened anywhere, and refused where it is not what was packed."""

import io
import json
import os
import shutil
import sqlite3
import sys
import tarfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from store_samples import make_failed, make_result, make_spec, run_it

from harness.cli import main
from harness.errors import DataError, StoreError, StudyError
from harness.store.bundle import write_bundle
from harness.store.database import collect, record_study
from harness.store.frames import Database
from harness.store.merge import merge
from harness.store.rebuild import rebuild
from harness.store.sources import unpacked
from harness.store.spool import RunFolder
from harness.store.study_records import keep_study


def numbers(url):
    with create_engine(url, poolclass=NullPool).connect() as connection:
        tables = ("measurements", "curves", "spectra", "class_scores", "attempts", "studies", "study_runs")
        return {name: sorted(map(repr, connection.execute(text(f"select * from {name}")))) for name in tables}


@pytest.fixture
def lab(tmp_path):
    """A results folder with two studies; gives it and the URL of its database."""
    results = tmp_path / "results"
    url = f"sqlite:///{results}/harness.db"
    specs = [make_spec(seed=seed, margin=margin) for margin in (0.1, 0.2) for seed in (0, 1)]
    libraries = {"torch": "2.6.0+cpu", "numpy": "2.1.0"}
    for spec in specs[:3]:
        run_it(results, spec, make_result(spec, 0.2 + 0.1 * spec.seed, provenance={"libraries": libraries}))
    run_it(results, specs[3], make_failed(specs[3]))
    evidence = RunFolder(results, specs[0].run_id).path / "evidence.npz"
    evidence.write_bytes(b"evidence")
    (evidence.parent / "checkpoint.pt").write_bytes(b"large")
    other = make_spec(seed=9)
    run_it(results, other, make_result(other))
    record_study(url, "fair", None, specs, {"question": "Which margin?", "analyses": ["leaderboard"]})
    record_study(url, "other", None, [other])
    collect(url, results)
    keep_study(url, results, "fair", None, "name: fair\n")
    return results, url


def names_in(archive):
    with tarfile.open(archive) as opened:
        return opened.getnames()


def test_a_bundle_has_everything_of_its_study_and_nothing_of_others(lab, tmp_path):
    results, url = lab
    target = tmp_path / "fair.tar.gz"
    write_bundle(url, results, "fair", None, target)
    names = names_in(target)
    assert names[0] == "bundle.json"
    assert {"study.yaml", "harness.db", "environment.json", "requirements.txt", "README.txt", "fair/study.json"} < {
        *names
    }
    assert sum(name.endswith("result.json") for name in names) == 4
    assert sum(name.endswith("evidence.npz") for name in names) == 1
    assert not [name for name in names if name.endswith(".pt")]
    with unpacked(target) as bundle:
        database = Database(bundle.url)
        assert list(database.studies()["study"]) == ["fair"]
        assert list(database.runs("fair")["state"]) == ["done", "done", "done", "failed"]
        assert json.loads((bundle.folder / "environment.json").read_text())[0]["runs"] == 3
        assert (bundle.folder / "requirements.txt").read_text() == "numpy==2.1.0\ntorch==2.6.0\n"
        folder = bundle.folder
        # Its run folders alone give the same database.
        rebuild(f"sqlite:///{tmp_path}/again.db", folder)
        assert numbers(f"sqlite:///{tmp_path}/again.db") == numbers(bundle.url)
    assert not folder.exists()


def test_equal_results_make_an_equal_bundle(lab, tmp_path):
    results, url = lab
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    for target in (first, second):
        write_bundle(url, results, "fair", None, target)
    assert first.read_bytes() == second.read_bytes()


def test_a_bundle_of_a_database_without_run_folders_is_as_good_for_reading(lab, tmp_path):
    results, url = lab
    before = numbers(url)
    shutil.rmtree(results / "runs")
    write_bundle(url, results, "fair", None, tmp_path / "fair.tar.gz", evidence=False)
    with unpacked(tmp_path / "fair.tar.gz") as bundle:
        assert set(numbers(bundle.url)["measurements"]) < set(before["measurements"])
        assert len(Database(bundle.url).measurements("fair")) == 9


def test_a_bundle_can_be_merged_into_a_database(lab, tmp_path):
    results, url = lab
    write_bundle(url, results, "fair", None, tmp_path / "fair.tar.gz")
    new = f"sqlite:///{tmp_path}/new.db"
    assert merge(new, [tmp_path / "fair.tar.gz"]).added == 4
    assert merge(new, [url]).added == 1
    assert numbers(new) == numbers(url)


def test_a_study_that_is_not_there_is_told_and_nothing_is_written(lab, tmp_path):
    results, url = lab
    for study, profile, reason in (("fare", None, "did you mean 'fair'"), ("fair", "paper", "no profile 'paper'")):
        with pytest.raises(StudyError, match=reason):
            write_bundle(url, results, study, profile, tmp_path / "fair.tar.gz")
    assert not list(tmp_path.glob("*.tar.gz*"))


def repacked(source, target, change):
    """The archive with other files: `change` takes and gives name -> content."""
    with tarfile.open(source) as opened:
        files = {info.name: opened.extractfile(info).read() for info in opened}
    with tarfile.open(target, "w:gz") as archive:
        for name, content in change(files).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target


def with_database(statement):
    """A change that runs SQL in the database of a bundle and signs it anew, as somebody hostile could."""

    def change(files):
        import hashlib

        path = Path("evil.db")
        path.write_bytes(files["harness.db"])
        with sqlite3.connect(path) as connection:
            connection.executescript(statement)
        connection.close()
        content = path.read_bytes()
        manifest = json.loads(files["bundle.json"])
        manifest["sha256"]["harness.db"] = hashlib.sha256(content).hexdigest()
        return {**files, "harness.db": content, "bundle.json": json.dumps(manifest).encode()}

    return change


TRIGGER = "create trigger evil after insert on runs begin delete from runs; end"
DISGUISE = "alter table spectra rename to real; create view spectra as select * from real"


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (
            lambda files: {**files, "study.yaml": b"name: another"},
            StoreError,
            "study.yaml in it is not what was packed",
        ),
        (lambda files: {"bundle.json": b"{}"}, StoreError, "is not a bundle of a study"),
        (lambda files: {"letter.txt": b"Dear grandmother"}, StoreError, "is not a bundle of a study"),
        (lambda files: {**files, "../outside": b"x"}, DataError, "outside of the folder"),
        (
            lambda files: {n: c.replace(b'"format": 1', b'"format": 7') for n, c in files.items()},
            StoreError,
            "format 7",
        ),
        (lambda files: {n: c for n, c in files.items() if n != "harness.db"}, StoreError, r"harness\.db in it is not"),
        (with_database(TRIGGER), StoreError, "its database holds programs"),
        (with_database(DISGUISE), StoreError, "its database holds programs"),
    ],
    ids=["edited", "empty", "other", "escapes", "newer", "lacks", "trigger", "view"],
)
def test_a_bundle_that_is_not_what_was_packed_is_refused(lab, tmp_path, monkeypatch, change, error, reason):
    monkeypatch.chdir(tmp_path)
    results, url = lab
    write_bundle(url, results, "fair", None, Path("fair.tar.gz"))
    with pytest.raises(error, match=reason), unpacked(repacked("fair.tar.gz", Path("other.tar.gz"), change)):
        pass
    assert not Path("outside").exists()


def test_a_truncated_bundle_is_refused(lab, tmp_path):
    results, url = lab
    target = tmp_path / "fair.tar.gz"
    write_bundle(url, results, "fair", None, target)
    os.truncate(target, target.stat().st_size // 2)
    with pytest.raises(DataError, match=r"fair\.tar\.gz: the archive"), unpacked(target):
        pass


def harness(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code or 0, *capsys.readouterr()


def test_the_report_of_a_bundle_is_that_of_its_study_wherever_it_is_opened(lab, tmp_path, monkeypatch, capsys):
    results, _ = lab
    (RunFolder(results, make_spec(margin=0.1).run_id).path / "evidence.npz").unlink()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    code, _, said = harness(monkeypatch, capsys, "db", "bundle", "fair", "--out", "fair.tar.gz")
    assert code == 0, said
    assert "harness report fair.tar.gz" in said
    assert {"report/index.html", "published.csv"} < set(names_in("fair.tar.gz"))
    here = json.loads(harness(monkeypatch, capsys, "report", "fair", "--json")[1])
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert json.loads(harness(monkeypatch, capsys, "report", "../fair.tar.gz", "--json")[1]) == here
    code, _, said = harness(monkeypatch, capsys, "report", "../fair.tar.gz")
    assert code == 0, said
    assert Path("fair/index.html").exists()
    assert [path.name for path in Path().iterdir()] == ["fair"]
    code, _, said = harness(monkeypatch, capsys, "report", "nothing.tar.gz")
    assert (code, "there is no bundle nothing.tar.gz" in said) == (3, True)


def test_merging_on_the_command_line_lists_conflicts_and_exits_with_1(lab, tmp_path, monkeypatch, capsys):
    spec = make_spec(margin=0.1)
    run_it(tmp_path / "cluster", spec, make_result(spec, recall=0.75))
    monkeypatch.chdir(tmp_path)
    code, out, said = harness(monkeypatch, capsys, "db", "merge", "cluster", "--json")
    assert code == 1
    assert f"conflict {spec.run_id} (triplet + semihard on glyphs, seed 0) with cluster" in said
    assert "test recall_at_1 last: 0.2 here, 0.75 there" in said
    assert json.loads(out)["conflicts"][0]["kept"] == "here"
    assert harness(monkeypatch, capsys, "db", "merge", "nowhere.db")[0] == 3
