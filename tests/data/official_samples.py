"""The official archives in miniature: every kind of file that they hold, named and formatted as it is there.

Each function gives {path in the archive: content}; classes have two images, so that the counts are 4 and 4.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

COUNTS = {"training": 4, "test": 4}
SHOP_COUNTS = {"training": 5, "query": 4, "gallery": 3}


def picture(seed: int, kind: str = "JPEG", side: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side - 4, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    """With entries for the folders, too, as tar makes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_300_000_000
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2015, 6, 1, 12, 0, 0)), content)
    return buffer.getvalue()


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def mat(**variables: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


# CUB-200-2011 ---------------------------------------------------------------------------------------------------------

BIRDS = ["001.Black_footed_Albatross", "100.Brown_Pelican", "101.White_Pelican", "200.Common_Yellowthroat"]


def cub() -> dict[str, bytes]:
    """`CUB_200_2011.tgz`, which holds a file beside its folder."""
    images = [f"{bird}/{bird[4:]}_{i:04d}_{796100 + i}.jpg" for bird in BIRDS for i in (1, 2)]
    listed = "".join(f"{number} {path}\n" for number, path in enumerate(images, start=1))
    files = {f"CUB_200_2011/images/{path}": picture(number) for number, path in enumerate(images)}
    files["CUB_200_2011/images/001.Black_footed_Albatross/._Black_footed_Albatross_0001_796101.jpg"] = b"\0\5\26\7"
    texts = {
        "attributes.txt": "1 has_bill_shape::curved_(up_or_down)\n",
        "CUB_200_2011/README": "The Caltech-UCSD Birds-200-2011 Dataset\n",
        "CUB_200_2011/images.txt": listed,
        "CUB_200_2011/classes.txt": "".join(f"{int(bird[:3])} {bird}\n" for bird in BIRDS),
        "CUB_200_2011/image_class_labels.txt": "".join(f"{i} {int(path[:3])}\n" for i, path in enumerate(images, 1)),
        "CUB_200_2011/train_test_split.txt": "".join(f"{i} {i % 2}\n" for i in range(1, 9)),
        "CUB_200_2011/bounding_boxes.txt": "".join(f"{i} 1.0 1.0 9.0 8.0\n" for i in range(1, 9)),
        "CUB_200_2011/attributes/image_attribute_labels.txt": "1 1 0 3 27.7080\n",
        "CUB_200_2011/parts/parts.txt": "1 back\n",
    }
    return files | {name: text.encode() for name, text in texts.items()}


# CARS196 --------------------------------------------------------------------------------------------------------------

CAR_NAMES = np.array([f"Maker Model {number} 2012" for number in range(1, 197)], dtype=object).reshape(1, -1)
CAR_NAMES[0, 0], CAR_NAMES[0, 173] = "AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"
CAR_CLASSES = [98, 196, 1, 99]  # by number of the image: neither sorted nor in the order of the parts
BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]


def struct(fields: list[str], rows: list[tuple[object, ...]]) -> np.ndarray:
    return np.array(rows, dtype=[(field, "O") for field in fields]).reshape(1, -1)


def cars() -> dict[str, bytes]:
    """`car_ims.tgz` with `cars_annos.mat` beside it."""
    names = [f"car_ims/{number:06d}.jpg" for number in range(1, 9)]
    rows = [(name, 1, 2, 15, 11, CAR_CLASSES[i % 4], i % 2) for i, name in enumerate(names)]
    annotations = struct(["relative_im_path", *BOX, "class", "test"], rows)
    files = {name: picture(i) for i, name in enumerate(names)}
    return files | {"cars_annos.mat": mat(annotations=annotations, class_names=CAR_NAMES)}


def cars_devkit() -> dict[str, bytes]:
    """`cars_train.tgz`, `cars_test.tgz`, `car_devkit.tgz`, and the labels of the test part, published later."""
    files = {}
    for part, label_file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        names = [f"{number:05d}.jpg" for number in range(1, 5)]
        rows = [(1, 2, 15, 11, CAR_CLASSES[i], name) for i, name in enumerate(names)]
        files |= {f"cars_{part}/{name}": picture(10 * len(part) + i) for i, name in enumerate(names)}
        files[label_file] = mat(annotations=struct([*BOX, "class", "fname"], rows))
    unlabeled = struct([*BOX, "fname"], [(1, 2, 15, 11, f"{number:05d}.jpg") for number in range(1, 5)])
    files["devkit/cars_test_annos.mat"] = mat(annotations=unlabeled)
    files["devkit/cars_meta.mat"] = mat(class_names=CAR_NAMES)
    return files | {
        "devkit/README.txt": b"read me\n",
        "devkit/train_perfect_preds.txt": b"14\n",
        "devkit/eval_train.m": b"",
    }


