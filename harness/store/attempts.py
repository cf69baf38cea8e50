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

    `cause`: done, a cause of failure (`specs.CAUSES`), `lost` (died without a word), `requeued` (died as its SLURM job
    was started again) or why it was asked to stop: `interrupted`, `preempted`, `time_out`. `first_step` and `last_step`
    are what it told of itself: the steps that the run had behind it at its begin and, up to a second ago, at its end;
    None where it died before it could tell. What lies between the last of one attempt and the first of the next was
    computed twice.
    """

    name: str  # of its record
    begin: str
    end: str
    cause: str
    host: str
    device: str | None = None
    pid: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    first_step: int | None = None
    last_step: int | None = None


def record_attempt(folder: Path, owner: Owner, end: str, cause: str, told: Mapping[str, Any] | None = None) -> None:
    """Writes how the attempt of this owner ended; a later word on the same attempt replaces an earlier one.

    `told` is the last progress of the run, which may be that of an earlier owner.
    """
    made, device = owner.about.get("provenance"), owner.about.get("device")
    steps = (told.get("first_step"), told.get("steps")) if told and told.get("by") == _mark(owner) else (None, None)
    attempt = Attempt(_name(owner), owner.begun, end, cause, owner.host, device, owner.pid, made or {}, *steps)
    record = asdict(attempt)
    del record["name"]
    make_folder(folder)
    write_atomically(folder / f"{attempt.name}.json", json.dumps(record))


def read_attempts(folder: Path) -> list[Attempt]:
    """All records, oldest first; one that cannot be read raises StoreError."""
    return sorted(map(_attempt, folder.glob("[0-9]*.json")), key=lambda attempt: (attempt.begin, attempt.end))


def cause_of_death(dead: Owner, taker: Mapping[str, Any]) -> str:
    """`requeued` where the dead owner was an earlier start of the SLURM job that takes over, by both provenances."""
    before, now = owner_job(dead), (taker.get("slurm_job"), taker.get("restarts"))
    known = None not in (*before, *now)
    return "requeued" if known and before[0] == now[0] and before[1] < now[1] else "lost"


def owner_job(owner: Owner) -> tuple[Any, Any]:
    """The SLURM job of an owner and how often it had been started before; None for what is not known."""
    made = owner.about.get("provenance") or {}
    return made.get("slurm_job"), made.get("restarts")


def count_lost(folder: Path) -> int:
    """How many workers died one after the other without a word, since the run last got further or was retried.

    A job that was requeued says nothing about the run, so it does not count.
    """
    settled, count, furthest = _settled(folder), 0, -1
    losses = 0
    for attempt in read_attempts(folder):
        reached = -1 if attempt.last_step is None else attempt.last_step
        if reached > furthest:
            furthest, count = reached, 0
        if attempt.cause == "lost":
            losses += 1
            count += losses > settled
    return count


def keep_retried(folder: Path, result: Any) -> None:
    """Keeps a failed result that is about to be retried; the losses before it count no more."""
    make_folder(folder)
    number = len(list(folder.glob("retried-*.json"))) + 1
    kept = {"settled": _all_lost(folder), "result": result}
    write_atomically(folder / f"retried-{number}.json", json.dumps(kept), durable=True)


def _settled(folder: Path) -> int:
    """How many losses came before the run was last retried."""
    retried = [read_json(path) for path in folder.glob("retried-*.json")]
    return max((int(each["settled"]) for each in retried), default=0)


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
    return f"{re.sub('[^0-9T]', '', owner.begun)[:15]}-{_mark(owner)}"


def _mark(owner: Owner) -> str:
    return owner.token[:8]
