"""The text of a run's result: what stands in result.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.specs import RunResult
from harness.store.files import parse_json


def result_text(result: RunResult) -> str:
    """The result as it stands in the file; ValueError when it holds nan or infinity, which JSON cannot carry."""
    # What RunResult.to_dict gives, without its deep copy, which took most of the time of publishing.
    return json.dumps({"format": 1, **vars(result)}, default=_fields, allow_nan=False)


def _fields(value: object) -> dict[str, Any]:
    if is_dataclass(value):
        return vars(value)
    raise TypeError(f"a result holds {value!r}, which is no JSON value")


def parse_result(text: bytes, path: Path, run_id: str) -> RunResult:
    """The inverse of `result_text`; StoreError when the text, read from `path`, is not the result of this run."""
    found = parse_json(text, path)
    try:
        if found["format"] != 1:
            raise StoreError(f"{path} has format {found['format']!r}; this version of harness reads format 1")
        result = RunResult.from_dict(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{path} is not the result of a run: {type(error).__name__} {error}") from error
    named = isinstance(result.cost, dict) and isinstance(result.provenance, dict)
    if result.run_id != run_id or result.state not in ("done", "failed") or not named:
        raise StoreError(f"{path} is not the result of run {run_id}")
    return result


def digest_of(text: bytes) -> str:
    """What tells one result from another: 64 bits of SHA-256, in hex."""
    return hashlib.sha256(text).hexdigest()[:16]
