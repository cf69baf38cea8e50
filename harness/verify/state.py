"""Everything that a run knows at its end: what a checkpoint holds, and what parts keep beside it."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.training.assemble import Parts, part_state
from harness.training.history import History

FILE = "state.pt"
OPEN_TO_OTHERS = ("network", "objective", "miner", "sampler", "regularizer")
"""What may be made by somebody who forgot to keep something."""

DEPTH = 6
"""Attributes of attributes are looked at so deep."""


def keep_state(folder: Path, parts: Parts, history: History) -> None:
    """Leave the state of a finished run in its folder."""
    beside = {name: dict(attributes(getattr(parts, name), name)) for name in OPEN_TO_OTHERS}
    said = {"curves": history.curves, "selected epochs": history.snapshots}
    torch.save({"parts": part_state(parts), "history": said, "beside": beside}, folder / FILE)


def read_state(folder: Path) -> dict[str, Any]:
    """What `keep_state` has left."""
    state: dict[str, Any] = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    return state


def attributes(part: Any, name: str) -> Iterator[tuple[str, str]]:
    """Path -> value, as text, of every attribute of a part; for modules only of what is not in their state."""
    if not isinstance(part, nn.Module):
        yield from _inside(part, name, DEPTH, set())
        return
    for path, module in part.named_modules(prefix=name):
        saved = module.state_dict(keep_vars=True)
        plain = {key: value for key, value in vars(module).items() if key not in _OF_EVERY_MODULE}
        unsaved = {key: value for key, value in module.named_buffers(recurse=False) if key not in saved}
        yield from _inside({**plain, **unsaved}, path, DEPTH, {id(child) for child in part.modules()})


_OF_EVERY_MODULE = set(vars(nn.Module()))


def _inside(value: Any, path: str, depth: int, seen: set[int]) -> Iterator[tuple[str, str]]:
    text = _leaf(value)
    if text is not None:
        yield path, text
        return
    if depth == 0 or id(value) in seen:
        return
    seen.add(id(value))
    for key, child in _children(value):
        yield from _inside(child, f"{path}.{key}", depth - 1, seen)


def _leaf(value: Any) -> str | None:
    """What a value is, as text of one line; None for a value that is made of others."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:100]
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {digest(value)}"
    if isinstance(value, np.ndarray | np.generic):
        return f"array {value.shape} {digest(value)}"
    for kind, state_of in _GENERATORS.items():
        if isinstance(value, kind):
            return f"generator {hashlib.sha256(repr(state_of(value)).encode()).hexdigest()[:8]}"
    return None


_GENERATORS: Mapping[type, Any] = {
    torch.Generator: lambda generator: generator.get_state().tolist(),
    np.random.Generator: lambda generator: generator.bit_generator.state,
    random.Random: lambda generator: generator.getstate(),
}


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(key), child) for key, child in value.items())
    elif isinstance(value, Set):
        yield "members", repr(sorted(map(repr, value)))
    elif isinstance(value, Sequence):
        yield from ((str(number), child) for number, child in enumerate(value))
    elif not isinstance(value, type | FunctionType | MethodType | BuiltinFunctionType | ModuleType):
        yield from getattr(value, "__dict__", {}).items()


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path -> leaf of nested mappings and lists."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from flattened(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from flattened(child, f"{path}.{number}" if path else str(number))
    else:
        yield path, value


def digest(value: Any) -> str:
    """The same exactly when every bit of a leaf is the same, its type and shape included."""
    if isinstance(value, Tensor):
        # A single number may have any stride and be called contiguous all the same; a copy has that of its type.
        raw = value.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
        about, content = f"{value.dtype} {tuple(value.shape)}", raw.view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray | np.generic):
        about, content = f"{value.dtype} {value.shape}", value.tobytes()
    elif isinstance(value, float):
        about, content = "float", value.hex().encode()
    else:
        about, content = type(value).__name__, repr(value).encode()
    return hashlib.sha256(about.encode() + b"\0" + content).hexdigest()[:16]


def distance(first: Any, second: Any) -> float | None:
    """The largest difference of two leaves; None where there is none to tell."""
    if isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape and first.numel():
        return float((first.double() - second.double()).abs().max())
    if isinstance(first, int | float) and isinstance(second, int | float):
        return abs(first - second)
    return None


def larger(first: float | None, second: float | None) -> float | None:
    """The larger of two differences that may be unknown; nan counts as infinite."""
    known = [math.inf if math.isnan(value) else value for value in (first, second) if value is not None]
    return max(known, default=None)
