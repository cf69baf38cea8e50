"""What the commands about databases say: what merging did, and why numbers differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.store.merge import Conflict, Merged

MOST = 5
"""Numbers of one conflict that are listed, and conflicts that are listed whole."""


def merged_text(merged: Merged, db: str) -> Iterator[str]:
    """What merging did, line by line."""
    yield f"{merged.added} runs added to {db}; {merged.ended} that had not ended well here ended there"
    if merged.twice:
        yield f"{merged.twice} runs were trained at both places, with equal numbers"
    if merged.copy:
        yield f"the database as it was is kept in {merged.copy}"
    for conflict in merged.conflicts:
        yield from conflict_text(conflict)
    if merged.conflicts:
        yield (
            f"{len(merged.conflicts)} runs have different numbers at different places; of each the result that was "
            "there first stands. `harness db diff` explains why they differ"
        )


def conflict_text(conflict: Conflict) -> Iterator[str]:
    """One run with two results: which stands, and some of the numbers that differ."""
    where = conflict.kept if conflict.kept == "here" else "there"
    yield f"conflict {conflict.run_id} ({conflict.method}) with {conflict.other}: the result from {where} stands"
    for what, here, there in conflict.differences[:MOST]:
        yield f"  {what}: {number(here)} here, {number(there)} there" if here != there else f"  {what} differs"
    if len(conflict.differences) > MOST:
        yield f"  and {len(conflict.differences) - MOST} more"


def merged_json(merged: Merged) -> dict[str, Any]:
    """The same as plain JSON types."""
    conflicts = [
        {
            "run_id": conflict.run_id,
            "method": conflict.method,
            "other": conflict.other,
            "kept": conflict.kept,
            "differences": [{"what": what, "here": here, "there": there} for what, here, there in conflict.differences],
        }
        for conflict in merged.conflicts
    ]
    counts = {"added": merged.added, "ended": merged.ended, "twice": merged.twice}
    return {**counts, "conflicts": conflicts, "copy": str(merged.copy) if merged.copy else None}


def number(value: float | None) -> str:
    """Six digits, which is what is kept of curves."""
    return "-" if value is None else f"{value:.6g}"
