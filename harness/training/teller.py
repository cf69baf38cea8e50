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

    def __init__(self, epochs: int, say: Callable[[dict[str, Any]], None], every_s: float = EVERY_S) -> None:
        self.say = say
        self.every_s = every_s
        self.last: dict[str, Any] = {"epoch": 0, "epochs": epochs}
        self.finished_steps = 0  # of all finished epochs
        self.told_at = time.monotonic()

    def begin(self, history: History, steps_under_way: int = 0) -> None:
        """A run goes on from here: after its finished epochs and so many steps of the next one."""
        self._note(history)
        self.last["steps"] += steps_under_way
        self.last["first_step"] = self.last["steps"]
        self.say(self.last)

    def epoch(self, history: History) -> None:
        """An epoch has ended; always told."""
        self._note(history)
        self.say(self.last)

    def kept(self) -> None:
        """A checkpoint inside an epoch was kept; always told, as the next attempt begins there."""
        self.say(self.last)

    def step(self, doing: str, done: int, total: int) -> None:
        """`done` of `total` steps of what is being done; told when there was silence for a while."""
        if doing == "training":
            self.last["steps"] = self.finished_steps + done
        now = time.monotonic()
        if now - self.told_at >= self.every_s:
            self.told_at = now
            self.say({**self.last, "doing": doing, "done": done, "total": total})

    def _note(self, history: History) -> None:
        self.finished_steps = int(history.cost.get("steps", 0))
        self.last |= {
            "epoch": history.epoch,
            "steps": self.finished_steps,
            "loss": history.latest("train", "loss"),
            "recall_at_1": history.latest("test", "recall_at_1") or history.latest("validation", "recall_at_1"),
            "seconds": history.cost.get("total_seconds", 0.0),
        }
