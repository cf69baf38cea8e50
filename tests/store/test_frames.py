"""The database as DataFrames, and as text for other programs."""

import csv
import io
import json
import math
from datetime import datetime

import pandas as pd
import pytest
from store_samples import make_failed, make_result, make_spec, run_it

from harness.errors import EnvironmentLacks, StudyError
from harness.specs import Curve
from harness.store.database import collect, export, record_study
from harness.store.export import _of_one_type
from harness.store.frames import Database
from harness.store.spool import RunFolder

FIXED = ["dataset", "backbone", "objective", "miner", "sampler", "regularizer", "seed"]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Two margins with two seeds, of which one run failed and one is pending, and a run of another study."""
    folder = tmp_path_factory.mktemp("results")
    url = f"sqlite:///{folder}/harness.db"
    specs = study_specs()
    run_it(folder, specs[0], make_result(specs[0], recall=0.5))
    run_it(folder, specs[1], make_result(specs[1], recall=0.25))
    run_it(folder, specs[2], make_failed(specs[2]))
    other = make_spec(objective="contrastive", miner=None, epochs=9)
    run_it(folder, other, make_result(other, recall=0.75, cost={"train_seconds": 3.0, "peak_memory_mb": 10.0}))
    record_study(url, "fair", None, specs, {"question": "Which margin?", "analyses": ["saturation"]})
    record_study(url, "other", "paper", [other, specs[0]], {"question": None})
    collect(url, folder)
    return url


def study_specs():
    return [make_spec(seed=seed, margin=margin) for margin in (0.2, 0.1) for seed in (0, 1)]


@pytest.fixture(scope="module")
def database(url):
    return Database(url)


def test_studies_are_listed_in_the_order_of_their_last_launch(database):
    frame = database.studies()
    assert list(frame["study"]) == ["fair", "other"]
    assert list(frame["profile"]) == [None, "paper"]
    assert list(frame["runs"]) == [4, 2]
    assert frame["question"][0] == "Which margin?"
    assert frame["about"][0]["analyses"] == ["saturation"]


def test_runs_of_a_study_come_in_its_order_whatever_their_state(database):
    frame = database.runs("fair")
    assert list(frame["run_id"]) == [spec.run_id for spec in study_specs()]
    assert list(frame["state"]) == ["done", "done", "failed", "pending"]
    assert list(frame["cause"].where(frame["cause"].notna(), "-")) == ["-", "-", "diverged", "-"]
    assert list(frame["method"]) == ["triplet (margin=0.2)"] * 2 + ["triplet (margin=0.1)"] * 2
    assert list(frame.columns) == [
        "run_id", "state", "cause", "message", *FIXED, "objective.margin", "method", "train_seconds", "step_ms",
    ]  # fmt: skip
    assert list(frame["train_seconds"][:2]) == [1.5, 1.5]
    assert frame["train_seconds"][2:].isna().all()


def test_measurements_carry_what_their_runs_are(database):
    frame = database.measurements("fair", selection="last")
    assert list(frame.columns) == [
        "run_id", "split", "metric", "selection", "epoch", "value", *FIXED, "objective.margin", "method",
    ]  # fmt: skip
    recall = frame[(frame["metric"] == "recall_at_1") & (frame["split"] == "test")]
    assert list(recall["value"]) == [0.5, 0.25]
    assert list(recall["seed"]) == [0, 1]
    assert set(recall["objective.margin"]) == {0.2}
    assert set(frame["selection"]) == {"last"}
    assert set(database.measurements("fair")["selection"]) == {"last", "best_test"}
    assert frame["value"].dtype == float


def test_without_a_study_all_runs_are_meant_and_axes_are_those_of_all(database):
    frame = database.measurements()
    assert len(set(frame["run_id"])) == 3
    assert {"objective.margin", "training.epochs"} <= set(frame.columns)
    contrastive = frame[frame["objective"] == "contrastive"]
    assert contrastive["objective.margin"].isna().all()
    assert set(contrastive["miner"]) == {"none"}
    assert list(database.runs("other")["run_id"])[1] == study_specs()[0].run_id


def test_configurations_have_every_setting_whether_it_varies_or_not(database):
    frame = database.configurations("other").set_index("run_id")
    assert frame.loc[study_specs()[0].run_id, "objective.margin"] == 0.2
    assert frame["objective.margin"].tolist() == [None, 0.2]
    assert frame["training.epochs"].tolist() == [9, 2]
    assert frame["optimizer.milestones"].tolist() == [[], []]


def test_curves_have_one_row_an_epoch_and_nan_where_a_number_is_not_defined(database):
    frame = database.curves("fair")
    one = frame[(frame["run_id"] == study_specs()[0].run_id)]
    assert one[["split", "metric", "epoch"]].values.tolist() == [
        ["test", "recall_at_1", 1], ["test", "recall_at_1", 2], ["train", "loss", 1], ["train", "loss", 2],
    ]  # fmt: skip
    assert one["value"].tolist()[:3] == [0.6, 0.5, 1.0]
    assert math.isnan(one["value"].tolist()[3])
    assert frame["value"].dtype == float


def test_spectra_class_scores_and_attempts(database):
    spectra = database.spectra("fair")
    assert spectra["values"].tolist() == [[0.7, 0.2, 0.1]] * 2
    scores = database.class_scores("fair")
    assert scores[["class", "value"]].values.tolist()[:2] == [["я", 0.25], ["ж", 0.75]]
    attempts = database.attempts("fair")
    assert list(attempts["cause"]) == ["done", "done", "diverged"]
    assert (attempts["began"] <= attempts["ended"]).all()


def test_a_profile_is_asked_for_by_name_and_the_plain_study_is_preferred(url, tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    plain, paper, quick = (make_spec(seed=seed) for seed in range(3))
    record_study(url, "s", "quick", [quick])
    assert list(Database(url).runs("s")["run_id"]) == [quick.run_id]
    record_study(url, "s", "paper", [paper])
    assert list(Database(url).runs("s")["run_id"]) == [paper.run_id]
    record_study(url, "s", None, [plain])
    record_study(url, "s", "quick", [quick])
    assert list(Database(url).runs("s")["run_id"]) == [plain.run_id]
    assert list(Database(url).runs("s", profile="paper")["run_id"]) == [paper.run_id]
    with pytest.raises(StudyError, match="no profile 'papr' of study 's'; did you mean 'paper'"):
        Database(url).runs("s", profile="papr")


def test_a_study_that_is_not_known_is_told_with_the_nearest_name(database):
    with pytest.raises(StudyError, match="no study 'fiar'; did you mean 'fair'"):
        database.measurements("fiar")


def test_a_study_without_results_gives_empty_frames_with_all_columns(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    record_study(url, "s", None, [make_spec()])
    database = Database(url)
    assert list(database.runs("s")["state"]) == ["pending"]
    for name in ("measurements", "curves", "spectra", "class_scores", "attempts"):
        frame = getattr(database, name)("s")
        assert len(frame) == 0
        assert {"run_id", "method", *FIXED} <= set(frame.columns)


def test_a_curve_that_is_nowhere_defined_is_a_column_of_numbers(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    spec = make_spec()
    run_it(tmp_path, spec, make_result(spec, curves=[Curve("train", "loss", [1, 2], [None, None])]))
    collect(url, tmp_path)
    assert Database(url).curves()["value"].dtype == float


def test_a_study_of_more_runs_than_fit_into_one_question_is_read_whole(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    specs = [make_spec(seed=seed) for seed in range(700)]
    record_study(url, "s", None, specs)
    for spec in specs[:3]:
        run_it(tmp_path, spec, make_result(spec))
    other = make_spec(objective="margin")
    run_it(tmp_path, other, make_result(other))
    collect(url, tmp_path)
    assert len(Database(url).runs("s")) == 700
    assert len(Database(url).measurements("s")) == 9


def exported(url, *arguments, **options):
    stream = io.StringIO()
    export(url, *arguments, stream, **options)
    return stream.getvalue()


def rows_of(url, table, **options):
    return list(csv.DictReader(io.StringIO(exported(url, table, "csv", **options))))


def test_exported_measurements_have_their_six_columns_first_and_every_digit(url, database):
    table = rows_of(url, "measurements", study="fair")
    assert list(table[0])[:6] == ["run_id", "split", "metric", "selection", "epoch", "value"]
    assert list(table[0])[6:] == [*FIXED, "objective.margin", "method"]
    assert [float(row["value"]) for row in table] == database.measurements("fair")["value"].tolist()
    assert {row["epoch"] for row in table} == {"1", "2"}


def test_every_table_can_be_exported_in_every_form(url):
    for table in ("runs", "measurements", "curves", "spectra", "class_scores", "attempts", "studies"):
        records = json.loads(exported(url, table, "json"))
        rows = rows_of(url, table)
        assert len(records) == len(rows) > 0
        assert list(records[0]) == list(rows[0])
    assert json.loads(exported(url, "spectra", "json"))[0]["values"] == [0.7, 0.2, 0.1]
    assert json.loads(rows_of(url, "spectra")[0]["values"]) == [0.7, 0.2, 0.1]
    assert json.loads(exported(url, "curves", "json", study="fair"))[3]["value"] is None
    assert json.loads(exported(url, "attempts", "json"))[0]["pid"] > 0


def test_parquet_keeps_types_and_every_digit(url, database):
    for table in ("runs", "measurements", "curves", "spectra", "class_scores", "attempts", "studies"):
        stream = io.BytesIO()
        export(url, table, "parquet", stream)
        stream.seek(0)
        found = pd.read_parquet(stream)
        assert list(found.columns) == list(rows_of(url, table)[0])
        assert len(found) == len(rows_of(url, table))
        if table == "measurements":
            assert found["value"].tolist() == database.measurements()["value"].tolist()
            assert found["seed"].dtype == "int64"
            assert set(found["objective.margin"].dropna()) == {0.2}
        if table == "spectra":
            assert list(found["values"][0]) == [0.7, 0.2, 0.1]


def test_a_parquet_column_of_several_types_is_json():
    mixed = pd.Series(["a", 1, None, [1]], dtype=object)
    assert _of_one_type(mixed).tolist() == ['"a"', "1", None, "[1]"]
    assert _of_one_type(pd.Series([1, 0.5, None], dtype=object)).dtype == float
    assert _of_one_type(pd.Series([{"a": 1}], dtype=object)).tolist() == ['{"a": 1}']


def test_without_pyarrow_parquet_is_told(url, monkeypatch):
    monkeypatch.setattr("harness.store.export.find_spec", lambda name: None)
    with pytest.raises(EnvironmentLacks, match=r"pip install 'harness\[parquet\]'"):
        export(url, "runs", "parquet", io.BytesIO())


def test_attempts_tell_their_time_and_steps(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    spec = make_spec()
    folder = RunFolder(tmp_path, spec.run_id)
    folder.write_spec(spec)
    lease = folder.take()
    folder.write_progress({"first_step": 10, "steps": 25}, lease)
    folder.publish(make_result(spec), lease)
    collect(url, tmp_path)
    (attempt,) = Database(url).attempts().to_dict("records")
    assert (attempt["first_step"], attempt["last_step"]) == (10, 25)
    began, ended = (datetime.fromisoformat(attempt[name]) for name in ("began", "ended"))
    assert attempt["seconds"] == pytest.approx((ended - began).total_seconds())


def test_an_export_of_nothing_is_an_empty_table(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    record_study(url, "s", None, [make_spec()])
    assert json.loads(exported(url, "measurements", "json")) == []
    assert exported(url, "measurements", "csv").startswith("run_id,split,metric,selection,epoch,value,dataset")


def test_a_table_or_a_form_that_is_not_there_is_told(url):
    with pytest.raises(StudyError, match="no table 'measurement'; did you mean 'measurements'"):
        exported(url, "measurement", "csv")
    with pytest.raises(StudyError, match="no format 'xlsx'; known: csv, json, parquet"):
        exported(url, "runs", "xlsx")


def test_reading_does_not_disturb_the_one_who_writes(tmp_path):
    url = f"sqlite:///{tmp_path}/harness.db"
    spec = make_spec()
    folder = RunFolder(tmp_path, spec.run_id)
    record_study(url, "s", None, [spec])
    database = Database(url)
    assert list(database.runs("s")["state"]) == ["pending"]
    folder.write_spec(spec)
    folder.publish(make_result(spec), folder.take())
    collect(url, tmp_path)
    assert list(database.runs("s")["state"]) == ["done"]
    assert isinstance(database.runs("s"), pd.DataFrame)
