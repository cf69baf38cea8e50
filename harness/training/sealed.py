"""The sealed test set of tuned studies: a final run keeps its weights, and a look measures them on the test classes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from harness.errors import DataError
from harness.specs import RunSpec
from harness.training.assemble import Context, Parts
from harness.training.history import History
from harness.training.roles import final_of


def is_look(spec: RunSpec) -> bool:
    """Whether a run trains nothing and measures what another has kept."""
    return spec.tuned is not None and spec.tuned.role == "look"


def keep_weights(parts: Parts, history: History, context: Context) -> None:
    """Leave what a look needs of a final run: the network, its average and what was measured; nothing of other runs."""
    spec = parts.spec
    if spec.tuned is None or spec.tuned.role != "final" or context.weights is None:
        return
    state = {
        "run_id": spec.run_id,
        "network": parts.network.state_dict(),
        "average": parts.average.state_dict() if parts.average else None,
        "history": history.state(),
    }
    path = context.weights(spec.run_id)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # the result that will stand next to it says that they are there
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def last_of(parts: Parts, context: Context) -> History:
    """The history of the final run that a look is about, whose weights the network of `parts` has then.

    Raises DataError where they are missing or damaged, and where the look would measure another run than it says.
    """
    spec = parts.spec
    assert spec.tuned is not None
    assert spec.tuned.of is not None
    if final_of(spec).run_id != spec.tuned.of:
        raise DataError(f"run {spec.run_id} says that it looks at run {spec.tuned.of}, which trained something else")
    if context.weights is None:
        raise DataError("nobody has said where the weights of final runs are kept")
    state = _read(context.weights(spec.tuned.of), spec.tuned.of, parts.device)
    parts.network.load_state_dict(state["network"])
    if parts.average:
        parts.average.load_state_dict(state["average"])
    return History.from_state(state["history"])


def _read(path: Path, run_id: str, device: torch.device) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["run_id"] != run_id:
            raise DataError(f"{path} holds the weights of run {state['run_id']}, not of {run_id}")
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the weights that run {run_id} kept cannot be read: {error}") from error
    return dict(state)
