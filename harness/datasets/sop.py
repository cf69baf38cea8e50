"""Stanford Online Products (Song et al., 2016): 11,318 products train, 11,316 others test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from harness.errors import DataError
from harness.images import ImageSource, OnBadImage, Photos, Progress, find_in, photo_source, silent
from harness.registry import DATASETS

HEADER = ["image_id", "class_id", "super_class_id", "path"]


@DATASETS.register("sop")
class StanfordOnlineProducts:
    """The official folder `Stanford_Online_Products`, or `online_products` with `images` and `Info_Files`."""

    revision = 1
    counts: ClassVar[tuple[int, int]] = (59551, 60502)

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
        """Reads the two official lists; decodes no image."""
        root = find_in(self.data_root, ["Stanford_Online_Products", "online_products", "sop"], "sop")
        images = root / "images" if (root / "images").is_dir() else root
        lists = root / "Info_Files" if (root / "Info_Files").is_dir() else root
        train, test = read_list(lists / "Ebay_train.txt"), read_list(lists / "Ebay_test.txt")
        if (len(train), len(test)) != self.counts:
            raise DataError(
                f"sop: the lists in {lists} name {len(train):,} training and {len(test):,} test images; Stanford "
                f"Online Products has {self.counts[0]:,} and {self.counts[1]:,}"
            )
        rows = train + test
        is_train = [True] * len(train) + [False] * len(test)
        return photo_source(images, [path for _, path in rows], [number for number, _ in rows], is_train, self.photos)


def read_list(file: Path) -> list[tuple[int, str]]:
    """(class, path) of each line of an official list, by class and then by path."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"sop: the list {file} cannot be read ({error})") from error
    if not lines or lines[0].split() != HEADER:
        raise DataError(f"sop: {file} does not begin with the line {' '.join(HEADER)!r}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split()
        if len(fields) != 4 or not fields[1].isdigit():
            raise DataError(f"sop: {file}:{number}: {line!r} is not {' '.join(HEADER)!r}")
        rows.append((int(fields[1]), fields[3]))
    return sorted(rows)
