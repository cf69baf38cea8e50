"""Lists that results have in common, told by a key that is made from what they hold.

Databases refer to them by these keys, so what a list is called never changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

_LONGEST = 200


def epochs_key(epochs: Sequence[int]) -> str:
    """Epochs in short: `1-150`, `5-150:5` for every fifth, `2,4,9`; no two lists have the same.

    One that is too long to be a key ends with a digest of the whole.
    """
    key = ",".join(_pieces(epochs))
    return key if len(key) <= _LONGEST else f"{key[: _LONGEST - 20]}...{digest_of_list(epochs)}"


def digest_of_list(values: Sequence[object]) -> str:
    """64 bits of SHA-256 over the JSON of a list, in hex."""
    text = json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pieces(epochs: Sequence[int]) -> Iterator[str]:
    """Runs of at least three with one distance as a range, others as they are."""
    first = 0
    while first < len(epochs):
        end = _end_of_range(epochs, first)
        if end - first < 3:
            yield str(epochs[first])
            first += 1
            continue
        step = epochs[first + 1] - epochs[first]
        yield f"{epochs[first]}-{epochs[end - 1]}" + (f":{step}" if step != 1 else "")
        first = end


def _end_of_range(epochs: Sequence[int], first: int) -> int:
    """The position after the longest run from `first` on that rises by one distance."""
    end = min(first + 2, len(epochs))
    step = epochs[end - 1] - epochs[first]
    if step < 1:
        return first + 1
    while end < len(epochs) and epochs[end] - epochs[end - 1] == step:
        end += 1
    return end
