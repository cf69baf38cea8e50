"""`harness prepare`: official archives, or a download, become a data set and its bank, or nothing at all."""

import fcntl
import hashlib
import os
import shutil
import sys
import urllib.error
from pathlib import Path

import official_samples as samples
import pytest
import torchvision.datasets.utils

from harness.archives import md5_of
from harness.cli import main
from harness.datasets.cars196 import Cars196
from harness.datasets.cub200 import Cub200
from harness.datasets.in_shop import InShop
from harness.datasets.omniglot import Omniglot
from harness.datasets.sop import StanfordOnlineProducts
from harness.registry import DATASETS

PARTS = {"cub200": Cub200, "cars196": Cars196, "sop": StanfordOnlineProducts, "in_shop": InShop, "omniglot": Omniglot}
SMALL = ["--set", "side=16", "--set", "crop=14"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Miniatures have other counts and digests than what is published."""
    for name, part in PARTS.items():
        monkeypatch.setattr(part, "counts", samples.SHOP_COUNTS if name == "in_shop" else samples.COUNTS)
        monkeypatch.setattr(part, "archives", {})


@pytest.fixture
def prepare(monkeypatch, capsys, tmp_path):
    """Runs `harness prepare ARGUMENTS` in an empty folder; gives the exit code and what was said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness", "prepare", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, capsys.readouterr().err

    return run


def part_of(files, *beginnings):
    return {name: content for name, content in files.items() if name.startswith(beginnings)}


CARS, DEVKIT = samples.cars(), samples.cars_devkit()
ARRIVALS = {
    "cub200": ("cub200", {"CUB_200_2011.tgz": samples.tarred(samples.cub())}),
    "cub200 without compression": ("cub200", {"CUB_200_2011.tar": samples.tarred(samples.cub(), "w")}),
    "cub200 as zip": ("cub200", {"CUB_200_2011.zip": samples.zipped(samples.cub())}),
    "cars196": (
        "cars196",
        {"car_ims.tgz": samples.tarred(part_of(CARS, "car_ims")), "cars_annos.mat": CARS["cars_annos.mat"]},
    ),
    "cars196 in parts": (
        "cars196",
        {
            "cars_train.tgz": samples.tarred(part_of(DEVKIT, "cars_train")),
            "cars_test.tgz": samples.tarred(part_of(DEVKIT, "cars_test/")),
            "car_devkit.tgz": samples.tarred(part_of(DEVKIT, "devkit")),
            "cars_test_annos_withlabels.mat": DEVKIT["cars_test_annos_withlabels.mat"],
        },
    ),
    "sop": ("sop", {"Stanford_Online_Products.zip": samples.zipped(samples.sop())}),
    "in_shop": (
        "in_shop",
        {"img.zip": samples.zipped(samples.shop_images()), "list_eval_partition.txt": samples.shop_list()},
    ),
    "omniglot": (
        "omniglot",
        {f"{name}.zip": samples.zipped(samples.omniglot(name)) for name in ("images_background", "images_evaluation")},
    ),
}


def given(files) -> list[str]:
    """Archives in the folder `downloads`, as arguments of the command."""
    samples.write(Path("downloads"), files)
    return [argument for name in files for argument in ("--from", f"downloads/{name}")]


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_official_archives_become_a_data_set_and_its_bank(prepare, arrival):
    name, files = ARRIVALS[arrival]
    code, said = prepare(name, *given(files), *SMALL)
    assert code == 0, said
    assert f"{name}: unpacked in data/{name}" in said
    assert f"{12 if name == 'in_shop' else 8} images of {5 if name == 'in_shop' else 4} classes" in said
    assert all(f"{file}: MD5 {md5_of(Path('downloads') / file)}" in said for file in files)
    assert [path.name for path in Path("data").iterdir()] == [name]
    assert prepare(name, *SMALL)[0] == 0  # is found again, without the archives


def test_the_digest_of_a_data_set_is_the_same_wherever_it_is_unpacked(prepare):
    arguments = given(ARRIVALS["cub200"][1])
    digests = set()
    for folder in ("first", "second"):
        assert prepare("cub200", *arguments, *SMALL, "--data", folder)[0] == 0
        digests.add(Cub200(Path(folder)).source().digest)
    assert len(digests) == 1


def refused(prepare, arguments, *messages):
    """What was there before is there after, and nothing else."""
    before = sorted(Path("data").rglob("*"))
    code, said = prepare(*arguments, *SMALL)
    assert code == 2, said
    assert all(message in said for message in messages), said
    assert "Traceback" not in said
    assert sorted(Path("data").rglob("*")) == before
    assert not list(Path("results").rglob("bank-*"))


def test_an_archive_that_is_not_what_was_published_is_refused_before_it_is_unpacked(prepare, monkeypatch):
    monkeypatch.setattr(Cub200, "archives", {"CUB_200_2011.tgz": "97eceeb196236b17998738112f37df78"})
    arguments = given(ARRIVALS["cub200"][1])
    found = md5_of(Path("downloads/CUB_200_2011.tgz"))
    refused(prepare, ["cub200", *arguments], found, "97eceeb196236b17998738112f37df78", "incomplete or was changed")
    monkeypatch.setattr(Cub200, "archives", {"CUB_200_2011.tgz": found})
    code, said = prepare("cub200", *arguments, *SMALL)
    assert code == 0
    assert f"MD5 {found}, as published" in said


def test_a_truncated_archive_leaves_nothing(prepare):
    content = ARRIVALS["cub200"][1]["CUB_200_2011.tgz"]
    refused(prepare, ["cub200", *given({"CUB_200_2011.tgz": content[: len(content) // 2]})], "CUB_200_2011.tgz: ")


def test_an_archive_that_does_not_hold_all_leaves_nothing_and_names_what_is_missing(prepare):
    files = ARRIVALS["cars196"][1]
    refused(prepare, ["cars196", *given({"car_ims.tgz": files["car_ims.tgz"]})], "cars_annos.mat", "nothing of it was")
    pictures = part_of(CARS, "car_ims/00000")
    pictures.pop("car_ims/000005.jpg")
    missing = {"car_ims.tgz": samples.tarred(pictures), "cars_annos.mat": files["cars_annos.mat"]}
    refused(prepare, ["cars196", *given(missing)], "data/cars196/car_ims/000005.jpg: the image is listed but")


def test_a_wrong_number_of_images_leaves_nothing(prepare, monkeypatch):
    monkeypatch.setattr(Cub200, "counts", {"training": 5864, "test": 5924})
    refused(prepare, ["cub200", *given(ARRIVALS["cub200"][1])], "holds 4 training and 4 test images", "5,864 and 5,924")


def test_a_hostile_archive_leaves_nothing(prepare):
    refused(prepare, ["sop", *given({"a.zip": samples.zipped({"../../odd": b"x"})})], "'../../odd' would be written")
    assert not Path("odd").exists()


def test_a_data_set_that_is_there_is_not_overwritten(prepare):
    arguments = ["cub200", *given(ARRIVALS["cub200"][1])]
    assert prepare(*arguments, *SMALL)[0] == 0
    (witness := Path("data/cub200/witness")).write_text("as before")
    shutil.rmtree("results")
    refused(prepare, arguments, "data/cub200 is there already", "leave out --from to use it")
    assert witness.read_text() == "as before"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cub200", "--from", "gone.tgz"], "gone.tgz is not there"),
        (["cub200", "--from", "."], ". is not a file"),
        (["cub200", "--from", "notes.pdf"], "notes.pdf is no archive; right would be one of .tar .tar.gz .tgz .zip"),
        (["glyphs", "--from", "notes.pdf"], "--from is for cars196, cub200, in_shop, omniglot, sop"),
        (["cub", "--from", "notes.pdf"], "did you mean 'cub200'"),
    ],
)
def test_what_cannot_be_unpacked_is_told(prepare, arguments, message):
    Path("notes.pdf").write_bytes(b"%PDF")
    code, said = prepare(*arguments)
    assert code == 2
    assert message in said


def test_what_a_killed_process_left_is_cleared_away_but_not_what_another_is_writing(prepare):
    for name in (".cub200-killed", ".cub200-living", ".sop-other"):
        samples.write(Path("data") / name, {"cub200/half": b""})
    held = os.open("data/.cub200-living", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    code, said = prepare("cub200", *given(ARRIVALS["cub200"][1]), *SMALL)
    os.close(held)
    assert code == 0, said
    assert sorted(path.name for path in Path("data").iterdir()) == [".cub200-living", ".sop-other", "cub200"]


def test_a_data_folder_that_cannot_be_made_is_told(prepare):
    Path("file").touch()
    code, said = prepare("cub200", *given(ARRIVALS["cub200"][1]), "--data", "file/data")
    assert code == 3
    assert "the data folder file/data cannot be written" in said


# Omniglot, which may be downloaded ------------------------------------------------------------------------------------


def test_omniglot_is_downloaded_once(prepare, monkeypatch):
    archives = ARRIVALS["omniglot"][1]
    asked = []

    def download(url, root, filename, md5):
        asked.append((url.startswith("https://"), url.endswith(f"/{filename}"), md5))
        samples.write(Path(root), {filename: archives[filename]})

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download)
    digests = {name: hashlib.md5(content).hexdigest() for name, content in archives.items()}
    monkeypatch.setattr(Omniglot, "archives", digests)
    code, said = prepare("omniglot")
    assert code == 0, said
    assert "omniglot is not in data and is downloaded" in said
    assert "8 images of 4 classes" in said
    assert asked == [(True, True, digest) for digest in digests.values()]
    assert sorted(path.name for path in Path("data").rglob("images_*")) == ["images_background", "images_evaluation"]
    assert prepare("omniglot")[0] == 0
    assert len(asked) == 2


def test_the_digests_of_omniglot_are_torchvisions(monkeypatch):
    monkeypatch.undo()
    published = torchvision.datasets.Omniglot.zips_md5
    assert Omniglot.archives == {f"{name}.zip": digest for name, digest in published.items()}


def test_without_a_network_the_way_around_is_told(prepare, monkeypatch):
    def download(url, root, filename, md5):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download)
    monkeypatch.setattr(Omniglot, "archives", {"images_background.zip": "a", "images_evaluation.zip": "b"})
    code, said = prepare("omniglot")
    assert code == 3
    assert "omniglot is not in data and is downloaded" in said
    assert "cannot be downloaded (<urlopen error Name or service not known>)" in said
    assert "harness prepare omniglot --from images_background.zip --from images_evaluation.zip" in said
    assert not list(Path("data").iterdir())


def test_only_omniglot_may_be_downloaded():
    assert [name for name in DATASETS.names() if hasattr(DATASETS.get(name), "fetch")] == ["omniglot"]
