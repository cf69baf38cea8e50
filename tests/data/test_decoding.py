from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from harness.images import decode_image


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RAMP = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)
COLOR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def test_rgb_comes_back_as_it_was():
    assert (decode_image(encoded(Image.fromarray(COLOR)), "x") == COLOR).all()


def test_grey_becomes_three_equal_channels_or_stays_one():
    content = encoded(Image.fromarray(RAMP))
    assert (decode_image(content, "x") == RAMP[:, :, None]).all()
    assert decode_image(content, "x").shape == (6, 8, 3)
    assert (decode_image(content, "x", channels=1) == RAMP[:, :, None]).all()


def test_a_palette_with_transparency_as_bytes_is_decoded():
    image = Image.fromarray(RAMP // 5).convert("P")
    image.putpalette([value for i in range(48) for value in (i * 5, 255 - i * 5, i)])
    content = encoded(image, transparency=bytes(range(48)))
    decoded = decode_image(content, "x")
    assert (decoded == np.stack([RAMP, 255 - RAMP, RAMP // 5], axis=2)).all()


def test_alpha_is_dropped_and_bilevel_is_black_and_white():
    alpha = np.dstack([COLOR, RAMP])
    assert (decode_image(encoded(Image.fromarray(alpha)), "x") == COLOR).all()
    bilevel = decode_image(encoded(Image.fromarray(RAMP > 100)), "x")
    assert (bilevel[:, :, 0] == np.where(RAMP > 100, 255, 0)).all()


def test_cmyk_jpeg_becomes_rgb():
    content = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red = decode_image(content, "x").reshape(-1, 3).mean(0)
    assert red[0] > 245
    assert red[1] < 10
    assert red[2] < 10


def test_sixteen_bit_grey_keeps_its_full_range():
    deep = RAMP.astype(np.uint16) * 257
    for kind in ("PNG", "TIFF"):
        assert (decode_image(encoded(Image.fromarray(deep), kind), "x")[:, :, 0] == RAMP).all()


def test_sixteen_bit_rgb_png_is_decoded():
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in COLOR)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert (decode_image(content, "x") == COLOR).all()


def test_float_grey_is_taken_where_its_range_is_plain():
    unit = encoded(Image.fromarray(RAMP.astype(np.float32) / 255), "TIFF")
    assert (decode_image(unit, "x")[:, :, 0] == RAMP).all()
    wild = encoded(Image.fromarray(RAMP.astype(np.float32) * 1000), "TIFF")
    with pytest.raises(DataError, match=r"wild\.tif: grey values from 0 to 235000"):
        decode_image(wild, "wild.tif")


@pytest.mark.parametrize(
    ("orientation", "turned"), [(3, COLOR[::-1, ::-1]), (6, np.rot90(COLOR, -1)), (2, COLOR[:, ::-1])]
)
def test_exif_orientation_is_applied(orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode_image(encoded(Image.fromarray(COLOR), exif=exif), "x") == turned).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_image():
    content = encoded(Image.fromarray(COLOR), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\xff\xff")
    assert decode_image(content, "x").shape == (6, 8, 3)


def test_one_pixel_is_an_image():
    assert decode_image(encoded(Image.new("RGB", (1, 1), (7, 8, 9))), "x").tolist() == [[[7, 8, 9]]]


@pytest.mark.filterwarnings("ignore")  # Pillow also warns of some; nobody would see that in a worker
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_truncated_file_is_named_with_the_reason(kind):
    content = encoded(Image.fromarray(np.tile(COLOR, (20, 20, 1))), kind)
    with pytest.raises(DataError, match=r"birds/cut: the image cannot be decoded \(.+\)"):
        decode_image(content[: len(content) * 2 // 3], "birds/cut")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"not an image at all", "19 bytes that are no known image format")],
)
def test_what_is_no_image_is_named_with_the_reason(content, reason, tmp_path):
    for given in (content, tmp_path / "bad.jpg"):
        (tmp_path / "bad.jpg").write_bytes(content)
        with pytest.raises(DataError, match=rf"bad\.jpg: the image cannot be decoded \({reason}\)"):
            decode_image(given, "bad.jpg")


def test_a_flipped_byte_in_a_png_is_noticed():
    content = bytearray(encoded(Image.fromarray(np.tile(COLOR, (20, 20, 1)))))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"x\.png: the image cannot be decoded"):
        decode_image(bytes(content), "x.png")


def test_an_image_of_absurd_size_is_refused_before_it_is_decoded():
    content = encoded(Image.new("1", (13000, 10000)))
    with pytest.raises(DataError, match=r"bomb\.png: "):
        decode_image(content, "bomb.png")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg: the image does not exist"):
        decode_image(tmp_path / "gone.jpg", "gone.jpg")


@pytest.mark.parametrize(
    ("mode", "kind", "expected"),
    [
        ("LA", "PNG", RAMP[:, :, None]),
        ("RGBA", "PNG", COLOR),
        ("RGBA", "TIFF", COLOR),
        ("RGB", "BMP", COLOR),
        ("L", "TIFF", RAMP[:, :, None]),
        ("RGB", "WEBP", COLOR),
    ],
)
def test_lossless_files_of_every_mode_give_their_pixels(mode, kind, expected):
    image = Image.fromarray(COLOR if expected.shape[2] == 3 else RAMP).convert(mode)
    content = encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert (decode_image(content, "x") == expected).all()


def test_the_name_of_a_file_does_not_decide_its_format(tmp_path):
    (tmp_path / "really_a_png.jpg").write_bytes(encoded(Image.fromarray(COLOR)))
    assert (decode_image(tmp_path / "really_a_png.jpg", "x") == COLOR).all()


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.fromarray(np.full((6, 8), value, np.uint8)) for value in (10, 200)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_image(content, "x") == 10).all()


def test_sixteen_bit_grey_of_both_byte_orders_is_the_same():
    values = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    little, big = (encoded(Image.frombytes(mode, (8, 6), values.astype(order).tobytes()), "TIFF") for mode, order in
                   (("I;16", "<u2"), ("I;16B", ">u2")))  # fmt: skip
    assert (decode_image(little, "x") == decode_image(big, "x")).all()
    assert decode_image(big, "x")[-1, -1, 0] == round(47_000 / 65_535 * 255)


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_cmyk_photo_that_was_turned_is_upright_and_rgb(orientation):
    image = Image.fromarray(np.repeat(np.repeat(COLOR, 8, axis=0), 8, axis=1)).convert("CMYK")
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_image(encoded(image, "JPEG", quality=95, exif=exif), "x")
    assert pixels.shape == (64, 48, 3)
    straight = decode_image(encoded(image, "JPEG", quality=95), "x")
    assert (pixels == np.rot90(straight, 3 if orientation == 6 else 1)).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_of_one_pixel_on_a_side_are_decoded(height, width, kind):
    content = encoded(Image.fromarray(np.full((height, width, 3), 77, np.uint8)), kind)
    pixels = decode_image(content, "x")
    assert pixels.shape == (height, width, 3)
    assert (np.abs(pixels.astype(int) - 77) <= 1).all()


@pytest.mark.parametrize("progressive", [False, True])
def test_every_truncation_of_a_jpeg_is_named_or_leaves_all_pixels(progressive):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8))
    content = encoded(image, "JPEG", progressive=progressive)
    whole = decode_image(content, "x")
    refused = 0
    for length in range(0, len(content), max(1, len(content) // 100)):
        try:
            pixels = decode_image(content[:length], "half.jpg")
        except DataError as error:
            refused += str(error).startswith("half.jpg: the image cannot be decoded")
        else:
            assert (pixels == whole).all()
    assert refused > 95
