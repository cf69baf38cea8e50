"""What a run says of itself while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from harness.training.history import History

EVERY_S = 1.0
"""Steps are told at most so often: telling is a file that is written anew, on a disk that may be far away."""


class Teller:
    """Says after every epoch how it went, and inside long ones how far they are."""

    def __init__(self, epochs: int, say: Callable[[dict[str, Any]], None]) -> None:
        self.say = say
        self.last: dict[str, Any] = {"epoch": 0, "epochs": epochs}
        self.told_at = time.monotonic()

    def epoch(self, history: History) -> None:
        """An epoch has ended; always told."""
        self.last |= {
            "epoch": history.epoch,
            "loss": history.latest("train", "loss"),
            "recall_at_1": history.latest("test", "recall_at_1"),
            "seconds": history.cost["total_seconds"],
        }
        self.say(self.last)

    def step(self, doing: str, done: int, total: int) -> None:
        """`done` of `total` steps of what is being done; told when there was silence for a while."""
        now = time.monotonic()
        if now - self.told_at >= EVERY_S:
            self.told_at = now
            self.say({**self.last, "doing": doing, "done": done, "total": total})
