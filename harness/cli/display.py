"""What a person sees while a study runs: a live table in a terminal, plain lines elsewhere (logs, pipes)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    from harness.launch import Snapshot

PLAIN_EVERY_S = 15.0
"""Without a terminal a line is written whenever runs have finished, and at least this often while some are running."""


def message(text: str) -> None:
    """A line for the person; stdout is for data."""
    print(text, file=sys.stderr, flush=True)


def clock(seconds: float | None) -> str:
    """`1:02:03`, `02:03`, or `-` when not known."""
    if seconds is None:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"


def percent(value: float | None) -> str:
    """A share as the literature prints it, in percent."""
    return "-" if value is None else f"{100 * value:.1f}"


def headline(study: str, now: Snapshot) -> str:
    """The state of a study in one line."""
    failed = f", {now.failed} failed" if now.failed else ""
    return (
        f"{study}: {now.done} of {now.total} runs done{failed}, {len(now.running)} running, {now.pending} waiting; "
        f"{clock(now.elapsed_s)} elapsed, about {clock(now.eta_s)} left{'; ' if now.remark else ''}{now.remark}"
    )


class Display:
    """A context in which progress is shown; `prepare` and `show` are the callbacks that `launch` wants."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.live: Live | None = None
        self.told: set[str] = set()
        self.last_line = 0.0
        self.last_step = -1
        self.begun = ("", 0.0, 0)  # a step before training: what it is, since when, how much of it was done then

    def __enter__(self) -> Display:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self.live = Live(console=Console(stderr=True), refresh_per_second=4)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def prepare(self, done: int, total: int, what: str) -> None:
        """Progress of a long step before training, such as decoding images."""
        line = f"{what}: {done} of {total}{self.pace(done, what)}"
        if self.live:
            from rich.text import Text

            self.live.update(Text(line))
        elif 10 * done // max(total, 1) != self.last_step:
            self.last_step = 10 * done // max(total, 1)
            message(line)

    def pace(self, done: int, what: str) -> str:
        """How many a second, once there is something to judge by."""
        now = time.monotonic()
        if what != self.begun[0]:
            self.begun = what, now, done
        _, since, before = self.begun
        return f", {(done - before) / (now - since):,.0f} a second" if now - since > 1 and done > before else ""

    def show(self, now: Snapshot) -> None:
        """How the study stands."""
        if self.live:
            self.live.update(live_view(self.study, now))
        else:
            self.write_lines(now)

    def write_lines(self, now: Snapshot) -> None:
        """One line a finished run, and the headline from time to time."""
        for run in reversed([run for run in now.latest if run["run_id"] not in self.told]):
            self.told.add(run["run_id"])
            message(f"{run['state']:6} {run['method']}, seed {run['seed']}: {outcome_of(run)}")
            self.last_line = 0.0
        if time.monotonic() - self.last_line > PLAIN_EVERY_S:
            self.last_line = time.monotonic()
            message(headline(self.study, now))


def outcome_of(run: Mapping[str, Any]) -> str:
    """What came of a run, in a few words."""
    return f"R@1 {percent(run['recall_at_1'])}" if run["state"] == "done" else str(run["cause"])


def live_view(study: str, now: Snapshot) -> Group:
    """Headline, bar, running runs, newest results."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    bar = ProgressBar(total=now.total, completed=now.done + now.failed, width=60)
    return Group(Text(headline(study, now)), bar, live_table(now))


def stage_of(run: Mapping[str, Any]) -> str:
    """How far a running run is: `3/15`, or `3/15, embedding 40%` inside a long epoch."""
    if "epochs" not in run:
        return "starting"
    inside = f", {run['doing']} {min(1.0, run['done'] / run['total']):.0%}" if "doing" in run else ""
    return f"{run['epoch']}/{run['epochs']}{inside}"


def live_table(now: Snapshot) -> Table:
    """The running runs, then the newest results."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", min_width=36)
    for column in ("seed", "epoch", "loss", "R@1"):
        table.add_column(column, justify="right", min_width=6)
    for run in now.running:
        loss = "" if run.get("loss") is None else f"{run['loss']:.4f}"
        table.add_row(f"▸ {run['method']}", str(run["seed"]), stage_of(run), loss, percent(run.get("recall_at_1")))
    if now.pending and not now.running:
        table.add_row("  workers are starting", "", "", "", "", style="dim")
    for run in now.latest[:8]:
        style = None if run["state"] == "done" else "red"
        value = percent(run["recall_at_1"]) if run["state"] == "done" else str(run["cause"])
        table.add_row(f"  {run['method']}", str(run["seed"]), run["state"], "", value, style=style)
    return table
