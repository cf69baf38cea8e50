"""What the commands about several places say: what merging did, and why numbers differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from harness.store.difference import HEADLINE, Difference, Reason
from harness.store.facts import CAUSES
from harness.store.merge import Conflict, Merged
from harness.store.sources import name_of

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


def difference_text(found: Difference, first: str, second: str) -> Iterator[str]:
    """Which numbers differ, and why, as lines for a person."""
    yield f"A: {name_of(first)}"
    yield f"B: {name_of(second)}"
    yield f"{found.pairs} runs are in both, {found.same_id} of them with the same identity"
    for count, place in ((found.only_first, "A"), (found.only_second, "B")):
        if count:
            yield f"{count} runs are only in {place}, and nothing like them in the other"
    if not found.pairs:
        return
    if not found.differing:
        yield "All numbers are equal."
        return
    size = (
        "" if found.by is None else f", {HEADLINE[1]} by {points(found.by)} on average, at most {points(found.at_most)}"
    )
    yield f"The numbers of {found.differing} differ{size}."
    equal = found.pairs - found.differing
    if found.reasons:
        yield "What is different on record, most explaining first:"
    for (cause, differing, innocent), reasons in groupby(found.reasons, lambda of: (of.cause, of.differing, of.equal)):
        among = f"{differing} of {found.differing} that differ, {innocent} of {equal} that do not"
        yield f"  {cause} ({CAUSES[cause]}): {among}"
        yield from (f"    {line}" for reason in reasons for line in reason_text(reason))
    if found.unexplained:
        some = ", ".join(found.unexplained[:MOST]) + (", ..." if len(found.unexplained) > MOST else "")
        yield (
            f"{len(found.unexplained)} runs differ in nothing that is on record (chance on a GPU, or what nobody "
            f"recorded): {some}"
        )


def reason_text(reason: Reason) -> Iterator[str]:
    """One fact, with its values at both places."""
    for before, after in reason.values[:MOST]:
        yield f"{reason.name}: {short(before)} -> {short(after)}"
    if len(reason.values) > MOST:
        yield f"{reason.name}: and {len(reason.values) - MOST} other pairs of values"


def difference_json(found: Difference) -> dict[str, Any]:
    """The same as plain JSON types."""
    reasons = [
        {**asdict(reason), "values": [{"first": pair[0], "second": pair[1]} for pair in reason.values]}
        for reason in found.reasons
    ]
    return {**asdict(found), "reasons": reasons}


def points(value: float | None) -> str:
    """A share in percent points."""
    return "-" if value is None else f"{100 * value:.2f} points"


def short(value: Any) -> str:
    """A value in one word: digests are told apart by their beginning."""
    text = "-" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