# Stanford Online Products ---------------------------------------------------------------------------------------------


def sop() -> dict[str, bytes]:
    """`Stanford_Online_Products.zip`."""
    train = [f"bicycle_final/1110851{number}_{i}.JPG" for number in (22871, 22872) for i in (0, 1)]
    test = [f"toaster_final/1411851{number}_{i}.JPG" for number in (22871, 22872) for i in (0, 1)]
    files = {path: picture(number) for number, path in enumerate(train + test)}
    files["Ebay_train.txt"] = sop_list(train, image=1, product=1, kind=1)
    files["Ebay_test.txt"] = sop_list(test, image=59552, product=11319, kind=12)
    files["Ebay_info.txt"] = files["Ebay_train.txt"] + files["Ebay_test.txt"].partition(b"\n")[2]
    files["bicycle_final.txt"] = b"111085122871_0.JPG\n"
    return {f"Stanford_Online_Products/{name}": content for name, content in files.items()}


def sop_list(paths: list[str], image: int, product: int, kind: int) -> bytes:
    rows = [f"{image + i} {product + i // 2} {kind} {path}" for i, path in enumerate(paths)]
    return "\n".join(["image_id class_id super_class_id path", *rows, ""]).encode()


# In-Shop Clothes Retrieval --------------------------------------------------------------------------------------------

SHOP = [  # an item with one training image; test items whose queries and gallery images are unequal in number
    ("WOMEN/Dresses/id_00000002/02_1_front.jpg", "id_00000002", "train"),
    ("WOMEN/Dresses/id_00000002/02_2_side.jpg", "id_00000002", "train"),
    ("WOMEN/Blouses_Shirts/id_00000001/02_1_front.jpg", "id_00000001", "gallery"),
    ("WOMEN/Blouses_Shirts/id_00000001/02_2_side.jpg", "id_00000001", "query"),
    ("WOMEN/Blouses_Shirts/id_00000001/02_4_full.jpg", "id_00000001", "query"),
    ("MEN/Denim/id_00000080/01_7_additional.jpg", "id_00000080", "train"),
    ("MEN/Denim/id_00000085/01_1_front.jpg", "id_00000085", "train"),
    ("MEN/Denim/id_00000085/01_2_side.jpg", "id_00000085", "train"),
    ("MEN/Denim/id_00000089/45_7_additional.jpg", "id_00000089", "query"),
    ("MEN/Denim/id_00000089/45_1_front.jpg", "id_00000089", "query"),
    ("MEN/Denim/id_00000089/45_2_side.jpg", "id_00000089", "gallery"),
    ("MEN/Denim/id_00000089/45_3_back.jpg", "id_00000089", "gallery"),
]


def shop_images() -> dict[str, bytes]:
    """`img.zip`."""
    return {f"img/{path}": picture(number) for number, (path, _, _) in enumerate(SHOP)}


def shop_list() -> bytes:
    """`list_eval_partition.txt`, with columns of a fixed width."""
    rows = [f"img/{path:<70}{item:<12}{kind}" for path, item, kind in SHOP]
    return "\n".join([str(len(SHOP)), "image_name item_id evaluation_status", *rows, ""]).encode()


# Omniglot -------------------------------------------------------------------------------------------------------------


def drawing(number: int) -> bytes:
    """105 x 105 in black and white, the ink black."""
    image = Image.new("1", (105, 105), 1)
    image.paste(0, (9 * (number % 5), 20, 60 + 9 * (number % 5), 70))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def omniglot(part: str) -> dict[str, bytes]:
    """`images_background.zip` or `images_evaluation.zip`."""
    alphabet, first = ("Greek", 394) if part == "images_background" else ("Tibetan", 1563)
    return {
        f"{part}/{alphabet}/character{character:02d}/{first + character:04d}_{i:02d}.png": drawing(2 * character + i)
        for character in (1, 2)
        for i in (1, 2)
    }
