"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

from harness.training.assemble import Parts, load_part_state, part_state
from harness.training.history import History
from harness.training.under_way import EpochUnderWay

SAVE_EVERY_S = 300.0
"""A run that is killed without a word loses at most this much, even where an epoch takes hours."""


class Checkpoint:
    """The checkpoint of one run in a file; with `path` None nothing is kept.

    Between epochs no stream of chance has a state, because each is derived from (seed, purpose, epoch); a checkpoint
    inside an epoch holds the epoch under way.
    """

    def __init__(self, path: Path | None, parts: Parts, every_s: float = SAVE_EVERY_S) -> None:
        self.path = path
        self.parts = parts
        self.every_s = every_s
        self.saved = time.monotonic()
        self._under_way: dict[str, Any] | None = None

    def due(self) -> bool:
        """Whether the last one is so old that another should be kept."""
        return self.path is not None and time.monotonic() - self.saved > self.every_s

    def save(self, history: History, under_way: EpochUnderWay | None = None) -> None:
        """Write beside and rename, so that a checkpoint is whole or is the one before."""
        if self.path is None:
            return
        state = {
            "run_id": self.parts.spec.run_id,
            "parts": part_state(self.parts),
            "history": history.state(),
            "under_way": under_way.state() if under_way else None,
        }
        beside = self.path.with_name(f"{self.path.name}.tmp{os.getpid()}")
        try:
            torch.save(state, beside)
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)
        self.saved = time.monotonic()

    def load(self) -> History:
        """The history to go on from; an empty one where there is no checkpoint of this very run.

        Only tensors and plain values are read (`weights_only`); a checkpoint that cannot be read starts the run anew.
        """
        if self.path is None or not self.path.exists():
            return History()
        try:
            state = torch.load(self.path, map_location=self.parts.device, weights_only=True)
        except Exception:
            # A torn or foreign file costs the epochs it held, never the run.
            return History()
        if state.get("run_id") != self.parts.spec.run_id:
            return History()
        load_part_state(self.parts, state["parts"])
        self._under_way = state["under_way"]
        return History.from_state(state["history"])

    @property
    def steps_under_way(self) -> int:
        """How many steps of an epoch that has not ended are in what was loaded."""
        return int(self._under_way["step"]) if self._under_way else 0

    def take_under_way(self) -> dict[str, Any] | None:
        """The state of the epoch that was under way, once: the one after it begins at its beginning."""
        left, self._under_way = self._under_way, None
        return left
