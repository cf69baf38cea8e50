from __future__ import annotations

import os

import numpy as np
import pytest
from scipy.io import savemat

from harness.datasets.cars196 import Cars196
from harness.datasets.cub200 import Cub200
from harness.datasets.image_folder import ImageFolder
from harness.datasets.sop import StanfordOnlineProducts
from harness.errors import DataError

FOLDERS = [f"birds/{name}/{i}.jpg" for name in ("wren", "auk", "crow", "owl", "gull") for i in range(2)]


def split_names(source) -> tuple[set[str], set[str]]:
    """Names of the training and of the test classes."""
    train = set(np.unique(source.labels[source.is_train]))
    return (
        {name for label, name in enumerate(source.class_names) if label in train},
        {name for label, name in enumerate(source.class_names) if label not in train},
    )


# image_folder ---------------------------------------------------------------------------------------------------------


def test_the_first_half_of_the_sorted_class_folders_trains(write_images):
    source = ImageFolder(write_images(FOLDERS), folder="birds").source()
    assert split_names(source) == ({"auk", "crow"}, {"gull", "owl", "wren"})
    assert len(source) == 10
    assert source.read(0).shape == (12, 16, 3)
    assert (source.side, source.resize, source.crop) == (256, 256, 224)


def test_side_resize_and_crop_can_be_chosen_and_resize_follows_the_crop(write_images):
    root = write_images(FOLDERS)
    small = ImageFolder(root, folder="birds", side=32, crop=28).source()
    assert (small.side, small.resize, small.crop) == (32, 32, 28)
    assert ImageFolder(root, folder="birds", resize=28, crop=28).source().resize == 28
    with pytest.raises(DataError, match=r"crop \(224\) is larger than resize \(128\)"):
        ImageFolder(root, folder="birds", resize=128).source()


@pytest.mark.parametrize(
    ("options", "split"),
    [
        ({"train_classes": ["owl", "wren"]}, ({"owl", "wren"}, {"auk", "crow", "gull"})),
        ({"test_classes": ["owl", "wren"]}, ({"auk", "crow", "gull"}, {"owl", "wren"})),
        ({"train_classes": ["owl", "auk"], "test_classes": ["wren", "gull"]}, ({"owl", "auk"}, {"wren", "gull"})),
    ],
)
def test_lists_of_classes_decide_the_split(write_images, options, split):
    assert split_names(ImageFolder(write_images(FOLDERS), folder="birds", **options).source()) == split


