from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets.pack import Pack
from harness.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)
LABELS = np.array([9, 9, 9, 4, 4, 4, 7, 7, 7, 0, 0, 0])


def write_npz(folder: Path, **changes) -> None:
    arrays = {"images": PIXELS, "labels": LABELS} | changes
    np.savez(folder / "pack.npz", **{key: value for key, value in arrays.items() if value is not None})


def write_zip(folder: Path, rows: list[dict[str, str]], change=lambda name, content: content, bom: str = "") -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    with zipfile.ZipFile(folder / "pack.zip", "w") as archive:
        for number, row in enumerate(rows):
            buffer = io.BytesIO()
            Image.fromarray(np.dstack([PIXELS[number % 12]] * 3)).save(buffer, "PNG")
            if not row["file"].startswith("absent"):
                archive.writestr(row["file"], change(row["file"], buffer.getvalue()))
        archive.writestr("labels.csv", bom + table.getvalue())


def rows(**changes: str) -> list[dict[str, str]]:
    """Four classes, 8 to 11, of three images; `split` sends the first two classes to the test side."""
    return [
        {
            "file": f"im/{i}.png",
            "label": str(8 + i // 3),
            "class_name": f"bird {8 + i // 3}",
            "split": "test" if i < 6 else "train",
        }
        | changes
        for i in range(12)
    ]


def source_of(folder: Path, name: str, **options):
    return Pack(folder, file=name, **options).source()


def test_without_a_split_the_first_half_of_the_sorted_labels_trains(tmp_path):
    write_npz(tmp_path)
    source = source_of(tmp_path, "pack.npz")
    assert source.is_train.tolist() == np.isin(LABELS, [0, 4]).tolist()
    assert source.class_names == ("4", "0", "9", "7")
    assert source.labels.tolist() == [2, 2, 2, 0, 0, 0, 3, 3, 3, 1, 1, 1]


def test_arrays_come_back_pixel_by_pixel_at_their_own_side(tmp_path):
    write_npz(tmp_path)
    source = source_of(tmp_path, "pack.npz")
    assert (source.side, source.resize, source.crop, source.channels) == (6, 6, 6, 1)
    assert (source.array == PIXELS[..., None]).all()
    assert (source.read(5) == PIXELS[5, :, :, None]).all()


def test_the_split_and_the_names_of_an_npz_are_used(tmp_path):
    names = np.array([f"letter {i}" for i in range(10)])
    write_npz(tmp_path, is_train=np.isin(LABELS, [7, 9]), class_names=names)
    source = source_of(tmp_path, "pack.npz")
    assert source.class_names == ("letter 9", "letter 7", "letter 4", "letter 0")
    assert source.is_train.sum() == 6


def test_text_labels_and_color_are_taken(tmp_path):
    write_npz(tmp_path, images=np.stack([PIXELS] * 3, axis=3), labels=np.array([f"c{label}" for label in LABELS]))
    source = source_of(tmp_path, "pack.npz")
    assert source.channels == 3
    assert source.class_names == ("c4", "c0", "c9", "c7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no array named 'images'"),
        ({"images": PIXELS / 255}, "must be uint8, not float64"),
        ({"images": PIXELS[:, :, 0]}, r"must be \[N, H, W\]"),
        ({"labels": LABELS[:5]}, r"12 images, but `labels` has the shape \(5,\)"),
        ({"labels": np.array([object()] * 12)}, "allow_pickle"),
        ({"is_train": np.zeros(12)}, "`is_train` must be bool"),
        ({"is_train": np.arange(12) < 5}, "has images in both train and test"),
        ({"is_train": np.zeros(12, bool)}, "there are 0 training classes with 0 images"),
        ({"labels": np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 3, 3])}, "training class '1' has only one image"),
        ({"class_names": np.array(["a", "b"])}, "`class_names` has 2 entries"),
    ],
)
def test_an_npz_that_cannot_be_used_is_refused_with_its_name_and_the_reason(tmp_path, changes, message):
    write_npz(tmp_path, **changes)
    with pytest.raises(DataError, match=rf"pack\.npz: .*{message}"):
        source_of(tmp_path, "pack.npz")


