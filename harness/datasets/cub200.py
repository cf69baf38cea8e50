"""CUB-200-2011 (Wah et al., 2011): 100 bird species train, 100 others test (Song et al., 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from harness.images import ImageSource, OnBadImage, Progress, silent
from harness.photos import Photos, check_counts, find_in, image_files, photo_source
from harness.registry import DATASETS


@DATASETS.register("cub200")
class Cub200:
    """Species 1 to 100 train, the rest test.

    The official archive, as it unpacks (`CUB_200_2011`, also inside `cub200`), or `cub200/images/NNN.Class_name` of the
    published codes.
    """

    revision = 1
    counts: ClassVar[dict[str, int]] = {"training": 5864, "test": 5924}
    last_training_class: ClassVar[int] = 100
    places: ClassVar[tuple[str, ...]] = ("cub200/images", "cub200/CUB_200_2011/images", "CUB_200_2011/images")
    archives: ClassVar[dict[str, str]] = {"CUB_200_2011.tgz": "97eceeb196236b17998738112f37df78"}

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
        hint = "; `harness prepare cub200 --from CUB_200_2011.tgz` unpacks the official archive"
        root = find_in(self.data_root, self.places, "cub200", hint)
        folders = _species(root)
        paths = [f"{name}/{file}" for _, name in folders for file in image_files(root / name)]
        is_train = [int(path.partition(".")[0]) <= self.last_training_class for path in paths]
        found = {"training": sum(is_train), "test": len(is_train) - sum(is_train)}
        check_counts("cub200", root, found, self.counts, _missing(root, paths))
        return photo_source(root, paths, [path.partition("/")[0] for path in paths], is_train, self.photos)


def _species(root: Path) -> list[tuple[int, str]]:
    """Number and folder name of each species, by number."""
    folders = [entry.name for entry in root.iterdir() if entry.is_dir() and entry.name.partition(".")[0].isdigit()]
    return sorted((int(name.partition(".")[0]), name) for name in folders)


def _missing(root: Path, paths: list[str]) -> str:
    """What the official list names and the folder lacks, when the list is there."""
    listing = root.parent / "images.txt"
    if not listing.is_file():
        return ""
    lines = listing.read_text(errors="replace").splitlines()
    lost = sorted({line.split(maxsplit=1)[1] for line in lines if len(line.split()) > 1} - set(paths))
    return f"; {len(lost)} that images.txt lists are missing, the first is {lost[0]}" if lost else ""
