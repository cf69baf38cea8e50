"""Collecting mistakes: all are found before any is told, each once, in the order of the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.errors import StudyError

MAX_SHOWN = 50
MAX_FOUND = 100
"""With so many nobody reads on, and a file of thousands would take minutes to be told of all."""
_WINDOW = 150


@dataclass(frozen=True, eq=False)
class Origin:
    """Where nodes come from: the study file, or one `--set` of the command line."""

    label: str
    lines: tuple[str, ...] = ()
    in_file: bool = False


@dataclass(frozen=True)
class Place:
    """A stretch of one line; lines and columns count from 1, line 0 is the whole of the origin."""

    origin: Origin
    line: int = 0
    column: int = 0
    width: int = 1

    def __str__(self) -> str:
        if not self.line or not self.origin.in_file:
            return self.origin.label
        return f"{self.origin.label}:{self.line}:{self.column}"

    @classmethod
    def nowhere(cls) -> Place:
        """The place of what nobody said: a default."""
        return cls(Origin("defaults"))

    @property
    def of_command_line(self) -> bool:
        """Whether a `--set`, `--only` or `--profile` is meant and not the file."""
        return not self.origin.in_file and self.origin.label.startswith("--")

    @property
    def start(self) -> Place:
        """The first character of the stretch."""
        return replace(self, width=1)

    @property
    def order(self) -> tuple[bool, str, int, int]:
        """The file first, from top to bottom, then the command line."""
        return not self.origin.in_file, self.origin.label, self.line, self.column


class Mistakes:
    """What is wrong with a study, gathered. True when there is something."""

    def __init__(self, study: str) -> None:
        self.study = study
        self._found: dict[tuple[Place, str], None] = {}
        self._unreadable: set[Place] = set()

    def add(self, place: Place, message: str) -> None:
        """Remember a mistake; the same one, met again through another combination, counts once.

        Raises StudyError with all that was found where there are too many to go on.
        """
        if place not in self._unreadable:
            self._found[place, message] = None
        if len(self._found) > MAX_FOUND:
            raise StudyError(self.text())

    def add_unreadable(self, place: Place, message: str) -> None:
        """Remember that a value has no meaning, so that nothing else need be said about it."""
        self.add(place, message)
        self._unreadable.add(place)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise one StudyError that tells everything."""
        if self._found:
            raise StudyError(self.text())

    def text(self) -> str:
        """The number of mistakes, then each with its place, its line and a caret."""
        found = sorted(self._found, key=lambda mistake: mistake[0].order)
        shown = [_shown(place, message) for place, message in found[:MAX_SHOWN]]
        if len(found) > MAX_SHOWN:
            shown.append(f"... and {len(found) - MAX_SHOWN} more{', at least' if len(found) > MAX_FOUND else ''}")
        return "\n".join([f"{self.study}: {len(found)} mistake{'s' if len(found) > 1 else ''}", *shown])


def _shown(place: Place, message: str) -> str:
    head = f"{place}: {message}"
    if not place.origin.in_file or not 0 < place.line <= len(place.origin.lines):
        return head
    line = place.origin.lines[place.line - 1].replace("\t", " ")
    # A study in flow style may stand on one endless line; what matters is the neighborhood of the place.
    start = max(0, place.column - 1 - _WINDOW // 2) if len(line) > _WINDOW else 0
    stretch = line[start : start + _WINDOW]
    caret = place.column - 1 - start
    width = max(1, min(place.width, len(stretch) - caret))
    return f"{head}\n    {stretch}\n    {' ' * caret}{'^' * width}"
