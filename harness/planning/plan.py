"""The plan of a study: the missing runs by cells, each with its pace, and what all of them will take together."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.planning.cells import Cell, cells_of
from harness.planning.known import Kind, folder_size, known_paces
from harness.planning.pace import Pace
from harness.planning.schedule import Schedule, Task, schedule
from harness.specs import RunSpec
from harness.store.estimates import Estimate, finished_runs
from harness.store.spool import RunFolder

Rehearse = Callable[[RunSpec, str], Pace | str]
"""A spec and the name of its cell -> its pace, or why there is none."""


@dataclass(frozen=True)
class Workforce:
    """Who would work: how many workers at a time, on what, and for how long without a break (None: until done)."""

    count: int
    kind: Kind
    gpus_each: float = 0.0
    job_s: float | None = None


@dataclass(frozen=True)
class Row:
    """A cell of the plan; `pace` is the reason where there is none."""

    cell: Cell
    pace: Pace | str


@dataclass(frozen=True)
class Disk:
    """Bytes; None where nobody knows."""

    run_folders: int | None
    database: int | None
    checkpoints: int | None  # while runs are under way
    cache: int  # image banks and features that are there
    free: int

    @property
    def needed(self) -> int:
        """What is known to come."""
        return sum(size or 0 for size in (self.run_folders, self.database, self.checkpoints))


@dataclass(frozen=True)
class Plan:
    """What is missing of a study and what that takes; the schedule is that of the runs whose pace is known."""

    total: int
    done: int
    failed: int
    rows: list[Row]
    workforce: Workforce
    start_s: float  # until a worker begins its first run
    schedule: Schedule
    disk: Disk

    @property
    def missing(self) -> int:
        """Runs that are neither done nor failed."""
        return self.total - self.done - self.failed

    @property
    def unknown(self) -> int:
        """Missing runs that nothing is known of."""
        return sum(len(row.cell.specs) for row in self.rows if isinstance(row.pace, str))

    def estimates(self) -> list[Estimate]:
        """What is foreseen of each missing run, for the database."""
        return [
            Estimate(spec.run_id, pace.run_seconds(spec), pace.cost(spec), pace.source, pace.device)
            for row in self.rows
            if isinstance(pace := row.pace, Pace)
            for spec in row.cell.specs
        ]


def make_plan(
    specs: Sequence[RunSpec],
    results: Path,
    db: str,
    workforce: Workforce,
    rehearse: Rehearse,
    start_seconds: Callable[[], float],
) -> Plan:
    """Plan the missing ones of some runs.

    `rehearse` is asked for a cell that the database does not know; `start_seconds`, once something is known to do,
    how long a worker needs to begin.
    """
    states = {spec.run_id: RunFolder(results, spec.run_id).state() for spec in specs}
    missing = [spec for spec in specs if states[spec.run_id] not in ("done", "failed")]
    rows = _rows(cells_of(missing), results, db, workforce.kind, rehearse)
    known = {spec.run_id: row.pace for row in rows if isinstance(row.pace, Pace) for spec in row.cell.specs}
    tasks = [_task(spec, known[spec.run_id], results) for spec in missing if spec.run_id in known]
    start_s = start_seconds() if tasks else 0.0
    ended = list(states.values())
    return Plan(
        total=len(specs),
        done=ended.count("done"),
        failed=ended.count("failed"),
        rows=rows,
        workforce=workforce,
        start_s=start_s,
        schedule=schedule(tasks, workforce.count, start_s, workforce.job_s),
        disk=_disk(rows, results, workforce.count),
    )


def _rows(cells: Sequence[Cell], results: Path, db: str, kind: Kind, rehearse: Rehearse) -> list[Row]:
    paces: dict[str, Pace | str] = {}
    keys = {cell.key for cell in cells}
    paces.update(known_paces(finished_runs(db), keys, kind, results) if cells else {})
    for cell in cells:
        if cell.key not in paces:
            paces[cell.key] = rehearse(cell.spec, cell.label)
    return [Row(cell, paces[cell.key]) for cell in cells]


def _task(spec: RunSpec, pace: Pace, results: Path) -> Task:
    """What is left of a run: one that was begun goes on after the epochs of its checkpoint."""
    cost, folder = pace.cost(spec), RunFolder(results, spec.run_id)
    told = (folder.read_progress() or {}) if folder.checkpoint_path.exists() else {}
    left = 1 - told.get("epoch", 0) / spec.training.epochs
    return Task(cost["setup_seconds"] + left * cost["total_seconds"], cost["setup_seconds"])


def _disk(rows: Sequence[Row], results: Path, workers: int) -> Disk:
    """What the runs leave. The database holds the same numbers as their results."""
    known = [(row.pace, row.cell) for row in rows if isinstance(row.pace, Pace)]
    counts = [len(cell.specs) for _, cell in known]
    left = [pace.left_bytes(cell.spec) for pace, cell in known]
    checkpoints = [pace.checkpoint_bytes for pace, _ in known if pace.checkpoint_bytes is not None]
    return Disk(
        run_folders=_total([folder for folder, _ in left], counts),
        database=_total([result for _, result in left], counts),
        checkpoints=min(workers, sum(counts)) * max(checkpoints) if checkpoints else None,
        cache=folder_size(results / "cache"),
        free=shutil.disk_usage(_existing(results)).free,
    )


def _total(sizes: Sequence[int | None], counts: Sequence[int]) -> int | None:
    """The size of all runs, those of unseen size taken as the mean of the others; None where none was seen."""
    seen = [(size * count, count) for size, count in zip(sizes, counts, strict=True) if size is not None]
    if not seen:
        return None
    return round(sum(size for size, _ in seen) / sum(count for _, count in seen) * sum(counts))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return folder if folder.exists() else _existing(folder.parent)
