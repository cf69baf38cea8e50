"""Omniglot (Lake et al., 2015): 964 hand-drawn characters of 30 alphabets train, 659 of 20 other alphabets test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DataError
from harness.images import ImageSource, OnBadImage, Progress, decode_image, silent
from harness.photos import Photos, check_counts, find_in, image_files, photo_source
from harness.registry import DATASETS

PARTS = {"images_background": True, "images_evaluation": False}
"""The makers' two parts, and whether they train."""


@DATASETS.register("omniglot")
class Omniglot:
    """Background alphabets train, evaluation alphabets test. Grey; ink is 255 on 0 (in the files it is 0 on 255).

    The folders `images_background` and `images_evaluation` with `<alphabet>/<character>/<drawing>.png`: in `omniglot`,
    in its `python` (a clone of the makers' repository), or in torchvision's `omniglot-py`.
    `harness prepare omniglot` downloads them.
    """

    revision = 1
    counts: ClassVar[dict[str, int]] = {"training": 19280, "test": 13180}
    places: ClassVar[tuple[str, ...]] = tuple(
        f"{folder}/images_background"
        for folder in ("omniglot", "omniglot/python", "omniglot-py", "omniglot/omniglot-py")
    )
    archives: ClassVar[dict[str, str]] = {
        "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
        "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
    }

    def __init__(
        self,
        data_root: Path,
        *,
        side: Annotated[int, Field(ge=1)] = 28,
        resize: Annotated[int, Field(ge=1)] | None = None,
        crop: Annotated[int, Field(ge=1)] = 28,
        on_bad_image: OnBadImage = "error",
    ) -> None:
        self.data_root = Path(data_root)
        self.photos = Photos(side, resize or max(side, crop), crop, on_bad_image)

    def source(self, progress: Progress = silent) -> ImageSource:
        """Lists the files by alphabet and character; decodes none."""
        hint = "; `harness prepare omniglot` downloads it"
        root = find_in(self.data_root, self.places, "omniglot", hint).parent
        rows = [(part, *row) for part in PARTS for row in drawings(root / part)]
        is_train = [PARTS[part] for part, _, _ in rows]
        found = {"training": sum(is_train), "test": len(is_train) - sum(is_train)}
        check_counts("omniglot", root, found, self.counts)
        paths = [f"{part}/{character}/{file}" for part, character, file in rows]
        return photo_source(
            root,
            paths,
            [character for _, character, _ in rows],
            is_train,
            self.photos,
            channels=1,
            read=lambda i: ink(root / paths[i]),
        )

    @staticmethod
    def fetch(folder: Path) -> list[Path]:
        """Downloads both archives from their makers' repository (MIT licence), by way of torchvision.

        Raises OSError, or RuntimeError where what came is not what was published.
        """
        from torchvision.datasets import Omniglot as Torchvisions
        from torchvision.datasets.utils import download_url

        for name, md5 in Omniglot.archives.items():
            download_url(f"{Torchvisions.download_url_prefix}/{name}", str(folder), name, md5)
        return [folder / name for name in Omniglot.archives]


def drawings(part: Path) -> list[tuple[str, str]]:
    """("alphabet/character", file) of every drawing in one of the two parts."""
    if not part.is_dir():
        raise DataError(f"omniglot: there is no folder {part}")
    characters = sorted(f"{path.parent.name}/{path.name}" for path in part.glob("*/*") if path.is_dir())
    return [(character, file) for character in characters for file in image_files(part / character)]


def ink(file: Path) -> NDArray[np.uint8]:
    """One drawing, [h, w, 1], ink bright on black."""
    return 255 - decode_image(file, str(file), channels=1)
