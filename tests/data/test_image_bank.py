from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets.glyphs import Glyphs
from harness.errors import DataError, StoreError
from harness.images import decode_image
from harness.training import bank_files, drafts
from harness.training.bank import build_bank


def the_bank(cache: Path) -> Path:
    (folder,) = cache.glob("bank-*[!k]")
    return folder


def failing(source, *bad: int):
    """The source, with images that cannot be decoded."""

    def read(i: int):
        if i in bad:
            raise DataError(f"{source.names[i]}: the image cannot be decoded (torn)")
        return source.read(i)

    return replace(source, read=read)


def unreadable(source):
    """The source, with nothing to decode: only a bank that is there already can help."""
    return failing(source, *range(len(source)))


def test_a_bank_holds_every_image_with_its_label(array_source, tmp_path):
    source = array_source()
    bank = build_bank(source, tmp_path / "cache")
    assert (bank.images.numpy() == np.stack([source.read(i) for i in range(len(source))])).all()
    assert bank.labels.tolist() == source.labels.tolist()
    assert bank.is_train.tolist() == source.is_train.tolist()
    assert bank.class_names == source.class_names


def test_progress_is_told_until_all_is_done(array_source, tmp_path):
    told = []
    build_bank(array_source(each=100), tmp_path, lambda *news: told.append(news))
    assert told == [(256, 400, "decoding images"), (400, 400, "decoding images")]


def test_the_second_time_nothing_is_decoded(array_source, tmp_path):
    source = array_source()
    first = build_bank(source, tmp_path)
    again = build_bank(unreadable(source), tmp_path)
    assert (again.images == first.images).all()
    assert (again.sizes == first.sizes).all()


@pytest.mark.parametrize("change", [{"digest": "other"}, {"side": 4, "crop": 4, "resize": 4}])
def test_another_digest_or_side_is_another_bank(array_source, tmp_path, change):
    source = array_source()
    build_bank(source, tmp_path)
    with pytest.raises(DataError, match="torn"):
        build_bank(replace(unreadable(source), **change), tmp_path)


