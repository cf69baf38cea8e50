"""In-Shop Clothes Retrieval (Liu et al., 2016): 3,997 items train; 3,985 others test, by query and gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.errors import DataError
from harness.images import ImageSource, OnBadImage, Progress, silent
from harness.photos import Photos, check_counts, find_in, photo_source
from harness.registry import DATASETS

HEADER = ["image_name", "item_id", "evaluation_status"]
FOLDERS = ("in_shop", "In-shop Clothes Retrieval Benchmark", "Inshop_Clothes", "inshop", "DeepFashion_InShop")
KINDS = {"train": "training", "query": "query", "gallery": "gallery"}


@DATASETS.register("in_shop")
class InShop:
    """The split of the official `list_eval_partition.txt`; test retrieval ranks the gallery images for each query.

    Metrics other than retrieval (clustering, density, spectrum) measure query and gallery images together. A few items
    have one training image only; they train as they do in the published codes.

    In `in_shop`, or a folder that is named as it was published: the list, or `Eval` with the list; and `img`, or `Img`
    with `img`, from `img.zip`.
    """

    revision = 1
    counts: ClassVar[dict[str, int]] = {"training": 25882, "query": 14218, "gallery": 12612}
    places: ClassVar[tuple[str, ...]] = tuple(
        f"{folder}/{inside}list_eval_partition.txt" for folder in FOLDERS for inside in ("", "Eval/")
    )
    archives: ClassVar[dict[str, str]] = {}  # the makers publish no digests

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
        """Reads the official list; decodes no image."""
        hint = "; `harness prepare in_shop --from img.zip --from list_eval_partition.txt` unpacks the official files"
        listing = find_in(self.data_root, self.places, "in_shop", hint)
        root = listing.parent.parent if listing.parent.name == "Eval" else listing.parent
        rows = read_partition(listing)
        kinds = [kind for kind, _, _ in rows]
        check_counts("in_shop", listing, {told: kinds.count(kind) for kind, told in KINDS.items()}, self.counts)
        return photo_source(
            root / "Img" if (root / "Img" / "img").is_dir() else root,
            [path for _, _, path in rows],
            [item for _, item, _ in rows],
            [kind == "train" for kind in kinds],
            self.photos,
            gallery=np.array([kind == "gallery" for kind in kinds]),
            lonely_training_classes=True,
        )


def read_partition(file: Path) -> list[tuple[str, str, str]]:
    """(train, query or gallery; item; path) of each line: training images first, then by item and path."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"in_shop: the list {file} cannot be read ({error})") from error
    if len(lines) < 2 or lines[1].split() != HEADER:
        raise DataError(f"in_shop: {file} does not begin with a number and the line {' '.join(HEADER)!r}")
    rows = []
    for number, line in enumerate(lines[2:], start=3):
        fields = line.split()
        if len(fields) != 3 or fields[2] not in KINDS:
            raise DataError(f"in_shop: {file}:{number}: {line!r} is not {' '.join(HEADER)!r} with one of {list(KINDS)}")
        rows.append((fields[2], fields[1], fields[0]))
    if lines[0].strip() != str(len(rows)):
        raise DataError(f"in_shop: {file} lists {len(rows):,} images, but its first line says {lines[0].strip()!r}")
    return sorted(rows, key=lambda row: (row[0] != "train", row[1], row[2]))
