"""Every benchmark is found and split the same in the layout of its archives and in those of the published codes."""

import hashlib

import numpy as np
import official_samples as samples
import pytest

from harness import photos
from harness.datasets.cars196 import Cars196
from harness.datasets.cub200 import Cub200
from harness.datasets.in_shop import InShop
from harness.datasets.omniglot import Omniglot
from harness.datasets.sop import StanfordOnlineProducts
from harness.errors import DataError
from harness.registry import DATASETS


@pytest.fixture(autouse=True)
def small_counts(monkeypatch):
    """The samples have two images a class; what the real counts are is the claim of a test below."""
    for part in (Cub200, Cars196, StanfordOnlineProducts, Omniglot):
        monkeypatch.setattr(part, "counts", samples.COUNTS)
    monkeypatch.setattr(InShop, "counts", samples.SHOP_COUNTS)


def moved(files, old, new):
    return {name.replace(old, new, 1): content for name, content in files.items() if name.startswith(old)}


def below(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def omniglot():
    return samples.omniglot("images_background") | samples.omniglot("images_evaluation")


def shop(listing, images):
    return below(images, samples.shop_images()) | {f"{listing}/list_eval_partition.txt": samples.shop_list()}


CARS = ["001 AM General Hummer SUV 2000", *(f"{number:03d} Maker Model {number} 2012" for number in (98, 99, 196))]
CAR_FOLDERS = [f"{number:03d} Model" for number in range(1, 5)]
IN_SHOP = ["id_00000002", "id_00000080", "id_00000085", "id_00000001", "id_00000089"]

LAYOUTS = {
    "cub200 as unpacked": ("cub200", samples.cub(), samples.BIRDS),
    "cub200 in its folder": ("cub200", below("cub200", samples.cub()), samples.BIRDS),
    "cub200 of published codes": (
        "cub200",
        moved(samples.cub(), "CUB_200_2011/images", "cub200/images"),
        samples.BIRDS,
    ),
    "cars196 as unpacked": ("cars196", samples.cars(), CARS),
    "cars196 in its folder": ("cars196", below("cars196", samples.cars()), CARS),
    "cars196 devkit as unpacked": ("cars196", samples.cars_devkit(), CARS),
    "cars196 devkit of torchvision": ("cars196", below("stanford_cars", samples.cars_devkit()), CARS),
    "sop as unpacked": ("sop", samples.sop(), ["1", "2", "11319", "11320"]),
    "sop in its folder": ("sop", below("sop", samples.sop()), ["1", "2", "11319", "11320"]),
    "sop of published codes": (
        "sop",
        moved(samples.sop(), "Stanford_Online_Products/", "online_products/images/")
        | moved(samples.sop(), "Stanford_Online_Products/Ebay", "online_products/Info_Files/Ebay"),
        ["1", "2", "11319", "11320"],
    ),
    "in_shop as unpacked": ("in_shop", shop("in_shop", "in_shop"), IN_SHOP),
    "in_shop as in its drive": (
        "in_shop",
        shop("In-shop Clothes Retrieval Benchmark/Eval", "In-shop Clothes Retrieval Benchmark/Img"),
        IN_SHOP,
    ),
    "in_shop of published codes": ("in_shop", shop("Inshop_Clothes/Eval", "Inshop_Clothes/Img"), IN_SHOP),
    "in_shop of other codes": ("in_shop", shop("in_shop/Eval", "in_shop"), IN_SHOP),
    "omniglot as unpacked": (
        "omniglot",
        below("omniglot", omniglot()),
        ["Greek/character01", "Greek/character02", "Tibetan/character01", "Tibetan/character02"],
    ),
    "omniglot of torchvision": (
        "omniglot",
        below("omniglot-py", omniglot() | {"images_background.zip": b"", "images_evaluation.zip": b""}),
        ["Greek/character01", "Greek/character02", "Tibetan/character01", "Tibetan/character02"],
    ),
    "omniglot as cloned": (
        "omniglot",
        below("omniglot/python", omniglot()),
        ["Greek/character01", "Greek/character02", "Tibetan/character01", "Tibetan/character02"],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_split_of_the_literature(tmp_path, layout):
    name, files, classes = LAYOUTS[layout]
    source = DATASETS.build(DATASETS.check(name), data_root=samples.write(tmp_path, files)).source()
    assert list(source.class_names) == classes
    trains = {source.class_names[label] for label in source.labels[source.is_train]}
    assert trains == set(classes[: len(classes) - 2])
    assert np.unique(source.labels[~source.is_train]).tolist() == [len(classes) - 2, len(classes) - 1]
    assert all(source.read(i).ndim == 3 for i in range(len(source)))


def test_images_of_cars196_get_the_labels_of_their_annotations(tmp_path):
    root = samples.write(tmp_path, samples.cars())
    source = Cars196(root).source()
    by_file = {
        name[-10:]: source.class_names[label][:3] for name, label in zip(source.names, source.labels, strict=True)
    }
    numbers = [f"{number:03d}" for number in samples.CAR_CLASSES]
    assert by_file == {f"{i:06d}.jpg": numbers[(i - 1) % 4] for i in range(1, 9)}


def test_ink_of_omniglot_is_bright_on_black_and_grey(tmp_path):
    source = Omniglot(samples.write(tmp_path, below("omniglot", omniglot()))).source()
    image = source.read(0)
    assert (image.shape, source.channels, source.side, source.crop) == ((105, 105, 1), 1, 28, 28)
    assert set(np.unique(image)) == {0, 255}
    assert (image == 255).sum() == 60 * 50


@pytest.mark.parametrize(("side", "crop", "resize"), [(256, 224, 256), (320, 280, 320), (448, 392, 448)])
@pytest.mark.parametrize(
    "layout", ["cub200 as unpacked", "cars196 as unpacked", "sop as unpacked", "in_shop as unpacked"]
)
def test_the_side_of_the_bank_is_an_option_and_part_of_the_identity(tmp_path, layout, side, crop, resize):
    name, files, _ = LAYOUTS[layout]
    choice = DATASETS.check(name, {"side": side, "crop": crop})
    assert choice.options["side"] == side
    source = DATASETS.build(choice, data_root=samples.write(tmp_path, files)).source()
    assert (source.side, source.crop, source.resize) == (side, crop, resize)


# What is missing ------------------------------------------------------------------------------------------------------

LOSSES = [
    ("cub200 as unpacked", "CUB_200_2011/images/200", "1 that images.txt lists are missing, the first is 200.Common"),
    ("cars196 as unpacked", "car_ims/000003", "000003.jpg: the image is listed but cannot be read (No such file"),
    ("cars196 as unpacked", "car_ims", "car_ims/000003.jpg: the image is listed but cannot be read (No such file or "
     "directory); so are 7 more of 8"),
    ("cars196 as unpacked", "cars_annos", "--from car_ims.tgz --from cars_annos.mat"),
    ("cars196 devkit as unpacked", "cars_test_annos_w", "cars_test_annos_withlabels.mat does not exist"),
    ("cars196 devkit as unpacked", "cars_train/00002", "cars_train/00002.jpg: the image is listed but cannot be read"),
    ("sop as unpacked", "Stanford_Online_Products/toaster_final/1411851", "so are 3 more of 8"),
    ("sop as unpacked", "Stanford_Online_Products/Ebay_test", "Ebay_test.txt cannot be read"),
    ("in_shop as unpacked", "in_shop/list", "--from img.zip --from list_eval_partition.txt"),
    ("in_shop as unpacked", "in_shop/img/MEN/Denim/id_00000089/45_1", "45_1_front.jpg: the image is listed but cannot"),
    ("omniglot as unpacked", "omniglot/images_evaluation", "there is no folder"),
    ("omniglot as unpacked", "omniglot/images_background/Greek/character02/0396_02", "holds 3 training and 4 test"),
    ("omniglot as unpacked", "omniglot", "`harness prepare omniglot` downloads it"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "lost", "message"), LOSSES, ids=[f"{lost[0]}: {lost[1]}" for lost in LOSSES])
def test_what_is_missing_is_named(tmp_path, layout, lost, message):
    name, files, _ = LAYOUTS[layout]
    kept = {path: content for path, content in files.items() if not path.startswith(lost)}
    assert len(kept) < len(files)
    if lost.startswith("CUB"):  # one image, not the folder
        kept |= {path: content for path, content in files.items() if path.startswith(lost) and "_0001_" in path}
    with pytest.raises(DataError) as caught:
        DATASETS.build(DATASETS.check(name), data_root=samples.write(tmp_path, kept)).source()
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"12\nimage_name item_id\n",
            "does not begin with a number and the line 'image_name item_id evaluation_status'",
        ),
        (b"", "does not begin with a number"),
        (b"\xff\xfe", "cannot be read"),
        (b"1\nimage_name item_id evaluation_status\na.jpg id_1 valid\n", ":3: 'a.jpg id_1 valid' is not"),
        (samples.shop_list().replace(b"12\n", b"52712\n", 1), "lists 12 images, but its first line says '52712'"),
        (samples.shop_list()[:-60], r"is not 'image_name|lists 11 images"),
        (samples.shop_list().replace(b"gallery", b"query  "), "holds 5 training and 7 query and 0 gallery images"),
    ],
)
def test_a_list_of_in_shop_that_is_wrong_is_named(tmp_path, content, message):
    samples.write(tmp_path, {"in_shop/list_eval_partition.txt": content})
    with pytest.raises(DataError, match=rf"list_eval_partition\.txt.*{message}"):
        InShop(tmp_path).source()


