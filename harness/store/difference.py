"""Why the numbers of two databases differ: what is on record of their runs, held against which numbers differ.

Runs are paired by their id; those that only one place has, by their names and seed with the run of the other place that
differs in the fewest settings. A fact that is another in every pair whose numbers differ, and in none whose numbers are
equal, explains all; a fact that is another in all pairs alike explains nothing by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from harness.errors import StudyError, did_you_mean
from harness.specs import KINDS, canonical_json
from harness.store import schema
from harness.store.engine import open_engine, told_by_database
from harness.store.facts import CAUSES, Facts, facts_of
from harness.store.sources import name_of, opened

HEADLINE = ("test", "recall_at_1", "last")
_ORDER = list(CAUSES)

Numbers = dict[tuple[str, str, str], float]
"""Split, metric and selection -> value."""


@dataclass(frozen=True)
class Run:
    """A run that is done, at one place."""

    run_id: str
    spec: Mapping[str, Any]
    facts: Facts
    numbers: Numbers

    @property
    def names(self) -> tuple[Any, ...]:
        """By what runs of two places are paired that do not have the same id."""
        return *(self.spec[kind]["name"] if self.spec.get(kind) else None for kind in KINDS), self.spec["seed"]


@dataclass(frozen=True)
class Pair:
    """What is one run to a person, at two places."""

    first: Run
    second: Run

    @property
    def common(self) -> list[tuple[str, str, str]]:
        """The numbers that both have."""
        return [key for key in self.first.numbers if key in self.second.numbers]

    @property
    def differs(self) -> bool:
        """Whether any number that both have is another, or they have none in common."""
        return not self.common or any(self.first.numbers[key] != self.second.numbers[key] for key in self.common)

    @property
    def headline(self) -> float | None:
        """By how much the headline number is higher at the second place."""
        if HEADLINE not in self.common:
            return None
        return self.second.numbers[HEADLINE] - self.first.numbers[HEADLINE]

    def changes(self) -> dict[tuple[str, str], tuple[Any, Any]]:
        """The facts that are others. A fact of provenance that one place did not record says nothing."""
        first, second = self.first.facts, self.second.facts
        names = [name for name in (*first, *(set(second) - set(first))) if _said_by_both(name, first, second)]
        pairs = {name: (first.get(name), second.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if canonical_json(pair[0]) != canonical_json(pair[1])}


@dataclass(frozen=True)
class Reason:
    """A fact that is another at the two places, and how well that goes with which numbers differ.

    It is another in `differing` of the pairs whose numbers differ, in `equal` of those whose numbers are equal;
    `by` is the mean difference of the headline number among the former (None where none has it).
    """

    cause: str
    name: str
    values: list[tuple[Any, Any]]
    differing: int
    equal: int
    by: float | None


@dataclass(frozen=True)
class Difference:
    """What two places have in common, and why their numbers differ, the reason that explains most first."""

    pairs: int
    same_id: int
    differing: int
    by: float | None  # mean absolute difference of the headline number among the differing pairs
    at_most: float | None
    only_first: int
    only_second: int
    reasons: list[Reason] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)  # runs whose numbers differ though every fact is the same


def difference(
    first: str | Path, second: str | Path, study: str | None = None, profile: str | None = None
) -> Difference:
    """Compares two databases, results folders or bundles, or one study of both.

    Raises StudyError where one does not know the study, StoreError where a place cannot be read.
    """
    with opened(first) as one, opened(second) as other:
        return explain(_runs_at(one, name_of(first), study, profile), _runs_at(other, name_of(second), study, profile))


def explain(first: Sequence[Run], second: Sequence[Run]) -> Difference:
    """Why the numbers of two lots of runs differ."""
    pairs = pair(first, second)
    differing = [each for each in pairs if each.differs]
    sizes = [abs(each.headline) for each in differing if each.headline is not None]
    return Difference(
        pairs=len(pairs),
        same_id=sum(each.first.run_id == each.second.run_id for each in pairs),
        differing=len(differing),
        by=sum(sizes) / len(sizes) if sizes else None,
        at_most=max(sizes, default=None),
        only_first=len(first) - len(pairs),
        only_second=len(second) - len(pairs),
        reasons=_reasons(differing, [each for each in pairs if not each.differs]),
        unexplained=[each.first.run_id for each in differing if not each.changes()],
    )


def pair(first: Sequence[Run], second: Sequence[Run]) -> list[Pair]:
    """Each run with at most one of the other place."""
    by_id = {run.run_id: run for run in second}
    pairs = [Pair(run, by_id[run.run_id]) for run in first if run.run_id in by_id]
    met = {each.first.run_id for each in pairs}
    left: dict[tuple[Any, ...], tuple[list[Run], list[Run]]] = defaultdict(lambda: ([], []))
    for side, runs in enumerate((first, second)):
        for run in runs:
            if run.run_id not in met:
                left[run.names][side].append(run)
    for ours, theirs in left.values():
        pairs += _nearest(ours, theirs)
    return pairs


def _nearest(ours: Sequence[Run], theirs: Sequence[Run]) -> list[Pair]:
    """Pairs of runs of one name, those that differ in the fewest facts first."""
    candidates = sorted(
        ((len(Pair(a, b).changes()), a.run_id, b.run_id, Pair(a, b)) for a in ours for b in theirs),
        key=lambda candidate: candidate[:3],
    )
    used: set[str] = set()
    found = []
    for _, one, other, each in candidates:
        if one not in used and other not in used:
            used |= {one, other}
            found.append(each)
    return found


def _said_by_both(name: tuple[str, str], first: Facts, second: Facts) -> bool:
    # An option of a spec that only one has is another setting: another version of a part knows more options.
    return (name in first and name in second) or (name[0] == "setting" and "." in name[1])


def _reasons(differing: Sequence[Pair], equal: Sequence[Pair]) -> list[Reason]:
    changes: dict[tuple[str, str], list[tuple[Pair, tuple[Any, Any]]]] = defaultdict(list)
    for each in differing:
        for name, values in each.changes().items():
            changes[name].append((each, values))
    innocent: dict[tuple[str, str], int] = defaultdict(int)
    for each in equal:
        for name in each.changes():
            innocent[name] += 1
    reasons = [_reason(name, found, innocent[name]) for name, found in changes.items()]

    def strength(reason: Reason) -> tuple[float, int, str]:
        share = reason.equal / len(equal) if equal else 0.0
        return share - reason.differing / len(differing), _ORDER.index(reason.cause), reason.name

    return sorted(reasons, key=strength)


def _reason(name: tuple[str, str], found: Sequence[tuple[Pair, tuple[Any, Any]]], equal: int) -> Reason:
    values = {canonical_json(values): values for _, values in found}
    sizes = [abs(each.headline) for each, _ in found if each.headline is not None]
    by = sum(sizes) / len(sizes) if sizes else None
    return Reason(*name, [values[key] for key in sorted(values)], len(found), equal, by)


def _runs_at(url: str, name: str, study: str | None, profile: str | None) -> list[Run]:
    """The runs of a place that are done. Raises StudyError where it does not know the study."""
    runs, members = schema.runs, schema.study_runs
    query = select(runs.c.run_id, runs.c.spec, runs.c.provenance).where(runs.c.state == "done")
    if study is not None:
        chosen = members.c.study == study
        chosen = chosen if profile is None else chosen & (members.c.profile == profile)
        query = query.where(runs.c.run_id.in_(select(members.c.run_id).where(chosen)))
    with told_by_database(url), open_engine(url, write=False).connect() as connection:
        known = set(connection.execute(select(schema.studies.c.study)).scalars())
        if study is not None and study not in known:
            raise StudyError(f"{name} has no study {study!r}{did_you_mean(study, known)}")
        numbers, classes = _numbers(connection), _class_lists(connection)
        rows = connection.execute(query.order_by(runs.c.run_id)).all()
    return [Run(id, spec, facts_of(spec, made) | classes.get(id, {}), numbers.get(id, {})) for id, spec, made in rows]


def _numbers(connection: Connection) -> dict[str, Numbers]:
    table, found = schema.measurements.c, dict[str, Numbers]()
    query = select(table.run_id, table.split, table.metric, table.selection, table.value)
    for run_id, split, metric, selection, value in connection.execute(query):
        found.setdefault(run_id, {})[split, metric, selection] = float(value)
    return found


def _class_lists(connection: Connection) -> dict[str, Facts]:
    """Of each run the classes that it has scores of, which results from before there were digests have, too."""
    table, found = schema.class_scores.c, dict[str, Facts]()
    for run_id, split, names in connection.execute(select(table.run_id, table.split, table.class_list).distinct()):
        found.setdefault(run_id, {})["classes", f"names of {split}"] = names
    return found
