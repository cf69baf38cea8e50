"""How runs stand, as text for a person, as one line for a log, and as JSON for a program."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.display import clock, percent, stage_of
from harness.dispatch.leftovers import submissions_of
from harness.store.forecast import Forecast
from harness.store.standing import STATES, Run, Standing

if TYPE_CHECKING:
    from harness.dispatch.slurm import Job

SHOWN = 20
"""So many failures, waiting jobs and workers are listed; `--json` has all."""


def counts_line(counts: Counter[str]) -> str:
    """`30 done  1 failed  2 running  12 pending`."""
    return "  ".join(f"{counts[state]} {state}" for state in STATES)


def headline(now: Standing, ahead: Forecast) -> str:
    """Counts and what is left, in one line."""
    return f"{now.study or 'all studies'}: {counts_line(now.counts)}" + (f"; {left_line(ahead)}" if now.open else "")


def left_line(ahead: Forecast) -> str:
    """How long it will take, or why nobody knows."""
    if ahead.eta_s is not None:
        return f"about {clock(ahead.eta_s)} left with {_many(ahead.workers, 'worker')}"
    if ahead.unknown:
        return f"nothing is known yet of how long {_many(ahead.unknown, 'run')} will take"
    return f"nobody works; {clock(ahead.work_s)} of work for one worker"


def found_line(ahead: Forecast) -> str:
    """How that is known."""
    by = ", ".join(f"{count} by {how}" for how, count in ahead.by.most_common())
    return f"work left for one worker: {clock(ahead.work_s)} (of the open runs, {by})"


def text_of(now: Standing, ahead: Forecast, jobs: Sequence[Job], remark: str, results: Path) -> str:
    """Everything that a person may want to know; lines of what is not there are left out."""
    blocks = [
        [f"{now.study or 'all studies'}: {_many(sum(now.counts.values()), 'run')}", *first_lines(now, ahead, remark)],
        study_lines(now),
        worker_lines(now.running),
        job_lines(jobs),
        failure_lines(now.failed),
        log_lines(results),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def first_lines(now: Standing, ahead: Forecast, remark: str) -> Iterator[str]:
    """Counts, what is left, what it has cost."""
    yield counts_line(now.counts)
    if now.open:
        yield left_line(ahead)
        if ahead.by:
            yield found_line(ahead)
    if remark:
        yield f"cluster: {remark}"
    spent = now.ended
    attempts = ", ".join(f"{count} {cause}" for cause, count in spent.causes.most_common())
    if attempts or spent.worker_s:
        hours = f"used: {spent.worker_s / 3600:.2f} worker-hours, {spent.gpu_s / 3600:.2f} of them on GPUs"
        yield f"{hours}; attempts: {attempts or 'none has ended'}"


def study_lines(now: Standing) -> list[str]:
    """The studies, where there are several."""
    if len(now.studies) < 2:
        return []
    rows = [(_titled(*key), *(str(count[state]) for state in STATES)) for key, count in now.studies.items()]
    return table([("study", *STATES), *rows])


def worker_lines(running: Sequence[Run]) -> list[str]:
    """Who works on what, where, since when."""
    if not running:
        return []
    rows = [(run.method, str(run.seed), *_how_far(run), clock(run.seconds), where(run)) for run in running[:SHOWN]]
    rest = [f"and {len(running) - SHOWN} more"] if len(running) > SHOWN else []
    return [*table([("at work on", "seed", "epoch", "loss", "R@1", "for", "where"), *rows]), *rest]


def _how_far(run: Run) -> tuple[str, str, str]:
    loss = run.progress.get("loss")
    recall = percent(run.progress.get("recall_at_1"))
    return stage_of(run.progress), "-" if loss is None else f"{loss:.4f}", recall


def where(run: Run) -> str:
    """The worker: host, and the slot there, the job of the cluster, or the process."""
    owner = run.owner
    if owner is None:
        return "-"
    job = job_of(run)
    if job:
        return f"{owner.host}, job {job}"
    return f"{owner.host}, " + (f"process {owner.pid}" if run.slot is None else f"slot {run.slot}, process {owner.pid}")


def job_of(run: Run) -> str | None:
    """The job of SLURM that the worker is, if it is one."""
    made = (run.owner.about.get("provenance") if run.owner else None) or {}
    return made.get("slurm_job")


def job_lines(jobs: Sequence[Job]) -> list[str]:
    """Jobs that wait, by reason."""
    reasons: dict[str, list[str]] = {}
    for job in jobs:
        if job.waiting:
            reasons.setdefault(job.hopeless or job.reason or job.state, []).append(job.id)
    return [
        f"waiting for {reason}: {len(ids)} ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})"
        for reason, ids in reasons.items()
    ]


def failure_lines(failed: Sequence[Run]) -> list[str]:
    """Every failure with its reason and its log."""
    lines = []
    for run in failed[:SHOWN]:
        lines.append(f"failed {run.run_id}  {run.method}, seed {run.seed}: {run.cause}: {run.message}")
        lines.append(f"       {run.folder.log_path}")
    causes = ", ".join(f"{count} {cause}" for cause, count in Counter(run.cause for run in failed).most_common())
    rest = [f"and {len(failed) - SHOWN} more; all are {causes}; --json lists them"] if len(failed) > SHOWN else []
    return lines + rest


def log_lines(results: Path) -> list[str]:
    """Where logs are."""
    places = {"workers of this machine": results / "workers" / "logs", "jobs": submissions_of(results)}
    found = [f"{path} ({whose})" for whose, path in places.items() if path.exists()]
    return [f"logs: {'; '.join([f'{results}/runs/<ab>/<run>/log.txt (runs)', *found])}"]


def as_dict(now: Standing, ahead: Forecast, jobs: Sequence[Job], remark: str) -> dict[str, Any]:
    """How things stand as plain JSON types, under names that stay."""
    return {
        "study": now.study,
        **{state: now.counts[state] for state in STATES},
        "total": sum(now.counts.values()),
        "eta_s": ahead.eta_s,
        "eta_by": dict(ahead.by),
        "work_s": ahead.work_s,
        "unknown": ahead.unknown,
        "workers": [worker_dict(run) for run in now.running],
        "failures": [{**_named(run), "cause": run.cause, "message": run.message} for run in now.failed],
        "attempts": dict(now.ended.causes),
        "worker_hours": now.ended.worker_s / 3600,
        "gpu_hours": now.ended.gpu_s / 3600,
        "jobs": [{"id": job.id, "state": job.state, "reason": job.hopeless or job.reason} for job in jobs],
        "remark": remark,
        "studies": [
            {"study": name, "profile": profile or None, **{state: counts[state] for state in STATES}}
            for (name, profile), counts in now.studies.items()
        ],
    }


def worker_dict(run: Run) -> dict[str, Any]:
    """A worker and its run."""
    owner = run.owner
    assert owner is not None
    place = {"host": owner.host, "pid": owner.pid, "slot": run.slot, "slurm_job": job_of(run)}
    told = {name: run.progress.get(name) for name in ("epoch", "epochs", "loss", "recall_at_1")}
    since = {"device": owner.about.get("device"), "since": owner.begun, "seconds": run.seconds}
    return {**_named(run), **place, **since, **told}


def _named(run: Run) -> dict[str, Any]:
    return {"run_id": run.run_id, "method": run.method, "seed": run.seed, "log": str(run.folder.log_path)}


def _titled(study: str, profile: str) -> str:
    return f"{study} --profile {profile}" if profile else study


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, each column as wide as it must be."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def stamped(line: str) -> str:
    """A line with the time of day."""
    return f"{time.strftime('%H:%M:%S')}  {line}"