@pytest.mark.parametrize(
    "variables",
    [
        {"annotations": np.zeros((1, 3)), "class_names": samples.CAR_NAMES},
        {"annotations": samples.struct(["class"], [(1,)]), "class_names": samples.CAR_NAMES},
        {"annotations": samples.struct(["class", "relative_im_path"], [(197, "a")]), "class_names": samples.CAR_NAMES},
        {"annotations": samples.struct(["class", "relative_im_path"], [("x", "a")]), "class_names": samples.CAR_NAMES},
    ],
    ids=["numbers", "no path", "no such class", "no number"],
)
def test_annotations_of_cars196_that_are_none_are_named(tmp_path, variables):
    samples.write(tmp_path, {"cars196/cars_annos.mat": samples.mat(**variables)})
    with pytest.raises(DataError, match=r"cars_annos\.mat does not hold the official annotations"):
        Cars196(tmp_path).source()


# The real data sets ---------------------------------------------------------------------------------------------------


def test_the_counts_are_those_of_the_literature(monkeypatch):
    monkeypatch.undo()
    assert Cub200.counts == {"training": 5864, "test": 5924}
    assert Cars196.counts == {"training": 8054, "test": 8131}
    assert StanfordOnlineProducts.counts == {"training": 59551, "test": 60502}
    assert InShop.counts == {"training": 25882, "query": 14218, "gallery": 12612}
    assert Omniglot.counts == {"training": 964 * 20, "test": 659 * 20}


