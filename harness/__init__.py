"""Benchmark studies of deep metric learning.

The names of the Python surface are imported when they are used, so that `import harness` is quick and free of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.registry import build
    from harness.store.frames import Database
    from harness.study import Study
    from harness.training.measure import measure
    from harness.tuples import Triplets

__version__ = "0.1.0"

_HOMES = {
    "Database": "harness.store.frames",
    "Study": "harness.study",
    "Triplets": "harness.tuples",
    "build": "harness.registry",
    "measure": "harness.training.measure",
}

__all__ = ["Database", "Study", "Triplets", "__version__", "build", "measure"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
