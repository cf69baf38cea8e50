"""What the database knows of how runs stand: for those that have ended one row of it for each kind of run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select

from harness.errors import StudyError, did_you_mean
from harness.store import schema

Kind = tuple[str | None, ...]
"""What tells how long a run takes, as far as columns tell: profile, method, dataset, backbone, sampler."""

Key = tuple[str, str]
"""Study and profile."""

_runs, _members, _attempts = schema.runs.c, schema.study_runs.c, schema.attempts.c
_KIND = (_members.profile, _members.method, _runs.dataset, _runs.backbone, _runs.sampler)


@dataclass
class Ended:
    """What ended runs have cost: attempts by cause, and for each kind how many runs are done and what these took."""

    done: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    worker_s: float = 0.0
    gpu_s: float = 0.0
    finished: dict[Kind, tuple[int, float]] = field(default_factory=dict)

    def add_attempt(self, cause: str, seconds: float, device: str | None) -> None:
        """One more attempt, of whatever run."""
        self.causes[cause] += 1
        self.add_time(seconds, device)

    def add_time(self, seconds: float, device: str | None) -> None:
        """Time of a worker on a device."""
        self.worker_s += seconds
        self.gpu_s += seconds if (device or "").startswith("cuda") else 0.0

    def add_finished(self, kind: Kind, runs: int, seconds: float) -> None:
        """Runs of a kind that are done, or attempts of such."""
        count, total = self.finished.get(kind, (0, 0.0))
        self.finished[kind] = count + runs, total + seconds


@dataclass(frozen=True)
class Undone:
    """A run that is not done by the database, with one of the studies that it belongs to."""

    study: str | None
    run_id: str
    seed: int
    state: str
    cause: str | None
    message: str | None
    kind: Kind


def count_states(connection: Connection, study: str | None) -> dict[Key, Counter[str]]:
    """Study and profile -> runs by state. Raises StudyError when the database does not know the study."""
    table = schema.studies.c
    counts = {
        (name, profile): Counter[str]() for name, profile in connection.execute(select(table.study, table.profile))
    }
    names = {name for name, _ in counts}
    if study is not None and study not in names:
        raise StudyError(f"the database has no study {study!r}{did_you_mean(study, names)}")
    columns = (_members.study, _members.profile, _runs.state)
    joined = schema.study_runs.join(schema.runs, _members.run_id == _runs.run_id)
    query = select(*columns, func.count()).select_from(joined).group_by(*columns)
    for name, profile, state, count in connection.execute(query):
        counts[name, profile][state] = count
    return {key: found for key, found in counts.items() if study in (None, key[0])}


def ended(connection: Connection, study: str | None) -> Ended:
    """What the runs that have ended by the database have cost."""
    query = select(func.count()).select_from(schema.runs)
    if study is not None:
        query = _of(select(func.count(_runs.run_id.distinct())), study)
    found = Ended(done=int(connection.execute(query.where(_runs.state == "done")).scalar_one()))
    # The database adds up: it knows a few kinds of runs, however many runs there are.
    groups = (_runs.state, _attempts.cause, _attempts.device, *_KIND)
    query = _of(select(func.count(), func.sum(_attempts.seconds), *groups), study, attempts=True)
    query = query.where(_runs.state.in_(("done", "failed")), _is_first(study)).group_by(*groups)
    for row in connection.execute(query):
        attempts, seconds, state, cause, device, *kind = list[Any](row)
        found.causes[cause] += attempts
        found.add_time(float(seconds or 0), device)
        if state == "done":
            found.add_finished(tuple(kind), attempts if cause == "done" else 0, float(seconds or 0))
    return found


def _is_first(study: str | None) -> ColumnElement[bool]:
    """Of the studies and profiles that a run belongs to (those of one study, if given) only the first is meant."""
    other = schema.study_runs.alias("other")
    before = (other.c.study < _members.study) | (
        (other.c.study == _members.study) & (other.c.profile < _members.profile)
    )
    query = select(other.c.run_id).where(other.c.run_id == _members.run_id, before)
    return ~exists(query if study is None else query.where(other.c.study == study))


def undone(connection: Connection, study: str | None) -> Iterator[Undone]:
    """All runs that are not done by the database, in the order of their study; once for each profile or study."""
    columns = (_members.study, _runs.run_id, _runs.seed, _runs.state, _runs.cause, _runs.message)
    query = _of(select(*columns, *_KIND), study).where(_runs.state != "done")
    for row in connection.execute(query.order_by(_members.study, _members.profile, _members.position)):
        study_name, run_id, seed, state, cause, message, *kind = row
        yield Undone(study_name, run_id, seed, state, cause, message, tuple(kind))


def foreseen(connection: Connection, study: str | None) -> Mapping[str, float]:
    """Run -> seconds, where `harness plan` has estimated them."""
    table = schema.estimates.c
    query = select(table.run_id, table.seconds)
    rows = connection.execute(query if study is None else query.where(table.study == study))
    return {str(run_id): float(seconds) for run_id, seconds in rows}


def _of(query: Select[Any], study: str | None, attempts: bool = False) -> Select[Any]:
    """The query over the runs of a study; without one over all runs, those of no study or of several as well."""
    joined = schema.runs.join(schema.study_runs, _members.run_id == _runs.run_id, isouter=study is None)
    if attempts:
        joined = joined.join(schema.attempts, _attempts.run_id == _runs.run_id)
    query = query.select_from(joined)
    return query if study is None else query.where(_members.study == study)