def test_the_class_list_of_the_whole_of_sop_has_its_digest(tmp_path, monkeypatch):
    products = {"train": range(1, 11319), "test": range(11319, 22635)}
    for part, numbers in products.items():
        paths = [f"sofa_final/{number}_{i}.JPG" for number in numbers for i in (0, 1)]
        samples.write(tmp_path, {f"sop/Ebay_{part}.txt": samples.sop_list(paths, 1, numbers.start, 1)})
    monkeypatch.setattr(StanfordOnlineProducts, "counts", {"training": 2 * 11318, "test": 2 * 11316})
    monkeypatch.setattr(photos, "_digest_of_files", lambda root, paths: "")
    source = StanfordOnlineProducts(tmp_path).source()
    assert len(source.class_names) == 11318 + 11316
    assert source.split_digest == digest_of([str(n) for n in products["train"]], [str(n) for n in products["test"]])
    assert source.split_digest == "1f7f763a0f973c68f1aa7bbe241f050fd524529bfdd0a719d22b8437110933fc"


def test_the_class_list_of_the_whole_of_omniglot_has_its_digest(tmp_path, monkeypatch):
    names = {
        part: [f"{alphabet}/character{i:02d}" for alphabet, size in sizes.items() for i in range(1, size + 1)]
        for part, sizes in ALPHABETS.items()
    }
    assert [len(found) for found in names.values()] == [964, 659]
    for part, found in names.items():
        for name in found:
            folder = tmp_path / "omniglot" / part / name
            folder.mkdir(parents=True)
            (folder / "1.png").touch()
            (folder / "2.png").touch()
    monkeypatch.setattr(Omniglot, "counts", {"training": 2 * 964, "test": 2 * 659})
    source = Omniglot(tmp_path).source()
    assert source.split_digest == digest_of(*names.values())
    # The digest of `class_names` in the .npz in which the same images are passed on as one file.
    assert source.split_digest == "870268009a04babaa53a8b490e49336b09df2eeed400d20a721a04d9d759b0b6"


def digest_of(train: list[str], test: list[str]) -> str:
    return hashlib.sha256("\n\n".join("\n".join(sorted(names)) for names in (train, test)).encode()).hexdigest()


ALPHABETS = {
    "images_background": {
        "Alphabet_of_the_Magi": 20, "Anglo-Saxon_Futhorc": 29, "Arcadian": 26, "Armenian": 41,
        "Asomtavruli_(Georgian)": 40, "Balinese": 24, "Bengali": 46, "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14,
        "Braille": 26, "Burmese_(Myanmar)": 34, "Cyrillic": 33, "Early_Aramaic": 22, "Futurama": 26, "Grantha": 43,
        "Greek": 24, "Gujarati": 48, "Hebrew": 22, "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
        "Japanese_(hiragana)": 52, "Japanese_(katakana)": 47, "Korean": 40, "Latin": 26, "Malay_(Jawi_-_Arabic)": 40,
        "Mkhedruli_(Georgian)": 41, "N_Ko": 33, "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14, "Sanskrit": 42,
        "Syriac_(Estrangelo)": 23, "Tagalog": 17, "Tifinagh": 55,
    },
    "images_evaluation": {
        "Angelic": 20, "Atemayar_Qelisayer": 26, "Atlantean": 26, "Aurek-Besh": 26, "Avesta": 26, "Ge_ez": 26,
        "Glagolitic": 45, "Gurmukhi": 45, "Kannada": 41, "Keble": 26, "Malayalam": 47, "Manipuri": 40, "Mongolian": 30,
        "Old_Church_Slavonic_(Cyrillic)": 45, "Oriya": 46, "Sylheti": 28, "Syriac_(Serto)": 23, "Tengwar": 25,
        "Tibetan": 42, "ULOG": 26,
    },
}  # fmt: skip
