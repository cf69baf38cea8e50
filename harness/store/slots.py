"""Worker slots: how many workers a machine may run at a time, whoever started them."""

from __future__ import annotations

import socket
from pathlib import Path

from harness.store.lease import is_stale, read_owner


def slot_path(results: Path, slot: int) -> Path:
    """The lease that the worker in this slot of this machine holds while it lives."""
    return results / "workers" / f"{socket.gethostname()}-slot-{slot}.json"


def taken_slots(results: Path, slots: int) -> set[int]:
    """Those of this machine's slots in which a worker lives."""
    taken = set()
    for slot in range(slots):
        path = slot_path(results, slot)
        owner = read_owner(path)
        if owner is not None and not is_stale(path, owner):
            taken.add(slot)
    return taken
