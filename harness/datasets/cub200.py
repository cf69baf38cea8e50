"""CUB-200-2011 (Wah et al., 2011): 100 bird species train, 100 others test (Song et al., 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from harness.errors import DataError
from harness.images import ImageSource, OnBadImage, Photos, Progress, find_in, image_files, photo_source, silent
from harness.registry import DATASETS


@DATASETS.register("cub200")
class Cub200:
    """The official folder `CUB_200_2011`, or `cub200/images/NNN.Class_name`; species 1 to 100 train, the rest test."""

    revision = 1
    counts: ClassVar[tuple[int, int]] = (5864, 5924)
    last_training_class: ClassVar[int] = 100

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
        """Lists the files, in the order of the species and of their names; decodes none."""
        places = ["cub200/images", "CUB_200_2011/images", "cub200/CUB_200_2011/images"]
        root = find_in(self.data_root, places, "cub200")
        folders = _species(root)
        paths = [f"{name}/{file}" for _, name in folders for file in image_files(root / name)]
        numbers = [int(path.partition(".")[0]) for path in paths]
        is_train = [number <= self.last_training_class for number in numbers]
        self._check_counts(root, paths, is_train)
        return photo_source(root, paths, [path.partition("/")[0] for path in paths], is_train, self.photos)

    def _check_counts(self, root: Path, paths: list[str], is_train: list[bool]) -> None:
        found = (sum(is_train), len(is_train) - sum(is_train))
        if found != self.counts:
            raise DataError(
                f"cub200: {root} holds {found[0]:,} training and {found[1]:,} test images; CUB-200-2011 has "
                f"{self.counts[0]:,} and {self.counts[1]:,}{_missing(root, paths)}"
            )


def _species(root: Path) -> list[tuple[int, str]]:
    """Number and folder name of each species, by number."""
    folders = [entry.name for entry in root.iterdir() if entry.is_dir() and entry.name.partition(".")[0].isdigit()]
    return sorted((int(name.partition(".")[0]), name) for name in folders)


def _missing(root: Path, paths: list[str]) -> str:
    """What the official list names and the folder lacks, when the list is there."""
    listing = root.parent / "images.txt"
    if not listing.is_file():
        return ""
    listed = [line.split(maxsplit=1)[1] for line in listing.read_text().splitlines() if " " in line]
    lost = sorted(set(listed) - set(paths))
    return f"; {len(lost)} that images.txt lists are missing, the first is {lost[0]}" if lost else ""
