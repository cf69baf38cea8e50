"""How long so many workers need: each takes the next run of the list when it is free, as workers do."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One run: how long it takes, and what is done again when its job ends in the middle."""

    seconds: float
    again_seconds: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """What became of it; `requeues` None: some run could never end in jobs of this length."""

    wall_seconds: float
    worker_seconds: float
    workers: int  # that had anything to do
    requeues: int | None


def schedule(tasks: Sequence[Task], workers: int, start_s: float, job_s: float | None = None) -> Schedule:
    """List scheduling in the order of the tasks; every worker and every further job of it begins with `start_s`.

    `job_s` is how long a job works before it is told to end and queues again (None: for ever); queueing itself takes no
    time here. Graham (1969): at most 2 - 1 / workers of the best possible.
    """
    lengths = [_length(task, start_s, job_s) for task in tasks]
    count = min(workers, len(tasks))
    if count == 0:
        return Schedule(0.0, 0.0, 0, 0)
    free = [(start_s, number) for number in range(count)]
    left = [job_s - start_s if job_s is not None else None for _ in range(count)]
    requeues = 0
    for task, fits in zip(tasks, lengths, strict=True):
        now, number = heapq.heappop(free)
        taken, left[number], again = (
            _work(task, left[number], start_s, job_s) if fits else (task.seconds, left[number], 0)
        )
        requeues += again
        heapq.heappush(free, (now + taken, number))
    times = [now for now, _ in free]
    return Schedule(max(times), sum(times), count, requeues if all(lengths) else None)


def _length(task: Task, start_s: float, job_s: float | None) -> bool:
    """Whether each job brings the task further."""
    return job_s is None or job_s - start_s > task.again_seconds


def _work(task: Task, left: float | None, start_s: float, job_s: float | None) -> tuple[float, float | None, int]:
    """Seconds until a task is done by a worker whose job goes on for `left` seconds, what is left then, requeues."""
    if left is None or job_s is None:
        return task.seconds, left, 0
    needed, taken, requeues = task.seconds, 0.0, 0
    while needed > left:
        needed -= max(0.0, left - task.again_seconds)
        taken += left + start_s
        left = job_s - start_s
        requeues += 1
    return taken + needed, left - needed, requeues