@pytest.mark.parametrize("name", ["pack.npz", "pack.zip"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing"])
def test_a_file_that_is_no_pack_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="not a readable"):
        source_of(tmp_path, name)


def test_a_zip_is_read_in_memory_by_its_labels(tmp_path):
    write_zip(tmp_path, rows(), bom="\ufeff")
    before = sorted(tmp_path.rglob("*"))
    source = source_of(tmp_path, "pack.zip")
    assert source.class_names == ("bird 10", "bird 11", "bird 8", "bird 9")
    assert source.is_train.tolist() == [False] * 6 + [True] * 6
    assert (source.read(4) == PIXELS[4][:, :, None]).all()
    assert (source.side, source.resize, source.crop) == (6, 6, 6)
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_split_the_labels_of_a_zip_are_sorted_as_numbers(tmp_path):
    write_zip(tmp_path, [{key: row[key] for key in ("file", "label")} for row in rows()])
    source = source_of(tmp_path, "pack.zip")
    assert source.class_names == ("8", "9", "10", "11")
    assert source.is_train.tolist() == [True] * 6 + [False] * 6


def test_sides_can_be_chosen(tmp_path):
    write_zip(tmp_path, rows())
    chosen = source_of(tmp_path, "pack.zip", side=16, resize=12, crop=9)
    assert (chosen.side, chosen.resize, chosen.crop) == (16, 12, 9)
    assert source_of(tmp_path, "pack.zip", crop=9).resize == 9
    with pytest.raises(DataError, match=r"crop \(9\) is larger than resize \(8\)"):
        source_of(tmp_path, "pack.zip", resize=8, crop=9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"file": "absent.png"}, r"labels\.csv, row 2: 'absent\.png' is not in the archive"),
        ({"label": ""}, r"labels\.csv, row 2: needs `file` and `label`"),
        ({"split": "validation"}, r"labels\.csv, row 2: split must be 'train' or 'test', not 'validation'"),
    ],
)
def test_a_wrong_row_of_labels_is_named(tmp_path, changed, message):
    table = rows()
    table[0] |= changed
    write_zip(tmp_path, table)
    with pytest.raises(DataError, match=message):
        source_of(tmp_path, "pack.zip")


def test_a_zip_without_labels_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"holds no labels\.csv"):
        source_of(tmp_path, "pack.zip")


def test_a_damaged_image_in_a_zip_is_named_when_it_is_read(tmp_path):
    write_zip(tmp_path, rows(), lambda name, content: content[:50] if name == "im/3.png" else content)
    source = source_of(tmp_path, "pack.zip")
    with pytest.raises(DataError, match=r"pack\.zip:im/3\.png: the image cannot be decoded"):
        source.read(3)


def test_the_digest_follows_the_content_of_the_images(tmp_path):
    write_zip(tmp_path, rows())
    before = source_of(tmp_path, "pack.zip").digest
    assert source_of(tmp_path, "pack.zip").digest == before
    write_zip(tmp_path, rows(), lambda name, content: content + b"!" if name == "im/3.png" else content)
    assert source_of(tmp_path, "pack.zip").digest != before


def test_what_is_missing_is_told_with_what_is_there(tmp_path):
    (tmp_path / "omniglot28.npz").touch()
    with pytest.raises(
        DataError, match=r"there is no omniglot\.npz in the data folder .*, which holds omniglot28\.npz"
    ):
        source_of(tmp_path, "omniglot.npz")
    with pytest.raises(DataError, match=r"data folder .*nowhere does not exist; name it by --data DIR"):
        source_of(tmp_path / "nowhere", "omniglot.npz")
