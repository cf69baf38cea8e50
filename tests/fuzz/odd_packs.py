"""Damaged and hostile `.npz` and `.zip` files: what a careless copy, and what a careful enemy, makes of a data set."""

# ruff: noqa: E501 - tables of odd values are easier to look over with many in a line
from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

WITNESS = "escaped"
"""The file that exists when a payload was executed."""

Members = list[tuple[str, bytes]]


class Payload:
    """Unpickling it makes a file."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (WITNESS, "w")


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)
LABELS = np.arange(12) // 3


def npy(array: object, **how: bool) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), **how)
    return out.getvalue()


def pickled() -> bytes:
    """An array of objects, as `numpy.save` writes it."""
    return npy(np.array([Payload()] * 12, dtype=object), allow_pickle=True)


def arrays() -> Members:
    """The members of an honest .npz, of a pack and of embeddings at once."""
    named = {
        "images": PIXELS, "labels": LABELS, "is_train": LABELS < 2, "class_names": np.array(list("abcd")),
        "embeddings": PIXELS.reshape(12, 36) / 255,
    }  # fmt: skip
    return [(f"{name}.npy", npy(array)) for name, array in named.items()]


def images() -> Members:
    """The members of an honest .zip."""
    rows = "".join(f"im/{i}.png,{i // 3},class {i // 3}\n" for i in range(12))
    return [("labels.csv", f"file,label,class_name\n{rows}".encode())] + [
        (f"im/{i}.png", png(Image.fromarray(np.dstack([PIXELS[i]] * 3)))) for i in range(12)
    ]


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def huge_png(side: int = 40_000) -> bytes:
    """A picture of 1.6 billion pixels, all of them white, that is small as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10**6), 9)) + chunk(b"IEND", b"")


def zipped(members: Members, chance: random.Random | None = None) -> bytes:
    out = io.BytesIO()
    method = chance.choice((0, 8, 8, 12, 14)) if chance else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.filename = name  # also what ZipInfo would make harmless
            info.compress_type = method
            archive.writestr(info, content)
    return out.getvalue()


# Mutations of members ---------------------------------------------------------------------------------------------------


def swapped(members: Members, chance: random.Random) -> Members:
    first, second = chance.sample(range(len(members)), 2)
    found = list(members)
    found[first], found[second] = (members[first][0], members[second][1]), (members[second][0], members[first][1])
    return found


def without_one(members: Members, chance: random.Random) -> Members:
    gone = chance.randrange(len(members))
    return members[:gone] + members[gone + 1 :]


def twice(members: Members, chance: random.Random) -> Members:
    return [*members, (chance.choice(members)[0], chance.choice(members)[1])]


def replaced(content: Callable[[random.Random], bytes]) -> Callable[[Members, random.Random], Members]:
    def replace(members: Members, chance: random.Random) -> Members:
        place = chance.randrange(len(members)) if chance.random() < 0.5 else 0
        return [(name, content(chance) if i == place else old) for i, (name, old) in enumerate(members)]

    return replace


def renamed(members: Members, chance: random.Random) -> Members:
    name = chance.choice(
        (f"../{WITNESS}", f"/{WITNESS}", f"..\\{WITNESS}", f"a/../../{WITNESS}", "C:\\x", "", "/", "a" * 5000, "\u202e.npy", "images", "labels.npy/", "é.npy", "a\nb", "a\0b")
    )  # fmt: skip
    place = chance.randrange(len(members))
    return [(name if i == place else old, content) for i, (old, content) in enumerate(members)]


def lying_header(members: Members, chance: random.Random) -> Members:
    """The shape, type or order of an array that it does not have."""
    shapes = ("(12,)", "(0,)", "(-1,)", "()", "(999999999999,)", "(12, 6, 6, 99999999)", "(2**62,)", "'x'", "(1e9,)", "(True,)",
              "(" + "1, " * 70 + ")", "([],)", "(12, 6)")  # fmt: skip
    types = ("'|u1'", "'|O'", "'<i8'", "'<U9'", "'|S1'", "'<f4'", "'<M8[s]'", "'|V8'", "[('a', '|O')]", "'<c16'", "'x'", "7",
             "'<U999999999'", "__import__('os').system('touch " + WITNESS + "')", "'|b1'")  # fmt: skip
    head = f"{{'descr': {chance.choice(types)}, 'fortran_order': {chance.choice(('True', 'False', '1'))}, "
    head += f"'shape': {chance.choice(shapes)}, {chance.choice(('', '', chr(39) + 'more' + chr(39) + ': 1, '))}}}"
    body = chance.choice(members)[1][128:]
    data = head.ljust(117).encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data + body
    place = chance.randrange(len(members))
    return [(name, content if i == place else old) for i, (name, old) in enumerate(members)]


