"""Glyphs, the embedded benchmark: letters of the fonts that matplotlib ships, drawn 28 x 28 with a seeded jitter.

Train classes are Latin and Greek letters, test classes Cyrillic, Armenian and Georgian ones. How they were chosen: of
the letters of these scripts without a canonical decomposition that all twelve DejaVu fonts draw, in the order of their
code points, each was kept whose shape (fitted to a box, blurred, cosine averaged over the fonts) is less like every
letter kept before than 0.854 (train) or 0.874 (test, compared with the train letters too).
"""

from __future__ import annotations

import hashlib
import math
import threading
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features
from pydantic import Field

from harness.images import ImageSource, Progress, checked, silent
from harness.registry import DATASETS
from harness.seeding import seed_for

TRAIN_LETTERS = (
    "ABCFHIJKLMOQSTUVWXYZabdfgjkmnprtyÆÞßæðøþŊŒƁƄƆƇƎƐƑƔƕƖƛƜƝƢƣƦƧƩƪƫƴƷƺƻƾǁǂǶȜȡȤȴȵȸȹȺȻȾȿɀɁ"  # noqa: RUF001
    "ΞΦΨαβζνπςχωϗϞϟϠϡϻ"
)
TEST_LETTERS = "ЂЉЋЏДЖЛЧЩЪЫЮЯгеимтцђњћѣҐҔҗҘҚҢҤҪҭҲӄӇӋӶԳԵԶԷԸԹԺԻԽԾԿՀՁՂՃՄՆՇՊՌՎՐՒՔՖդէթլխկճմնչպվքֆდეზიკლორსუფქჩცწჭჯჱჳჴჶჷჹჺ"
DEJAVU = [
    f"DejaVu{family}{style}"
    for family, slanted in (("Sans", "Oblique"), ("Serif", "Italic"), ("SansMono", "Oblique"))
    for style in ("", "-Bold", f"-{slanted}", f"-Bold{slanted}")
]
STIX = ["STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"]

SIDE = 28
FINE = 4  # letters are drawn this many times larger, moved there, and then averaged down
FONT_PIXELS = 18 * FINE
ROTATION_DEGREES = 30.0
SCALE = (0.7, 1.2)
SHEAR = 0.3
SHIFT_PIXELS = 3.0


@DATASETS.register("glyphs")
class Glyphs:
    """`classes` takes the first so many letters of train and of test (default: all 100 of each)."""

    revision = 1

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        instances: Annotated[int, Field(ge=2)] = 24,
        classes: Annotated[int, Field(ge=2, le=100)] | None = None,
    ) -> None:
        self.instances = instances
        self.letters = TRAIN_LETTERS[:classes] + TEST_LETTERS[:classes]
        self.train_classes = len(TRAIN_LETTERS[:classes])

    def source(self, progress: Progress = silent) -> ImageSource:
        """All letters, each `instances` times in a row; drawn only when read."""
        labels = np.repeat(np.arange(len(self.letters)), self.instances)
        return checked(
            ImageSource(
                labels=labels,
                is_train=labels < self.train_classes,
                class_names=tuple(self.letters),
                names=[f"{letter} #{instance}" for letter in self.letters for instance in range(self.instances)],
                digest=self._digest(),
                side=SIDE,
                channels=1,
                resize=SIDE,
                crop=SIDE,
                read=lambda i: draw(self.letters[i // self.instances], i % self.instances)[:, :, None],
            )
        )

    def _digest(self) -> str:
        recipe = [self.revision, self.letters, self.instances, FINE, FONT_PIXELS, ROTATION_DEGREES, SCALE, SHEAR]
        drawn_by = [SHIFT_PIXELS, PIL.__version__, features.version("freetype2"), _font_files()]
        return hashlib.sha256(repr((recipe, drawn_by)).encode()).hexdigest()


def draw(letter: str, instance: int) -> NDArray[np.uint8]:
    """One instance [28, 28]: ink 255 on 0; the instance's number decides font and jitter, whatever else is drawn."""
    fonts = fonts_of(letter)
    large = _centered(letter, _font(fonts[instance % len(fonts)]))
    moved = large.transform(large.size, Image.Transform.AFFINE, _jitter(letter, instance), Image.Resampling.BILINEAR)
    return np.asarray(moved.reduce(FINE))


@cache
def fonts_of(letter: str) -> tuple[str, ...]:
    """The fonts that draw the letter: DejaVu always, STIX where it has it."""
    return (*DEJAVU, *(name for name in STIX if _draws(name, letter)))


def _draws(font: str, letter: str) -> bool:
    """Whether the font has a glyph of its own: not the box that stands for what is missing."""
    missing = _font(font).getmask("\uffff")
    mask = _font(font).getmask(letter)
    return mask.size != missing.size or bytes(mask) != bytes(missing)


def _centered(letter: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The letter on the large canvas, its ink box in the middle."""
    canvas = Image.new("L", (SIDE * FINE, SIDE * FINE))
    left, top, right, bottom = font.getbbox(letter)
    corner = ((canvas.width - left - right) / 2, (canvas.height - top - bottom) / 2)
    ImageDraw.Draw(canvas).text((round(corner[0]), round(corner[1])), letter, fill=255, font=font)
    return canvas


def _jitter(letter: str, instance: int) -> tuple[float, ...]:
    """The affine map from output to input, about the middle of the canvas, in the form that Pillow takes."""

    def uniform(purpose: str, low: float, high: float) -> float:
        return low + (high - low) * seed_for(0, "glyphs", letter, instance, purpose) / 2**63

    angle = math.radians(uniform("rotation", -ROTATION_DEGREES, ROTATION_DEGREES))
    scale = 1 / uniform("scale", *SCALE)
    shear = uniform("shear", -SHEAR, SHEAR)
    a, b = scale * math.cos(angle), scale * (math.cos(angle) * shear - math.sin(angle))
    d, e = scale * math.sin(angle), scale * (math.sin(angle) * shear + math.cos(angle))
    middle = SIDE * FINE / 2
    x = middle + FINE * uniform("right", -SHIFT_PIXELS, SHIFT_PIXELS)
    y = middle + FINE * uniform("down", -SHIFT_PIXELS, SHIFT_PIXELS)
    return a, b, middle - a * x - b * y, d, e, middle - d * x - e * y


_of_thread = threading.local()


def _font(name: str) -> ImageFont.FreeTypeFont:
    """A font object of this thread: FreeType's faces must not be shared while drawing."""
    fonts: dict[str, ImageFont.FreeTypeFont] = _of_thread.__dict__.setdefault("fonts", {})
    if name not in fonts:
        # Basic layout: the other one depends on libraries that differ from machine to machine.
        path = str(_font_folder() / f"{name}.ttf")
        fonts[name] = ImageFont.truetype(path, FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)
    return fonts[name]


@cache
def _font_folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@cache
def _font_files() -> str:
    content = hashlib.sha256()
    for name in (*DEJAVU, *STIX):
        content.update((_font_folder() / f"{name}.ttf").read_bytes())
    return content.hexdigest()