def test_hidden_files_and_files_that_are_no_images_do_not_count(write_images):
    root = write_images([*FOLDERS, "birds/auk/._0.jpg", "birds/.cache/0.jpg"])
    (root / "birds" / "auk" / "notes.txt").touch()
    (root / "birds" / "labels.txt").touch()
    assert len(ImageFolder(root, folder="birds").source()) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_classes": ["owll"]}, "has no class folder 'owll'; did you mean 'owl'"),
        ({"train_classes": ["owl", "auk"], "test_classes": ["owl", "gull"]}, "class 'owl' is in both"),
        ({"train_classes": ["owl"]}, "there are 1 training classes with 2 images"),
        ({"folder": "bird"}, "there is no bird in the data folder .*, which holds birds"),
        ({"folder": "birds/auk/0.jpg"}, "is not a folder"),
        ({"folder": "birds/auk"}, "is empty: it holds no class folders"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(write_images, options, message):
    with pytest.raises(DataError, match=message):
        ImageFolder(write_images(FOLDERS), **({"folder": "birds"} | options)).source()


def test_an_empty_class_folder_and_a_class_of_one_image_are_named(write_images):
    root = write_images([*FOLDERS, "birds/ibis/0.jpg"])
    with pytest.raises(DataError, match="test class 'ibis' has only one image"):
        ImageFolder(root, folder="birds").source()
    (root / "birds" / "ibis" / "0.jpg").unlink()
    with pytest.raises(DataError, match="ibis is empty: it holds no images"):
        ImageFolder(root, folder="birds").source()


def test_the_digest_follows_names_sizes_and_times(write_images):
    root = write_images(FOLDERS)
    before = ImageFolder(root, folder="birds").source().digest
    assert ImageFolder(root, folder="birds").source().digest == before
    os.utime(root / FOLDERS[0], (1, 1))
    assert ImageFolder(root, folder="birds").source().digest != before


# The benchmarks of the literature -------------------------------------------------------------------------------------


CUB = [
    f"{number:03d}.{name}/{name}_{i:04d}.jpg"
    for number, name in ((2, "Wren"), (1, "Auk"), (11, "Owl"), (9, "Gull"))
    for i in range(2)
]


@pytest.fixture
def small_cub(monkeypatch):
    monkeypatch.setattr(Cub200, "counts", {"training": 4, "test": 4})
    monkeypatch.setattr(Cub200, "last_training_class", 2)


@pytest.mark.parametrize("place", ["cub200/images", "CUB_200_2011/images", "cub200/CUB_200_2011/images"])
@pytest.mark.usefixtures("small_cub")
def test_cub200_is_found_in_the_official_and_in_the_published_layout(write_images, place):
    source = Cub200(write_images([f"{place}/{file}" for file in CUB])).source()
    assert source.class_names == ("001.Auk", "002.Wren", "009.Gull", "011.Owl")
    assert source.is_train.tolist() == [True] * 4 + [False] * 4
    assert source.names[0].endswith("001.Auk/Auk_0000.jpg")


def test_cub200_tells_how_many_images_it_found_and_which_is_missing(write_images):
    root = write_images([f"CUB_200_2011/images/{file}" for file in CUB])
    with pytest.raises(DataError, match=r"holds 8 training and 0 test images; right would be 5,864 and 5,924$"):
        Cub200(root).source()
    (root / "CUB_200_2011" / "images.txt").write_text(f"1 {CUB[0]}\n2 003.Ibis/Ibis_0001.jpg\n")
    with pytest.raises(DataError, match=r"1 that images\.txt lists are missing, the first is 003\.Ibis/Ibis_0001\.jpg"):
        Cub200(root).source()


@pytest.fixture
def small_cars(monkeypatch):
    monkeypatch.setattr(Cars196, "counts", {"training": 4, "test": 4})
    monkeypatch.setattr(Cars196, "last_training_class", 2)


MODELS = ["AM General Hummer", "Acura RL", "Audi/TT", "BMW M3"]


def annotations(names: list[str], labels: list[int], path_field: str) -> np.ndarray:
    fields = [("bbox_x1", "O"), ("class", "O"), (path_field, "O")]
    rows = [(5, label, name) for name, label in zip(names, labels, strict=True)]
    return np.array(rows, dtype=fields).reshape(1, -1)


@pytest.mark.parametrize("prefix", ["", "cars196/"])
@pytest.mark.usefixtures("small_cars")
def test_cars196_is_read_from_its_one_list(write_images, prefix):
    files = [f"car_ims/{i:06d}.jpg" for i in range(8)]
    root = write_images([prefix + file for file in files])
    listed = annotations(files, [4, 3, 2, 1, 1, 2, 3, 4], "relative_im_path")
    names = np.array(MODELS, dtype=object).reshape(1, -1)
    savemat(root / prefix / "cars_annos.mat", {"annotations": listed, "class_names": names})
    source = Cars196(root).source()
    assert source.class_names == ("001 AM General Hummer", "002 Acura RL", "003 Audi/TT", "004 BMW M3")
    assert source.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [name[-10:-4] for name in source.names] == [f"{i:06d}" for i in (3, 4, 2, 5, 1, 6, 0, 7)]


@pytest.mark.parametrize("labels_beside_devkit", [True, False])
@pytest.mark.usefixtures("small_cars")
def test_cars196_is_read_from_the_devkit_whatever_its_own_split(write_images, labels_beside_devkit):
    files = [f"{i:05d}.jpg" for i in range(1, 5)]
    root = write_images([f"{folder}/{file}" for folder in ("cars_train", "cars_test") for file in files])
    devkit = root / "devkit"
    devkit.mkdir()
    savemat(devkit / "cars_meta.mat", {"class_names": np.array(MODELS, dtype=object).reshape(1, -1)})
    for place, name in (
        (devkit, "cars_train_annos.mat"),
        (root if labels_beside_devkit else devkit, "cars_test_annos_withlabels.mat"),
    ):
        savemat(place / name, {"annotations": annotations(files, [1, 2, 3, 4], "fname")})
    source = Cars196(root).source()
    assert source.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert source.is_train.tolist() == [True] * 4 + [False] * 4
    assert source.names[0].endswith("cars_test/00001.jpg")
    assert source.names[1].endswith("cars_train/00001.jpg")


@pytest.mark.usefixtures("small_cars")
def test_cars196_is_read_from_class_folders_in_the_order_of_their_names(write_images):
    names = ["Acura RL", "AM General Hummer", "Audi TT", "BMW M3"]
    source = Cars196(write_images([f"cars196/images/{name}/{i}.jpg" for name in names for i in range(2)])).source()
    assert source.class_names == ("001 AM General Hummer", "002 Acura RL", "003 Audi TT", "004 BMW M3")


@pytest.mark.usefixtures("small_cars")
def test_cars196_without_its_labels_or_with_damaged_ones_is_refused(write_images):
    root = write_images([f"cars_train/{i}.jpg" for i in range(8)])
    (root / "devkit").mkdir()
    with pytest.raises(DataError, match=r"cars_meta\.mat does not exist"):
        Cars196(root).source()
    (root / "devkit" / "cars_meta.mat").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"cars_meta\.mat is not a readable MATLAB file"):
        Cars196(root).source()
    savemat(root / "devkit" / "cars_meta.mat", {"other": 1})
    with pytest.raises(DataError, match="holds no 'class_names' but"):
        Cars196(root).source()


