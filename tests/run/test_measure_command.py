"""`harness measure`: the numbers of a file are those of the Python call, and a wrong file is told plainly."""

import json

import numpy as np
import pandas as pd
import pytest

import harness as library


@pytest.fixture
def points():
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 12)
    return (chance.normal(size=(10, 16))[labels] + chance.normal(size=(120, 16))).astype(np.float32), labels


def test_a_file_gives_the_numbers_of_the_python_call(harness, tmp_path, points):
    embeddings, labels = points
    np.savez(tmp_path / "points.npz", embeddings=embeddings, labels=np.array([f"class {label}" for label in labels]))
    code, out, _ = harness("measure", tmp_path / "points.npz", "--json")
    assert code == 0
    assert json.loads(out) == pytest.approx(library.measure(embeddings, labels))


def test_only_the_families_that_are_asked_for_are_measured(harness, tmp_path, points):
    np.savez(tmp_path / "points.npz", embeddings=points[0], labels=points[1])
    code, out, _ = harness("measure", tmp_path / "points.npz", "--metrics", "spectrum")
    assert code == 0
    assert "rho" in out
    assert "recall_at_1" not in out


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"embeddings": np.zeros((4, 2))}, "no array 'labels'"),
        ({"embeddings": np.zeros((4, 2)), "labels": np.zeros(3, int)}, "right would be [N, D] with [N]"),
        ({"embeddings": np.full((4, 2), np.nan), "labels": np.array([0, 0, 1, 1])}, "4 of 4 embeddings hold nan"),
        ({"embeddings": np.array([object()]), "labels": np.zeros(1)}, "not a readable .npz file"),
    ],
    ids=["missing", "lengths", "nan", "pickle"],
)
def test_a_wrong_file_is_told_plainly(harness, tmp_path, arrays, expected):
    np.savez(tmp_path / "points.npz", **arrays)
    code, out, err = harness("measure", tmp_path / "points.npz")
    assert code == 2
    assert expected in err
    assert out == ""


def test_a_file_that_is_none_of_ours_is_told_plainly(harness, tmp_path):
    (tmp_path / "points.npz").write_text("no archive")
    assert harness("measure", tmp_path / "points.npz")[0] == 2
    assert harness("measure", tmp_path / "absent.npz")[0] == 2
    assert "did you mean 'density'" in harness("measure", tmp_path / "points.npz", "--metrics", "densty")[2]


@pytest.mark.parametrize("form", ["a column a dimension", "a column of lists"])
def test_a_parquet_table_gives_the_numbers_of_the_python_call(harness, tmp_path, points, form):
    embeddings, labels = points
    table = pd.DataFrame(embeddings).add_prefix("d") if form.endswith("dimension") else pd.DataFrame()
    if table.empty:
        table["embedding"] = list(embeddings)
    table["label"] = [f"class {label}" for label in labels]
    table.to_parquet(tmp_path / "points.parquet")
    code, out, _ = harness("measure", tmp_path / "points.parquet", "--json")
    assert code == 0
    assert json.loads(out) == pytest.approx(library.measure(embeddings, labels))


def test_a_wrong_parquet_table_is_told_plainly(harness, tmp_path):
    pd.DataFrame({"embedding": [[1.0, 2.0], [1.0]], "label": [0, 0]}).to_parquet(tmp_path / "uneven.parquet")
    pd.DataFrame({"a": [1.0]}).to_parquet(tmp_path / "unlabeled.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    for name, expected in {
        "uneven": "have 2 lengths; one would be right",
        "unlabeled": "has no column 'label'; it has a",
        "text": "cannot be read as .parquet",
    }.items():
        code, _, err = harness("measure", tmp_path / f"{name}.parquet")
        assert code == 2
        assert expected in err
