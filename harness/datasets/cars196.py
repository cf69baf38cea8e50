"""CARS196 (Krause et al., 2013): 98 car models train, 98 others test (Song et al., 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from harness.errors import DataError
from harness.images import ImageSource, OnBadImage, Progress, silent
from harness.photos import Photos, check_counts, find_in, image_files, photo_source
from harness.registry import DATASETS

Rows = list[tuple[int, str]]
"""(number of the class from 1, path of the image) of every image."""


@DATASETS.register("cars196")
class Cars196:
    """Models 1 to 98 train, the rest test, whatever the official split into train and test was.

    In `cars196`, `stanford_cars` or right in the data folder: `car_ims` + `cars_annos.mat`; or `cars_train`,
    `cars_test` + `devkit` with both annotation files. Or `cars196/images/<class>`, of the published codes, whose class
    folders must sort in the official order.
    """

    revision = 1
    counts: ClassVar[dict[str, int]] = {"training": 8054, "test": 8131}
    last_training_class: ClassVar[int] = 98
    places: ClassVar[tuple[str, ...]] = (
        "cars196/cars_annos.mat",
        "cars196/devkit",
        "cars196/images",
        "stanford_cars/cars_annos.mat",
        "stanford_cars/devkit",
        "cars_annos.mat",
        "devkit",
    )
    archives: ClassVar[dict[str, str]] = {
        "car_ims.tgz": "d5c8f0aa497503f355e17dc7886c3f14",
        "cars_annos.mat": "b407c6086d669747186bd1d764ff9dbc",
        "cars_train.tgz": "065e5b463ae28d29e77c1b4b166cfe61",
        "cars_test.tgz": "4ce7ebf6a94d07f1952d94dd34c4d501",
        "car_devkit.tgz": "c3b158d763b6e2245038c8ad08e45376",
        "cars_test_annos_withlabels.mat": "b0a2b23655a3edd16d84508592a98d10",
    }

    def __init__(
        self,
        data_root: Path,
        *,
        side: Annotated[int, Field(ge=1)] = 256,
        resize: Annotated[int, Field(ge=1)] | None = None,
        crop: Annotated[int, Field(ge=1)] = 224,
        on_bad_image: OnBadImage = "error",
    ) -> None:
        self.data_root = Path(data_root)
        self.photos = Photos(side, resize, crop, on_bad_image)

    def source(self, progress: Progress = silent) -> ImageSource:
        """Lists the files by model and then by name; decodes none."""
        layouts = {"cars_annos.mat": _one_list, "devkit": _devkit, "images": _class_folders}
        hint = "; `harness prepare cars196 --from car_ims.tgz --from cars_annos.mat` unpacks the official archive"
        found = find_in(self.data_root, self.places, "cars196", hint)
        try:
            rows, names = layouts[found.name](found.parent)
            classes = [f"{number:03d} {names[number - 1]}" for number, _ in sorted(rows)]
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"cars196: {found} does not hold the official annotations ({error})") from error
        rows.sort()
        is_train = [number <= self.last_training_class for number, _ in rows]
        counts = {"training": sum(is_train), "test": len(is_train) - sum(is_train)}
        check_counts("cars196", found.parent, counts, self.counts)
        return photo_source(found.parent, [path for _, path in rows], classes, is_train, self.photos)


def _one_list(root: Path) -> tuple[Rows, list[str]]:
    content = read_mat(root / "cars_annos.mat", "annotations", "class_names")
    rows = [(int(row["class"].item()), str(row["relative_im_path"].item())) for row in content["annotations"].flat]
    return rows, [str(name.item()) for name in content["class_names"].flat]


def _devkit(root: Path) -> tuple[Rows, list[str]]:
    names = read_mat(root / "devkit" / "cars_meta.mat", "class_names")["class_names"]
    rows: Rows = []
    for folder, file in (("cars_train", "cars_train_annos.mat"), ("cars_test", "cars_test_annos_withlabels.mat")):
        # The labels of the test part are a separate download, which many keep beside the devkit.
        place = next(
            (place for place in (root / "devkit" / file, root / file) if place.exists()), root / "devkit" / file
        )
        annotations = read_mat(place, "annotations")["annotations"]
        rows += [(int(row["class"].item()), f"{folder}/{row['fname'].item()}") for row in annotations.flat]
    return rows, [str(name.item()) for name in names.flat]


def _class_folders(root: Path) -> tuple[Rows, list[str]]:
    names = sorted(entry.name for entry in (root / "images").iterdir() if entry.is_dir())
    rows = [
        (number, f"images/{name}/{file}")
        for number, name in enumerate(names, start=1)
        for file in image_files(root / "images" / name)
    ]
    return rows, names


def read_mat(file: Path, *keys: str) -> dict[str, Any]:
    """The named variables of a MATLAB file. Raises DataError."""
    from scipy.io import loadmat

    read: Any = loadmat  # its stubs know paths alone, but of a damaged path it leaves the file open
    try:
        with file.open("rb") as opened:
            content: dict[str, Any] = read(opened)
    except FileNotFoundError as error:
        raise DataError(f"cars196: {file} does not exist") from error
    except Exception as error:  # scipy's reader raises whatever the damage makes it stumble over
        raise DataError(f"cars196: {file} is not a readable MATLAB file ({error})") from error
    lost = [key for key in keys if key not in content]
    if lost:
        raise DataError(f"cars196: {file} holds no {lost[0]!r} but {sorted(k for k in content if k[0] != '_')}")
    return content
