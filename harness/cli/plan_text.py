"""A plan for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.cli.display import clock

if TYPE_CHECKING:
    from harness.planning.plan import Plan, Row
    from harness.study import Study

HEAD = ("cell", "runs", "epochs", "s/step", "s/epoch", "run", "source")


def plan_json(study: Study, plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON types under fixed names; None where nothing is known."""
    seconds = plan.schedule.worker_seconds
    nothing = plan.unknown == plan.missing > 0
    return {
        "format": 1,
        "study": study.name,
        "profile": study.profile,
        "runs": {
            "total": plan.total,
            "done": plan.done,
            "failed": plan.failed,
            "missing": plan.missing,
            "unknown": plan.unknown,
        },
        "workers": plan.workforce.count,
        "job_seconds": plan.workforce.job_s,
        "cells": [cell_json(row) for row in plan.rows],
        "totals": {
            "worker_hours": None if nothing else seconds / 3600,
            "gpu_hours": None if nothing else seconds * plan.workforce.gpus_each / 3600,
            "wall_clock_seconds": None if nothing else plan.schedule.wall_seconds,
            "worker_start_seconds": plan.start_s,
            "requeues": plan.schedule.requeues,
            "disk_bytes": asdict(plan.disk),
        },
    }


def cell_json(row: Row) -> dict[str, Any]:
    """One cell; `reason` says why its times are None."""
    spec = row.cell.spec
    told: dict[str, Any] = {"cell": row.cell.label, "runs": len(row.cell.specs), "epochs": spec.training.epochs}
    told |= {"run_ids": [spec.run_id for spec in row.cell.specs]}
    names = ("seconds_per_step", "steps_per_epoch", "epoch_seconds", "run_seconds", "setup_seconds", "source", "device")
    if isinstance(row.pace, str):
        return {**told, **dict.fromkeys(names), "reason": row.pace}
    pace = row.pace
    times = (pace.step_seconds, pace.steps, pace.epoch_seconds(spec), pace.run_seconds(spec), pace.setup_seconds)
    return {**told, **dict(zip(names, (*times, pace.source, pace.device), strict=True)), "reason": None}


def plan_text(study: Study, plan: Plan) -> str:
    """The table of cells, then the totals."""
    if not plan.missing:
        return f"{study.name}: nothing to do, all {plan.total} runs are there"
    lines = table([HEAD, *(cell_line(row) for row in plan.rows)])
    reasons = dict.fromkeys(row.pace for row in plan.rows if isinstance(row.pace, str))
    lines += ["", *(f"unknown: {reason}" for reason in reasons)] if reasons else []
    lines += ["", *(f"{name:13}{text}" for name, text in totals(plan))]
    return "\n".join(lines)


def cell_line(row: Row) -> tuple[str, ...]:
    """A line of the table."""
    told = cell_json(row)
    if told["reason"] is not None:
        return (told["cell"], str(told["runs"]), str(told["epochs"]), "-", "-", "-", "unknown")
    source = "measured here" if told["source"] == "measured" else "database"
    return (
        *(told["cell"], str(told["runs"]), str(told["epochs"])),
        *(f"{told['seconds_per_step']:.3g}", f"{told['epoch_seconds']:.3g}", clock(told["run_seconds"])),
        f"{source}, {told['device']}",
    )


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows with aligned columns: the first and the last to the left, numbers between them to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if i in (0, len(row) - 1) else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def totals(plan: Plan) -> list[tuple[str, str]]:
    """What all runs take together."""
    about = f"{plan.missing} missing of {plan.total} ({plan.done} done, {plan.failed} failed)"
    about += f"; {plan.unknown} of them unknown, left out below" if plan.unknown else ""
    lines = [("runs", about)]
    if plan.unknown == plan.missing:
        return lines
    hours, force = plan.schedule.worker_seconds / 3600, plan.workforce
    lines.append(("worker-hours", f"{hours:.3g}"))
    if force.gpus_each:
        lines.append(("GPU-hours", f"{hours * force.gpus_each:.3g}"))
    many = f"{plan.schedule.workers} worker{'s' * (plan.schedule.workers != 1)}"
    start = f", each {plan.start_s:.1f} s to begin" if plan.start_s else ""
    lines.append(("wall-clock", f"{clock(plan.schedule.wall_seconds)} with {many}{start}"))
    if force.job_s is not None:
        lines.append(("jobs", jobs_text(plan)))
    return [*lines, ("disk", disk_text(plan))]


def jobs_text(plan: Plan) -> str:
    """How often jobs queue again."""
    length, count = clock(plan.workforce.job_s), plan.schedule.requeues
    if count is None:
        return f"{length} of work are too short: some run could never get further; more `minutes` would be right"
    return f"{plan.schedule.workers} of {length} of work, {count} requeues; time in the queue comes on top"


def disk_text(plan: Plan) -> str:
    """What comes, what is there, what is free."""
    disk = plan.disk
    sizes = {"run folders": disk.run_folders, "database": disk.database, "checkpoints at a time": disk.checkpoints}
    coming = ", ".join(f"{'?' if size is None else size_text(size)} {name}" for name, size in sizes.items())
    short = "; NOT ENOUGH" if disk.needed > disk.free else ""
    return f"{coming}; {size_text(disk.cache)} image banks and features there; {size_text(disk.free)} free{short}"


def size_text(size: float) -> str:
    """`1.3 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