SOP = [f"bicycle_final/{number}_{i}.JPG" for number in (1111, 2222) for i in range(2)]
SOP += [f"sofa_final/{number}_{i}.JPG" for number in (3333, 4444) for i in range(2)]


def write_sop_list(file, paths, first) -> None:
    rows = [f"{i} {first + i // 2} 1 {path}" for i, path in enumerate(paths)]
    file.write_text("\n".join(["image_id class_id super_class_id path", *rows]) + "\n")


@pytest.mark.parametrize(
    ("images", "lists"),
    [
        ("Stanford_Online_Products", "Stanford_Online_Products"),
        ("online_products/images", "online_products/Info_Files"),
    ],
)
def test_sop_is_read_from_its_two_lists_in_both_layouts(write_images, monkeypatch, images, lists):
    monkeypatch.setattr(StanfordOnlineProducts, "counts", {"training": 4, "test": 4})
    root = write_images([f"{images}/{file}" for file in SOP])
    (root / lists).mkdir(exist_ok=True)
    write_sop_list(root / lists / "Ebay_train.txt", SOP[:4], first=1)
    write_sop_list(root / lists / "Ebay_test.txt", SOP[4:], first=11319)
    source = StanfordOnlineProducts(root).source()
    assert source.class_names == ("1", "2", "11319", "11320")
    assert source.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert source.is_train.tolist() == [True] * 4 + [False] * 4
    (root / images / SOP[6]).unlink()
    with pytest.raises(DataError, match=r"4444_0\.JPG: the image is listed but cannot be read"):
        StanfordOnlineProducts(root).source()


def test_sop_lists_that_are_wrong_are_named_with_the_line(write_images):
    root = write_images([f"Stanford_Online_Products/{file}" for file in SOP])
    place = root / "Stanford_Online_Products"
    with pytest.raises(DataError, match=r"Ebay_train\.txt cannot be read"):
        StanfordOnlineProducts(root).source()
    write_sop_list(place / "Ebay_train.txt", SOP[:4], first=1)
    write_sop_list(place / "Ebay_test.txt", SOP[4:], first=3)
    with pytest.raises(DataError, match=r"holds 4 training and 4 test images; right would be 59,551 and 60,502"):
        StanfordOnlineProducts(root).source()
    (place / "Ebay_test.txt").write_text("image_id class_id super_class_id path\n1 one 1 a.JPG\n")
    with pytest.raises(DataError, match=r"Ebay_test\.txt:2: '1 one 1 a\.JPG' is not"):
        StanfordOnlineProducts(root).source()
