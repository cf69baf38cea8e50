"""What a check is given (`Where`) and what it finds (`Verdict`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "warning", "problem"]

GIB = 1 << 30


@dataclass(frozen=True)
class Where:
    """The places that are looked at. `data_named` says whether somebody named the data folder, or it is the default."""

    results: Path
    data: Path
    db: str
    data_named: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was found; what is not ok has a remedy."""

    state: State
    found: str
    remedy: str = ""


def ok(found: str) -> Verdict:
    """Nothing to do."""
    return Verdict("ok", found)


def warning(found: str, remedy: str) -> Verdict:
    """Studies can be run, but slower, or with less than a person may expect."""
    return Verdict("warning", found, remedy)


def problem(found: str, remedy: str) -> Verdict:
    """Some or all studies would fail."""
    return Verdict("problem", found, remedy)


def gib(size: float) -> str:
    """A number of bytes for people, such as `23.4 GiB`."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / (1 << 20):.1f} MiB"
