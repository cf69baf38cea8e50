"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from harness.training.assemble import Parts, load_part_state, part_state
from harness.training.history import History


def save(path: Path, parts: Parts, history: History) -> None:
    """Write beside and rename, so that a checkpoint is whole or is the one before.

    Streams of chance are derived from (seed, purpose, epoch), so none has to be kept.
    """
    state = {"run_id": parts.spec.run_id, "parts": part_state(parts), "history": history.state()}
    beside = path.with_name(f"{path.name}.tmp{os.getpid()}")
    try:
        torch.save(state, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def load(path: Path | None, parts: Parts) -> History:
    """The history to go on from; an empty one where there is no checkpoint of this very run.

    Only tensors and plain values are read (`weights_only`); a checkpoint that cannot be read starts the run anew.
    """
    if path is None or not path.exists():
        return History()
    try:
        state = torch.load(path, map_location=parts.device, weights_only=True)
    except Exception:
        # A torn or foreign file costs the epochs it held, never the run.
        return History()
    if state.get("run_id") != parts.spec.run_id:
        return History()
    load_part_state(parts, state["parts"])
    return History.from_state(state["history"])
