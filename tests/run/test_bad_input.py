"""What a person gets for a mistake: one message, the right exit code, no traceback, and nothing half-written."""

import os
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.store.database import record_study

GOOD = """\
schema: 1
name: mini
run:
  dataset: {name: glyphs, instances: 6, classes: 8}
  backbone: {name: convnet, embedding_dim: 8}
  sampler: class_balanced
  training: {epochs: 1, batch_size: 16, augmentation: none}
seeds: 1
grid:
  - objective: triplet
    miner: random
"""
IMAGES = GOOD.replace(
    "{name: glyphs, instances: 6, classes: 8}", "{name: image_folder, folder: birds, side: 28, crop: 28}"
)


def write(text, name="mini.yaml"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def left_behind():
    return sorted(str(path) for path in Path().rglob("*") if path.is_file() and path.suffix != ".yaml")


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        (b"", "mini.yaml"),
        (b"\x7fELF\x02\x01\x00\x00\xff\xfe", "mini.yaml"),
        (GOOD.replace("triplet", "tripplet"), "did you mean 'triplet'"),
        (GOOD.replace("objective: triplet", "objective: {name: triplet, magin: 0.1}"), "did you mean 'margin'"),
        (GOOD.replace("epochs: 1", "epochs: many"), "mini.yaml:7:"),
        (GOOD.replace("    miner: random\n", ""), "miner"),
        (GOOD.replace("- objective: triplet\n    miner: random", "[]"), "mini.yaml"),
        (GOOD.replace("seeds: 1", "seeds: 200000"), "100,000"),
        (GOOD.replace("name: mini\n", "name: mini\nname: mini\n"), "mini.yaml:3:"),
    ],
    ids=["empty", "binary", "objective", "option", "type", "no-miner", "no-runs", "too-many", "duplicate"],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_study_starts_nothing(harness, command, study, expected):
    code, _, said = harness(command, write(study))
    assert code == 2
    assert expected in said
    assert "Traceback" not in said
    assert left_behind() == []


def test_a_missing_study_names_those_there_are(harness):
    Path("studies").mkdir()
    write(GOOD, "studies/mini.yaml")
    code, _, said = harness("check", "minni")
    assert code == 2
    assert "did you mean 'mini'" in said


def images(folder, classes=4, each=8, size=28):
    for number in range(classes):
        place = Path(folder, f"class_{number}")
        place.mkdir(parents=True)
        for index in range(each):
            pixels = np.random.default_rng(number * each + index).integers(0, 255, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{index}.png")


def test_a_missing_data_folder_is_named(harness):
    code, _, said = harness("run", write(IMAGES), "--data", "nowhere")
    assert code == 2
    assert "nowhere" in said
    assert "--data DIR" in said
    assert "Traceback" not in said


def test_an_empty_data_folder_is_named(harness):
    Path("data/birds").mkdir(parents=True)
    code, _, said = harness("run", write(IMAGES))
    assert code == 2
    assert "birds" in said


def test_a_class_with_one_image_is_named(harness):
    images("data/birds")
    for path in list(Path("data/birds/class_3").iterdir())[1:]:
        path.unlink()
    code, _, said = harness("run", write(IMAGES))
    assert code == 2
    assert "class_3" in said
    assert "one image" in said


def test_a_truncated_image_is_named_and_skipped_only_when_the_study_says_so(harness):
    images("data/birds")
    broken = Path("data/birds/class_0/3.png")
    broken.write_bytes(broken.read_bytes()[:200])
    code, _, said = harness("prepare", "image_folder", "--set", "folder=birds", "--set", "side=28", "--set", "crop=28")
    assert code == 2
    assert "3.png" in said
    assert "on_bad_image: skip" in said
    skip = ["--set", "on_bad_image=skip"]
    code, _, said = harness(
        "prepare", "image_folder", "--set", "folder=birds", "--set", "side=28", "--set", "crop=28", *skip
    )
    assert code == 0
    assert "31 images" in said


def test_a_results_folder_that_cannot_be_written_is_told_in_one_line(harness):
    Path("file").write_text("not a folder")
    code, _, said = harness("run", write(GOOD), "--results", "file/results")
    assert code == 3
    assert "file/results" in said
    assert "Traceback" not in said


def test_a_database_that_is_none_is_left_as_it_is(harness):
    Path("results").mkdir()
    Path("results/harness.db").write_text("a letter to my grandmother, who never was a database, at some length" * 20)
    before = Path("results/harness.db").read_bytes()
    code, _, said = harness("run", write(GOOD))
    assert code == 3
    assert "harness.db" in said
    assert Path("results/harness.db").read_bytes() == before
    assert "Traceback" not in said


def test_a_database_newer_than_the_code_is_refused_politely(harness):
    Path("results").mkdir()
    record_study("sqlite:///results/harness.db", "mini", None, [])
    connection = sqlite3.connect("results/harness.db")
    connection.execute("update schema_version set version = 999")
    connection.commit()
    connection.close()
    code, _, said = harness("status")
    assert code == 3
    assert "newer" in said
    assert "Traceback" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_and_keeps_what_is_finished(harness, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        code, _, said = harness("run", write(GOOD), "--results", disk / "results", "--workers", "1")
        assert code == 3
        assert "Traceback" not in said
        assert "space" in said or "free" in said
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("arguments", [["run"], ["rum"], ["run", "x.yaml", "--nonsense"], ["db", "export", "--table"]])
def test_wrong_usage_exits_with_2(harness, arguments):
    code, _, said = harness(*arguments)
    assert code == 2
    assert "Traceback" not in said


def test_a_set_without_a_value_says_what_is_right(harness):
    code, _, said = harness("check", write(GOOD), "--set", "training.epochs")
    assert code == 2
    assert "PATH=VALUE" in said
