"""Numbers as text, four characters each, that a database unpacks by itself.

Curves are most of a database. As JSON a number of six digits takes nine bytes and its epoch four more; here it takes
four, and plain SQL, such as that of the views, still reads it. A list of numbers is a text and a scale. Each number is
`mantissa * 10^exponent / scale` with a mantissa of at most six digits and an exponent of 0 to 7. The 24 bits of
(mantissa + 1,000,000) * 8 + exponent are written as four characters of six bits, from `0` (0) to `o` (63); `oooo` is a
number that is not defined. So six significant digits are kept of everything down to a hundred-millionth of the largest
number of a list, and what is smaller is kept to a fixed place.

The format stands in databases: it never changes. Another one would be another column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH = 4
_BITS, _FIRST, _UNDEFINED = (18, 12, 6, 0), ord("0"), ord("o")
_DIGITS, _MIDDLE, _EXPONENTS = 6, 1_000_000, 7
_NOWHERE = 10_000
_SMALLEST = -290
"""Below 10^-290 numbers become 0: the scale must be a finite number itself."""


@dataclass(frozen=True)
class Packed:
    """A list of numbers as it stands in the database."""

    scale: float
    text: str


def pack(values: Floats, lengths: Sequence[int]) -> list[Packed]:
    """Each of the lists that stand one after the other in `values` [sum of lengths]; nan where a number is undefined.

    All at once, since a run has dozens of them.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    if not values.size:
        return [Packed(1.0, "") for _ in lengths]
    defined = np.isfinite(values)
    sizes = np.abs(np.where(defined, values, 0.0))
    # Of each number the place of its sixth digit: value = mantissa * 10^place.
    places = np.floor(np.log10(np.where(sizes > 0, sizes, 1.0))).astype(np.int64) - (_DIGITS - 1)
    lows = _lowest_places(places, sizes > 0, ends, lengths)
    each = np.repeat(lows, lengths)
    exponents = np.clip(places - each, 0, _EXPONENTS)
    mantissas = np.rint(np.where(defined, values, 0.0) * 10.0 ** -(each + exponents).astype(float)).astype(np.int64)
    codes = (mantissas + _MIDDLE) * 8 + exponents
    letters = np.stack([(codes >> bits & 63) + _FIRST for bits in _BITS], axis=1).astype(np.uint8)
    letters[~defined] = _UNDEFINED
    text = letters.tobytes().decode("ascii")
    return [
        Packed(float(10.0**-low), text[WIDTH * (end - length) : WIDTH * end])
        for low, end, length in zip(lows.tolist(), ends.tolist(), lengths, strict=True)
    ]


def _lowest_places(
    places: NDArray[np.int64], telling: NDArray[np.bool_], ends: NDArray[np.int64], lengths: Sequence[int]
) -> NDArray[np.int64]:
    """For each list the place that exponent 0 stands for: that of its smallest number, as far as the largest allows."""
    found = np.zeros(len(lengths), dtype=np.int64)
    filled = np.asarray(lengths) > 0
    starts = (ends - lengths)[filled]  # an empty list would cut the one before it short
    top = np.maximum.reduceat(np.where(telling, places, -_NOWHERE), starts)
    low = np.minimum.reduceat(np.where(telling, places, _NOWHERE), starts)
    top, low = np.where(low > top, 0, [top, low])
    # A whole scale, where there can be one: dividing by it gives the very number that its six digits are the text of.
    found[filled] = np.maximum(np.minimum(low, 0), np.maximum(top - _EXPONENTS, _SMALLEST))
    return found


def unpack(texts: Sequence[str], scales: Sequence[float]) -> tuple[Floats, NDArray[np.int64]]:
    """All numbers of all lists, one after the other, nan where undefined; and the length of each list."""
    lengths = np.array([len(text) // WIDTH for text in texts], dtype=np.int64)
    letters = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8).reshape(-1, WIDTH)
    codes = sum((letters[:, place].astype(np.int64) - _FIRST) << bits for place, bits in enumerate(_BITS))
    mantissas = np.where((letters == _UNDEFINED).all(axis=1), np.nan, (codes >> 3) - _MIDDLE)
    return mantissas * 10 ** (codes & _EXPONENTS) / np.repeat(np.asarray(scales, float), lengths), lengths


def length_sql(text: str) -> str:
    """SQL for how many numbers are in a packed text."""
    return f"(length({text}) / {WIDTH})"


def cut_sql(text: str, index: str) -> str:
    """SQL for the characters of the number at `index` (from 0) of a packed text; null where it is undefined."""
    return f"nullif(substr({text}, {WIDTH} * {index} + 1, {WIDTH}), 'oooo')"


def number_sql(characters: str, scale: str, dialect: str) -> str:
    """SQL for the number that four characters stand for."""
    code = "unicode" if dialect == "sqlite" else "ascii"
    whole = "integer" if dialect == "sqlite" else "bigint"
    a, b, c, d = (f"({code}(substr({characters}, {place}, 1)) - {_FIRST})" for place in range(1, WIDTH + 1))
    mantissa = f"(({a} * 262144 + {b} * 4096 + {c} * 64 + {d}) / 8 - {_MIDDLE})"
    return f"{mantissa} * cast(substr('10000000', 1, ({d} & 7) + 1) as {whole}) / {scale}"
