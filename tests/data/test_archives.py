"""What comes in an archive stays in its folder, whoever made the archive, and damage is told in one sentence."""

import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from harness import archives
from harness.archives import Bounds, md5_of, unpack
from harness.errors import DataError, StoreError

CONTENT = {"birds/auk/1.jpg": b"auk" * 3000, "birds/auk/2.jpg": b"", "birds/list.txt": bytes(range(256)) * 40}
KINDS = ["tar", "tar.gz", "tgz", "zip"]


def tar_of(*entries, kind="tar", **options) -> bytes:
    """An archive of (name, bytes) and of ready TarInfo headers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w" if kind == "tar" else "w:gz", **options) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size, info.mtime = len(entry[1]), 1_300_000_000
            archive.addfile(info, io.BytesIO(entry[1]))
    return buffer.getvalue()


def zip_of(*entries, compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name, (2011, 3, 13, 7, 6, 40))
            info.compress_type = compression
            archive.writestr(info, content)
    return buffer.getvalue()


def made(kind, *entries) -> bytes:
    return zip_of(*entries) if kind == "zip" else tar_of(*entries, kind=kind)


@pytest.fixture
def opened(tmp_path):
    """Unpacks bytes as a file of some kind into the folder `target`, which it gives."""

    def unpacked(content, kind, **options):
        (tmp_path / f"archive.{kind}").write_bytes(content)
        shutil.rmtree(tmp_path / "target", ignore_errors=True)
        (tmp_path / "target").mkdir()
        unpack(tmp_path / f"archive.{kind}", tmp_path / "target", **options)
        return tmp_path / "target"

    return unpacked


def files_in(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_in_an_archive_arrives_with_the_time_that_it_says(opened, kind):
    folder = opened(made(kind, *CONTENT.items()), kind)
    assert files_in(folder) == CONTENT
    assert {os.stat(folder / name).st_mtime for name in CONTENT} == {1_300_000_000}


def test_the_digest_of_an_archive_is_md5(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert md5_of(tmp_path / "empty") == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("kind", KINDS)
def test_progress_ends_with_the_whole_archive(opened, kind):
    told = []
    opened(made(kind, *CONTENT.items()), kind, progress=lambda done, total, what: told.append((done, total, what)))
    assert told[-1][2] == f"unpacking archive.{kind} (MiB)"
    assert all(0 <= done <= total for done, total, _ in told)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_what_macos_adds_is_left_out_and_a_leading_dot_is_no_folder(opened, kind):
    litter = [("__MACOSX/birds/._1.jpg", b"x"), ("birds/._1.jpg", b"x"), ("birds/.DS_Store", b"x")]
    assert files_in(opened(made(kind, *litter, ("./birds/1.jpg", b"1")), kind)) == {"birds/1.jpg": b"1"}


def special(kind, name="birds/odd", target="/etc/passwd", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def zip_link(name="birds/odd"):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE = {
    "leads out": ("tar", tar_of(("../odd", b"x")), "would be written outside"),
    "leads out by a detour": ("tgz", tar_of(("birds/../../odd", b"x"), kind="tgz"), "would be written outside"),
    "absolute": ("tar", tar_of(("/tmp/odd", b"x")), "would be written outside"),
    "backslashes": ("tar", tar_of(("..\\odd", b"x")), "would be written outside"),
    "symbolic link": ("tar", tar_of(special(tarfile.SYMTYPE)), "is a symbolic link"),
    "file behind a link": (
        "tar",
        tar_of(special(tarfile.SYMTYPE, "birds/odd", ".."), ("birds/odd/out", b"x")),
        "is a symbolic link",
    ),
    "hard link": ("tar", tar_of(special(tarfile.LNKTYPE, target="../archive.tar")), "is a hard link"),
    "device": ("tar", tar_of(special(tarfile.CHRTYPE)), "is a device or other special file"),
    "pipe": ("tar", tar_of(special(tarfile.FIFOTYPE)), "is a device or other special file"),
    "sparse": ("tar", tar_of(special(tarfile.GNUTYPE_SPARSE)), "special file|cannot be read"),
    "twice": ("tar", tar_of(("birds/1", b"a"), ("birds/1", b"b")), "'birds/1' is there twice"),
    "file as folder": ("tar", tar_of(("birds", b"a"), ("birds/1", b"b")), "'birds/1' is there twice, or as a file"),
    "folder as file": ("tar", tar_of(("birds/1", b"b"), ("birds", b"a")), "'birds' is there twice, or as a file"),
    "long part": ("tar", tar_of(("a" * 300, b"x"), format=tarfile.PAX_FORMAT), "a name of 300 characters"),
    "long name": ("tar", tar_of(("a/" * 2000 + "b", b"x"), format=tarfile.GNU_FORMAT), "characters is too long"),
    "huge name": ("tar", tar_of(("a" * 2**21, b"x"), format=tarfile.GNU_FORMAT), "asks for 2,097,664 bytes at once"),
    "huge header": (
        "tgz",
        tar_of(special(tarfile.XHDTYPE, size=2**30), kind="tgz"),
        r"asks for 1,073,741,824 bytes at once",
    ),
    "huge file": ("tar", tar_of(special(tarfile.REGTYPE, size=2**45)), "with 35,184,372,088,832 bytes makes it larger"),
    "negative size": ("tar", tar_of(special(tarfile.REGTYPE, size=-(2**20))), "not unpacked|cannot be read"),
    "zip leads out": ("zip", zip_of(("../odd", b"x")), "would be written outside"),
    "zip absolute": ("zip", zip_of(("/tmp/odd", b"x")), "would be written outside"),
    "zip symbolic link": ("zip", zip_of((zip_link(), b"/etc/passwd")), "is a symbolic link"),
    "zip by LZMA": ("zip", zip_of(("odd", b"x" * 99), compression=zipfile.ZIP_LZMA), "compressed by method 14"),
    "zip of zeros": ("zip", zip_of(("odd", bytes(2**21))), "makes it larger than 1,048,576 bytes"),
    "nothing": ("tar", tar_of(), "is empty"),
    "nothing at all": ("tgz", b"", "cannot be read"),
    "no archive": ("zip", b"<html>404 Not Found</html>", "File is not a zip file"),
    "a page for an archive": ("tgz", b"<html>404 Not Found</html>" * 99, "cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_reaches_nothing(opened, tmp_path, name):
    kind, content, message = HOSTILE[name]
    (tmp_path / "witness").write_text("as before")
    with pytest.raises(DataError, match=rf"archive\.{kind}: .*({message})"):
        opened(content, kind, bounds=Bounds(members=10, size=2**20))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"archive.{kind}", "target", "witness"]
    assert (tmp_path / "witness").read_text() == "as before"
    assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in tmp_path.rglob("*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_a_zip_has_twice_is_refused(opened):
    with pytest.raises(DataError, match="'birds/1' is there twice"):
        opened(zip_of(("birds/1", b"a"), ("birds/1", b"b")), "zip")


def test_a_zip_that_lies_about_a_size_is_refused(opened):
    content = zip_of(("birds/1", bytes(5000)))
    honest = (5000).to_bytes(4, "little")
    for lie in (10, 10**6):
        with pytest.raises(DataError, match="birds/1"):
            opened(content.replace(honest, lie.to_bytes(4, "little")), "zip")


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_number_and_size_are_bounded(opened, kind):
    content = made(kind, *((f"{i}", bytes(1000)) for i in range(20)))
    assert len(files_in(opened(content, kind, bounds=Bounds(members=20, size=20_000)))) == 20
    with pytest.raises(DataError, match="it holds more than 19 files"):
        opened(content, kind, bounds=Bounds(members=19, size=20_000))
    with pytest.raises(DataError, match="'19' with 1,000 bytes makes it larger than 19,999 bytes"):
        opened(content, kind, bounds=Bounds(members=20, size=19_999))


def test_data_without_end_behind_the_last_file_is_not_read_for_ever(opened):
    bomb = gzip.compress(tar_of(("birds/1", b"1")) + bytes(70 * 2**20), compresslevel=1)
    with pytest.raises(DataError, match="behind its last file there are more than 64 MiB"):
        opened(bomb, "tgz")


def test_a_disk_without_room_is_told_before_the_file_is_written(opened, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 999))
    with pytest.raises(StoreError, match="has no room for 'birds/1' with 1,000 bytes"):
        opened(tar_of(("birds/1", bytes(1000))), "tar")


def test_a_disk_that_fills_up_is_no_fault_of_the_archive(tmp_path):
    member = archives.Member("birds/1", 5, "file", 0.0, lambda: io.BytesIO(b"12345"))
    full = Path("/dev/full")  # a device of Linux on which every write says that the disk is full
    with full.open("wb", buffering=0) as file, pytest.raises(StoreError, match="/dev/full cannot be written: No space"):
        archives.copy(member, file, full)
    (tmp_path / "a.tar").write_bytes(tar_of(("birds/1", b"1")))
    with pytest.raises(StoreError, match="not there cannot be written: No such file"):
        unpack(tmp_path / "a.tar", tmp_path / "not there")


def answer(opened, content, kind) -> dict[str, bytes] | str:
    """The files of an archive, or why there are none."""
    try:
        return files_in(opened(content, kind))
    except (DataError, StoreError) as error:
        return str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_archive_is_told_or_was_whole_already(opened, kind):
    content = made(kind, *((name, random.Random(name).randbytes(len(data))) for name, data in CONTENT.items()))
    whole = files_in(opened(content, kind))
    lengths = sorted({*range(0, len(content), max(1, len(content) // 80)), len(content) - 1})
    answers = [answer(opened, content[:length], kind) for length in lengths]
    assert all(found == whole for found in answers if isinstance(found, dict))
    reasons = [found for found in answers if isinstance(found, str)]
    assert all(f"archive.{kind}" in reason for reason in reasons)
    assert len(reasons) > 55  # a .tar ends in 10 KiB of zeros, of which one block is enough


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_a_damaged_archive_never_ends_in_anything_but_an_answer(opened, tmp_path, kind):
    chance = random.Random(kind)
    content = made(kind, *CONTENT.items(), ("birds/owl/3.jpg", chance.randbytes(3000)))
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 3, 40])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        refused += isinstance(answer(opened, bytes(damaged), kind), str)
    assert refused > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"archive.{kind}", "target"]