def odd_table(members: Members, chance: random.Random) -> Members:
    """labels.csv with something changed."""
    table = dict(members).get("labels.csv", b"file,label\n").decode("utf-8", "replace")
    path = chance.choice(
        (f"../{WITNESS}", "/etc/passwd", "im/0.png", "im", "", '"', "\0", "a" * 200_000, "labels.csv", "\ufeff")
    )
    changes = (
        table.replace("im/3.png", path), table.replace("file", path), table.replace(",", ";"), table.replace(",1,", f",{path},"),
        table + "x,y,z,more,more\n", table + "\n\n\n", table.replace("\n", "\r"), '"' + table, table.upper(), "",
        table.replace(",1,", ",१,"), table.replace(",1,", "," + "9" * 5000 + ","), table * 3, table.replace(",2,", ",,"),
    )  # fmt: skip
    text = chance.choice(changes).encode(chance.choice(("utf-8", "utf-8", "utf-16", "cp037")), "replace")
    return [(name, text if name == "labels.csv" else old) for name, old in members]


def array_like(chance: random.Random) -> bytes:
    shape = chance.choice(
        ((), (0,), (12,), (12, 1), (1, 12), (12, 6, 6), (12, 6, 6, 3), (12, 6, 6, 4), (12, 0, 6), (3, 2, 2, 2, 2))
    )
    kind = chance.choice(("u1", "i8", "f4", "f8", "b1", "U3", "S2", "M8[s]", "c8", "V4", "f2", "u8"))
    return npy(
        np.zeros(shape, kind)
        if chance.random() < 0.5
        else np.full(shape, np.nan).astype(kind.replace("M8[s]", "f8").replace("V4", "f8"))
    )


MEMBER_MUTATIONS = (
    swapped, without_one, twice, renamed, lying_header, lying_header, odd_table,
    replaced(lambda chance: pickled()), replaced(lambda chance: pickled()[128:]), replaced(array_like), replaced(array_like),
    replaced(lambda chance: b""), replaced(lambda chance: chance.randbytes(200)), replaced(lambda chance: npy(PIXELS)[: chance.randrange(400)]),
    replaced(lambda chance: huge_png()), replaced(lambda chance: bytes(10**7)),
)  # fmt: skip


# Mutations of the file --------------------------------------------------------------------------------------------------


def flipped(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8, 50))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def truncated(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def with_lying_numbers(content: bytes, chance: random.Random) -> bytes:
    """Other sizes, offsets or counts in the directory of the archive, where they stand as four bytes."""
    data, start = bytearray(content), max(0, content.rfind(b"PK\x01\x02"))
    place = chance.randrange(start, len(data) - 4)
    data[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\1\0\0\0"))
    return bytes(data)


def another_file(content: bytes, chance: random.Random) -> bytes:
    """No archive at all: bare arrays, pickles and pages, under the name of one."""
    bare = (
        npy(PIXELS),
        pickled(),
        pickled()[128:],
        b"<html>404</html>",
        content + b"\0" * 70_000,
        b"PK\5\6" + bytes(18),
        chance.randbytes(500),
    )
    return chance.choice(bare)


FILE_MUTATIONS = (flipped, flipped, truncated, with_lying_numbers, with_lying_numbers, another_file)


def odd_archives(members: Members, count: int, number: int) -> Iterator[bytes]:
    """So many damaged archives, always the same ones for the same number; among them bombs of 2 GB."""
    chance = random.Random(number)
    for position in range(count):
        if position % 250 == 100:
            yield bomb(members, chance)
            continue
        found = list(members)
        for _ in range(chance.choice((0, 1, 1, 2))):
            found = chance.choice(MEMBER_MUTATIONS)(found, chance) if len(found) > 2 else found
        content = zipped(found, chance)
        if found == members or chance.random() < 0.2:
            content = chance.choice(FILE_MUTATIONS)(content, chance)
        yield content


BOMB_GB = 2


def bomb(members: Members, chance: random.Random) -> bytes:
    """A member of zeros that takes 2 GB, of which a header says that it is an array."""
    place, out = chance.randrange(2), io.BytesIO()
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2147483648, 1, 1), }".ljust(117) + b"\n"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i, (name, content) in enumerate(members):
            if i != place:
                archive.writestr(name, content)
                continue
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(
                    b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head
                    if name.endswith("npy")
                    else b"file,label\n"
                )
                for _ in range(BOMB_GB * 64):
                    member.write(ZEROS)
    return out.getvalue()


ZEROS = bytes(2**24)
