"""Stanford Online Products (Song et al., 2016): 11,318 products train, 11,316 others test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from harness.errors import DataError
from harness.images import ImageSource, OnBadImage, Progress, silent
from harness.photos import Photos, check_counts, find_in, photo_source
from harness.registry import DATASETS

HEADER = ["image_id", "class_id", "super_class_id", "path"]


@DATASETS.register("sop")
class StanfordOnlineProducts:
    """The split of the official lists `Ebay_train.txt` and `Ebay_test.txt`.

    The official archive, as it unpacks (`Stanford_Online_Products`, also inside `sop`), or `online_products` with
    `images` and `Info_Files`, of the published codes.
    """

    revision = 1
    counts: ClassVar[dict[str, int]] = {"training": 59551, "test": 60502}
    places: ClassVar[tuple[str, ...]] = (
        "sop/Stanford_Online_Products",
        "Stanford_Online_Products",
        "online_products",
        "sop",
    )
    archives: ClassVar[dict[str, str]] = {"Stanford_Online_Products.zip": "7f73d41a2f44250d4779881525aea32e"}

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
        hint = "; `harness prepare sop --from Stanford_Online_Products.zip` unpacks the official archive"
        root = find_in(self.data_root, self.places, "sop", hint)
        images = root / "images" if (root / "images").is_dir() else root
        lists = root / "Info_Files" if (root / "Info_Files").is_dir() else root
        train, test = read_list(lists / "Ebay_train.txt"), read_list(lists / "Ebay_test.txt")
        check_counts("sop", lists, {"training": len(train), "test": len(test)}, self.counts)
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
