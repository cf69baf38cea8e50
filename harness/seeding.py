"""One seed a run, one stream of chance a purpose.

A new consumer of chance never moves the others, and two methods with the same seed see the same initial weights and
the same batches, so that they can be compared in pairs.
"""

from __future__ import annotations

import hashlib


def seed_for(run_seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose of one run, such as `seed_for(seed, "batches", epoch)`."""
    text = "/".join(str(part) for part in (run_seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
