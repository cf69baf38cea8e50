"""Any folder of class folders: `folder/<class>/<image>`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.errors import DataError, did_you_mean
from harness.images import ImageSource, OnBadImage, Progress, first_half, silent
from harness.photos import Photos, find_in, image_files, photo_source
from harness.registry import DATASETS


@DATASETS.register("image_folder")
class ImageFolder:
    """The first half of the sorted classes train, the rest test; or what the lists say.

    When one of the two lists is given, all other classes are on the other side; when both are, others are left out.
    """

    revision = 1

    def __init__(
        self,
        data_root: Path,
        *,
        folder: str,
        train_classes: list[str] | None = None,
        test_classes: list[str] | None = None,
        side: Annotated[int, Field(ge=1)] = 256,
        resize: Annotated[int, Field(ge=1)] | None = None,
        crop: Annotated[int, Field(ge=1)] = 224,
        on_bad_image: OnBadImage = "error",
    ) -> None:
        self.data_root, self.folder = Path(data_root), folder
        self.train_classes, self.test_classes = train_classes, test_classes
        self.photos = Photos(side, resize, crop, on_bad_image)

    def source(self, progress: Progress = silent) -> ImageSource:
        """Lists the files; decodes none."""
        root = find_in(self.data_root, [self.folder], "image_folder")
        if not root.is_dir():
            raise DataError(f"image_folder: {root} is not a folder")
        files = self._files(root)
        train, test = self._split(list(files), root)
        rows = [(f"{name}/{file}", name) for name, found in files.items() if name in train | test for file in found]
        return photo_source(
            root,
            [path for path, _ in rows],
            [name for _, name in rows],
            [name in train for _, name in rows],
            self.photos,
        )

    def _files(self, root: Path) -> dict[str, list[str]]:
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not classes:
            raise DataError(f"image_folder: {root} is empty: it holds no class folders; right would be <class>/<image>")
        files = {name: image_files(root / name) for name in classes}
        empty = [name for name, found in files.items() if not found]
        if empty:
            raise DataError(f"image_folder: class folder {root / empty[0]} is empty: it holds no images")
        return files

    def _split(self, classes: list[str], root: Path) -> tuple[set[str], set[str]]:
        for name in (*(self.train_classes or ()), *(self.test_classes or ())):
            if name not in classes:
                raise DataError(f"image_folder: {root} has no class folder {name!r}{did_you_mean(name, classes)}")
        train, test = set(self.train_classes or ()), set(self.test_classes or ())
        if self.train_classes is None:
            train = set(classes) - test if test else first_half(classes)
        if self.test_classes is None:
            test = set(classes) - train
        if train & test:
            raise DataError(f"image_folder: class {min(train & test)!r} is in both train_classes and test_classes")
        return train, test