@pytest.mark.parametrize("damage", ["cut", "changed", "no checksum", "no table", "empty", "other table"])
def test_a_damaged_bank_is_built_again(array_source, tmp_path, damage):
    source = array_source()
    whole = build_bank(source, tmp_path).images.clone()
    images = the_bank(tmp_path) / "images.npy"
    content = bytearray(images.read_bytes())
    if damage == "cut":
        images.write_bytes(content[:-10])
    elif damage == "changed":
        content[len(content) // 2] ^= 1
        images.write_bytes(content)
    elif damage == "no checksum":
        (images.parent / "about.json").write_text("{")
    elif damage == "no table":
        (images.parent / "table.npy").unlink()
    elif damage == "empty":
        images.write_bytes(b"")
    else:
        table = np.load(images.parent / "table.npy")
        table["width"][3] += 1
        np.save(images.parent / "table.npy", table)
    told = []
    again = build_bank(source, tmp_path, lambda *news: told.append(news[2]))
    assert (again.images == whole).all()
    assert (again.sizes == 8).all()
    assert told == ["the image bank is damaged; decoding again", "decoding images"]
    assert sorted(entry.name for entry in the_bank(tmp_path).iterdir()) == ["about.json", "images.npy", "table.npy"]


def test_of_a_large_bank_images_from_end_to_end_are_checked(array_source, tmp_path, monkeypatch):
    source = array_source()
    build_bank(source, tmp_path)
    monkeypatch.setattr(bank_files, "CHECKED_BYTES", 4 * 64)
    images = np.load(the_bank(tmp_path) / "images.npy", mmap_mode="r+")
    looked_at = []
    for i in range(12):
        images[i, 0, 0] ^= 1
        looked_at.append(not bank_files.is_whole(the_bank(tmp_path), source))
        images[i, 0, 0] ^= 1
    assert np.flatnonzero(looked_at).tolist() == [0, 3, 7, 11]


def test_a_bad_image_stops_the_building_and_leaves_nothing(array_source, tmp_path):
    with pytest.raises(DataError, match=r"^image 3: .* \(torn\) \(and 1 more like it\); .*`on_bad_image: skip`"):
        build_bank(failing(array_source(), 3, 7), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")] == []


def test_bad_images_are_left_out_only_where_that_is_asked_for(array_source, tmp_path):
    source = failing(array_source(on_bad_image="skip"), 3, 7)
    bank = build_bank(source, tmp_path)
    kept = [i for i in range(12) if i not in (3, 7)]
    assert (bank.images.numpy() == np.stack([source.read(i) for i in kept])).all()
    assert bank.labels.tolist() == source.labels[kept].tolist()
    assert len(bank.sizes) == len(bank) == 10
    with pytest.raises(DataError, match="image 3: "):
        build_bank(replace(source, on_bad_image="error"), tmp_path)


def test_a_class_that_skipping_leaves_with_one_image_is_named(array_source, tmp_path):
    with pytest.raises(DataError, match="training class 'class 1' has only one image"):
        build_bank(failing(array_source(on_bad_image="skip"), 3, 4), tmp_path)


def test_odd_metadata_costs_neither_the_image_nor_a_warning(array_source, tmp_path):
    place = tmp_path / "odd.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\xff\xff"
    Image.fromarray(array_source(channels=3).read(0)).save(place, exif=exif)
    source = array_source(channels=3, read=lambda i: decode_image(place, str(place)))
    assert build_bank(source, tmp_path / "cache").images.float().std() > 0


def test_a_full_disk_is_told_before_anything_is_written(array_source, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(StoreError, match=r"the images need 0 MiB in .*, but only 0 MiB are free there"):
        build_bank(array_source(), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"cannot be kept in .*: No space left on device"):
        build_bank(array_source(), tmp_path)
    assert not list(tmp_path.glob("bank-*[!k]"))
    assert not list(tmp_path.glob(".bank-*"))


def test_a_folder_that_cannot_be_written_is_named(array_source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be kept in .*file: (File exists|Not a directory)"):
        build_bank(array_source(), tmp_path / "file")


def test_what_a_killed_builder_left_is_cleared_away(array_source, tmp_path):
    source = array_source()
    build_bank(source, tmp_path)
    folder = the_bank(tmp_path)
    shutil.move(folder, tmp_path / f".{folder.name}-killed")
    build_bank(source, tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([folder.name, f"{folder.name}.lock"])


def counting(source, read: list[int], stop_at: int = -1, stop: BaseException | None = None):
    """The source, noting which images are decoded, and stopping at one of them."""

    def read_one(i: int):
        if i == stop_at:
            raise stop
        read.append(i)
        return source.read(i)

    return replace(source, read=read_one)


def test_an_interrupted_build_goes_on_where_it_was(array_source, tmp_path):
    source, first, second = array_source(each=200), [], []
    with pytest.raises(KeyboardInterrupt):
        build_bank(counting(source, first, stop_at=500, stop=KeyboardInterrupt()), tmp_path)
    assert not list(tmp_path.glob("bank-*[!k]"))
    bank = build_bank(counting(source, second), tmp_path)
    assert len(first) >= 256
    assert sorted(first + second) == list(range(800))
    assert (bank.images.numpy() == np.stack([source.read(i) for i in range(800)])).all()
    assert not list(tmp_path.glob(".bank-*"))


@pytest.mark.parametrize("torn", ["a pixel", "the ledger", "the images", "its length"])
def test_what_is_torn_in_a_draft_is_decoded_again(array_source, tmp_path, torn):
    source, read = array_source(each=200), []
    with pytest.raises(KeyboardInterrupt):
        build_bank(counting(source, [], stop_at=799, stop=KeyboardInterrupt()), tmp_path)
    (draft,) = tmp_path.glob(".bank-*.draft")
    if torn == "a pixel":
        images = np.load(draft / "images.npy", mmap_mode="r+")
        images[300, 4, 4] ^= 1
    elif torn == "the ledger":
        (draft / "ledger.npy").unlink()
    elif torn == "the images":
        (draft / "images.npy").write_bytes(b"torn")
    else:
        np.save(draft / "images.npy", np.zeros((3, 8, 8, 1), dtype=np.uint8))
    bank = build_bank(counting(source, read), tmp_path)
    assert read == [300, 799] if torn == "a pixel" else sorted(read) == list(range(800))
    assert (bank.images.numpy() == np.stack([source.read(i) for i in range(800)])).all()


def build_and_hang(source, cache: Path, read) -> None:
    def read_one(i: int):
        if i == 300:
            read.put(None)
            signal.pause()
        read.put(i)
        return source.read(i)

    build_bank(replace(source, read=read_one), cache)


def test_a_killed_build_goes_on_where_it_was_and_holds_no_lock(array_source, tmp_path):
    context = multiprocessing.get_context("fork")
    source, queue, second = array_source(each=200), context.SimpleQueue(), []
    builder = context.Process(target=build_and_hang, args=(source, tmp_path, queue))
    builder.start()
    first = list(iter(queue.get, None))
    builder.kill()
    builder.join()
    assert builder.exitcode == -signal.SIGKILL
    told = []
    bank = build_bank(counting(source, second), tmp_path, lambda *news: told.append(news[2]))
    assert set(told) == {"decoding images"}  # it waits for nobody
    assert len(first) >= 256
    assert set(range(256)).isdisjoint(second)  # of the block that the kill hit, some may be decoded twice
    assert 300 in second
    assert (bank.images.numpy() == np.stack([source.read(i) for i in range(800)])).all()


def test_a_disk_that_is_full_at_the_end_leaves_nothing(array_source, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"^the image bank cannot be kept in .*: No space left on device$"):
        build_bank(array_source(), tmp_path)
    assert not [entry for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")]


def build_glyphs(cache: Path, barrier, told) -> None:
    barrier.wait()
    bank = build_bank(Glyphs(instances=12, classes=20).source(), cache, lambda *news: told.put(news[2]))
    told.put(("sum", int(bank.images.sum())))


@pytest.mark.parametrize("locks", [True, False])
def test_processes_that_start_together_end_with_one_whole_bank(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(drafts.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(95, "no locks here")))
    context = multiprocessing.get_context("fork")
    told, barrier = context.Queue(), context.Barrier(3)
    workers = [context.Process(target=build_glyphs, args=(tmp_path, barrier, told)) for _ in range(3)]
    for worker in workers:
        worker.start()
    news = []
    while sum(isinstance(item, tuple) for item in news) < 3:
        news.append(told.get(timeout=60))
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len({item for item in news if isinstance(item, tuple)}) == 1
    assert len(list(tmp_path.glob("bank-*[!k]"))) == 1
    assert not list(tmp_path.glob(".bank-*"))
    if locks:
        assert news.count("decoding images") == 2  # 480 images in two blocks, by one of the three


def test_nothing_of_the_source_but_its_pixels_is_in_the_bank(array_source, tmp_path):
    source = array_source()
    build_bank(source, tmp_path)
    flipped = replace(source, is_train=~source.is_train, class_names=tuple("abcd"))
    bank = build_bank(unreadable(flipped), tmp_path)
    assert bank.class_names == tuple("abcd")
    assert bank.is_train.tolist() == (~source.is_train).tolist()
    assert json.loads((the_bank(tmp_path) / "about.json").read_text())["skipped"] == {}
