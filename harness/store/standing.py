"""How runs stand now: those that have ended by the database, the open ones by their folders.

Only looks, and writes nothing, so that it may be asked from anywhere, at any time, by anybody who can read. What it
costs grows with the open runs; those that have ended are added up by the database.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store.engine import log, open_engine, told_by_database
from harness.store.files import seconds_between, utc_now
from harness.store.lease import Owner, is_stale, read_owner
from harness.store.spool import RunFolder, run_path
from harness.store.standing_rows import (
    Ended,
    Key,
    Kind,
    Undone,
    count_states,
    ended,
    foreseen,
    undone,
)

STATES = ("done", "failed", "running", "pending")

TELLING = {"attempts", "result.json", "lease.json", "checkpoint.pt"}
"""A folder in which there is none of these is of a run that nobody has ever worked on."""


@dataclass(frozen=True)
class Run:
    """A run that was not done when the database looked last."""

    run_id: str
    method: str
    seed: int
    kind: Kind
    results: Path
    state: str
    cause: str | None = None
    message: str | None = None
    owner: Owner | None = None  # who works on it
    slot: int | None = None  # of that worker, on its machine
    seconds: float = 0.0  # since when, so far
    progress: Mapping[str, Any] = field(default_factory=dict)  # of a checkpoint or a worker

    @property
    def folder(self) -> RunFolder:
        """Its folder."""
        return RunFolder(self.results, self.run_id)


@dataclass(frozen=True)
class Standing:
    """How the runs of a study, over all its profiles, or all runs (`study` None) stand."""

    study: str | None
    counts: Counter[str]  # by state
    running: list[Run]
    pending: list[Run]
    failed: list[Run]
    ended: Ended  # attempts and time, of open runs as well
    foreseen: Mapping[str, float]  # run_id -> seconds, where `harness plan` has estimated them
    studies: dict[Key, Counter[str]]  # study and profile -> runs by state

    @property
    def open(self) -> int:
        """Runs that have not ended."""
        return self.counts["running"] + self.counts["pending"]


def standing(url: str | Path, results: Path, study: str | None = None) -> Standing:
    """How things stand now.

    Raises StoreError without a database, and StudyError when it does not know the study.
    """
    with told_by_database(url), open_engine(url, write=False).connect() as connection:
        studies, found = count_states(connection, study), ended(connection, study)
        rows = list(undone(connection, study))
        estimates = foreseen(connection, study) if rows else {}
    look, runs = Look(results, found), dict[str, Run]()
    for row in rows:
        if row.run_id not in runs:
            runs[row.run_id] = look(row)
        if row.study is not None:
            _recount(studies[row.study, str(row.kind[0])], row.state, runs[row.run_id].state)
    by_state: dict[str, list[Run]] = {state: [] for state in STATES}
    for run in runs.values():
        by_state[run.state].append(run)
    counts = Counter({state: len(by_state[state]) for state in STATES})
    counts["done"] += found.done
    lists = by_state["running"], by_state["pending"], by_state["failed"]
    return Standing(study, counts, *lists, found, estimates, studies)


def _recount(counts: Counter[str], before: str, now: str) -> None:
    counts[before] -= 1
    counts[now] += 1


class Look:
    """Looks into the folders of open runs, and adds what they have cost so far to what ended runs have."""

    def __init__(self, results: Path, spent: Ended) -> None:
        self.results = results
        self.spent = spent
        self.slots = slots_by_process(results)
        self.now = utc_now()

    def __call__(self, row: Undone) -> Run:
        """How a run stands. One whose folder is damaged is told, and pending."""
        names = names_in(run_path(self.results, row.run_id)) if row.state != "failed" else set()
        state = row.state if row.state == "failed" else "pending"
        method = row.kind[1] or "a run of no study"
        run = Run(row.run_id, method, row.seed, row.kind, self.results, state, row.cause, row.message)
        if not names & TELLING:
            return run
        try:
            return self.look(run, names)
        except StoreError as error:
            log.warning("run %s: %s", run.run_id, error)
            return run

    def look(self, run: Run, names: set[str]) -> Run:
        """An open run, as its folder says."""
        folder = run.folder
        seconds = self.add_attempts(folder) if "attempts" in names else 0.0
        state = folder.state() if names & {"result.json", "lease.json"} else "pending"
        if state == "done":
            self.spent.add_finished(run.kind, 1, seconds)
            return replace(run, state=state)
        if state == "failed":
            result = folder.read_result()
            assert result is not None
            return replace(run, state=state, cause=result.cause, message=result.message)
        owner = folder.owner() if state == "running" else None  # None also where it has just given the run back
        if owner is not None:
            return self.at_work(run, owner)
        return replace(run, progress=folder.read_progress() or {}) if "checkpoint.pt" in names else run

    def at_work(self, run: Run, owner: Owner) -> Run:
        """A run that somebody works on."""
        seconds = seconds_between(owner.begun, self.now)
        self.spent.add_time(seconds, owner.about.get("device"))
        slot = self.slots.get((owner.host_identity, owner.pid))
        progress = run.folder.read_progress() or {}
        return replace(run, state="running", owner=owner, slot=slot, seconds=seconds, progress=progress)

    def add_attempts(self, folder: RunFolder) -> float:
        """Count the attempts of an open run; gives what they took."""
        total = 0.0
        for attempt in folder.attempts():
            seconds = seconds_between(attempt.begin, attempt.end)
            self.spent.add_attempt(attempt.cause, seconds, attempt.device)
            total += seconds
        return total


def names_in(folder: Path) -> set[str]:
    """The names in a folder, by which most runs that wait need no further look."""
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def slots_by_process(results: Path) -> dict[tuple[str, int], int]:
    """Machine and process -> the worker slot that it holds."""
    found = {}
    for path in (results / "workers").glob("*-slot-*.json"):
        number = re.search(r"-slot-(\d+)$", path.stem)
        owner = read_owner(path)
        if number and owner is not None and not is_stale(path, owner):
            found[owner.host_identity, owner.pid] = int(number.group(1))
    return found
