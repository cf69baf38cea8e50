"""A run's attempts: one record for each time somebody worked on it, and the failed results that were retried."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store.files import make_folder, read_json, write_atomically
from harness.store.lease import Owner


@dataclass(frozen=True)
class Attempt:
    """Somebody worked on a run from `begin` to `end` (UTC text), and how that ended.

    `cause`: done, a cause of failure (`specs.CAUSES`), `lost` (died without a word) or `interrupted` (asked to stop).
    """

    name: str  # of its record
    begin: str
    end: str
    cause: str
    host: str
    device: str | None = None
    pid: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def record_attempt(folder: Path, owner: Owner, end: str, cause: str) -> None:
    """Writes how the attempt of this owner ended; a later word on the same attempt replaces an earlier one."""
    made, device = owner.about.get("provenance"), owner.about.get("device")
    attempt = Attempt(_name(owner), owner.begun, end, cause, owner.host, device, owner.pid, made or {})
    record = asdict(attempt)
    del record["name"]
    make_folder(folder)
    write_atomically(folder / f"{attempt.name}.json", json.dumps(record))


def read_attempts(folder: Path) -> list[Attempt]:
    """All records, oldest first; one that cannot be read raises StoreError."""
    return sorted(map(_attempt, folder.glob("[0-9]*.json")), key=lambda attempt: (attempt.begin, attempt.end))


def count_lost(folder: Path) -> int:
    """How often somebody died without a word since the run was last retried."""
    retried = [read_json(path) for path in folder.glob("retried-*.json")]
    return _all_lost(folder) - max((int(each["settled"]) for each in retried), default=0)


def keep_retried(folder: Path, result: Any) -> None:
    """Keeps a failed result that is about to be retried; the losses before it count no more."""
    make_folder(folder)
    number = len(list(folder.glob("retried-*.json"))) + 1
    kept = {"settled": _all_lost(folder), "result": result}
    write_atomically(folder / f"retried-{number}.json", json.dumps(kept), durable=True)


def _all_lost(folder: Path) -> int:
    return sum(attempt.cause == "lost" for attempt in read_attempts(folder))


def _attempt(path: Path) -> Attempt:
    found = read_json(path)
    try:
        attempt = Attempt(path.stem, **found)
        texts = (attempt.begin, attempt.end, attempt.cause, attempt.host)
        if all(isinstance(text, str) for text in texts) and isinstance(attempt.provenance, Mapping):
            return attempt
    except TypeError:
        pass
    raise StoreError(f"{path} is not the record of an attempt; delete it")


def _name(owner: Owner) -> str:
    """The begin and a piece of the token, such as 20261120T181534-1f0c9a2b."""
    return f"{re.sub('[^0-9T]', '', owner.begun)[:15]}-{owner.token[:8]}"
