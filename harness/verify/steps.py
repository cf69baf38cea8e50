"""Every step that workers of a run have made, in a file that also outlives those that were killed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FILE = "steps.log"


class Steps:
    """The steps that were made in a run folder, when last read."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / FILE).read_text().splitlines() if (folder / FILE).exists() else []
        self._made = Counter(lines)
        self.last = lines[-1] if lines else "no step"

    def add(self, line: str) -> None:
        """One more."""
        self._made[line] += 1

    def different(self, doing: str = "") -> int:
        """How many there are, each counted once."""
        return sum(step.startswith(doing) for step in self._made) if doing else len(self._made)

    def computed(self, doing: str) -> int:
        """How many were made, some of them repeatedly."""
        return sum(count for step, count in self._made.items() if step.startswith(doing))


def record_steps(folder: Path, point: int, reached: Callable[[], None]) -> Callable[[Mapping[str, Any]], None]:
    """What a run tells its progress to; calls `reached` once so many different steps are made and another has come.

    Each step is at once in the hands of the kernel, so that it is known even if the process is killed now.
    """
    steps, waiting = Steps(folder), [reached]
    log = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def record(progress: Mapping[str, Any]) -> None:
        if "doing" not in progress:
            return
        line = f"{progress['doing']}, epoch {progress['epoch'] + 1}, step {progress['done']}"
        os.write(log, f"{line}\n".encode())
        steps.add(line)
        if waiting and steps.different() >= point:
            waiting.pop()()

    return record
