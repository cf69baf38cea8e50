"""Commands about runs that are there: `status`, `retry`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.display import message
from harness.cli.places import DbOption, Places, ResultsOption, places, study_name
from harness.cli.studies import JsonOption, studies_from
from harness.errors import EnvironmentLacks, StudyError, did_you_mean

if TYPE_CHECKING:
    from harness.dispatch.slurm import Job
    from harness.store.forecast import Forecast
    from harness.store.standing import Standing

LOOK_S = 2.0
JOBS_S = 15.0
"""squeue is asked at most so often: a controller serves a whole cluster."""


def status(
    context: typer.Context,
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A study by name or path; without one, all in the database.",
            autocompletion=studies_from,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 s until no run is open.")] = False,
    as_json: JsonOption = False,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """Runs by state, who works on what, how long it will take, what it has cost, and why runs have failed.

    It only looks, from wherever the results folder is seen. With --watch a terminal is redrawn; elsewhere a line is
    written whenever something has changed. Ctrl-C ends the watching (exit code 130) and nothing else.

    Example: harness status fair_comparison --watch
    """
    view = View(places(context, results, db), study_name(study) if study else None, as_json)
    if not watch:
        typer.echo(view.look().text)
        return
    try:
        view.redraw() if sys.stdout.isatty() and not as_json else view.append()
    except KeyboardInterrupt:
        message("no longer watched; the runs go on")
        raise typer.Exit(130) from None


@dataclass(frozen=True)
class Seen:
    """How things stood at one look: as asked for, in one line, and what must differ to be worth another line."""

    text: str
    line: str
    news: Any
    open: bool
    seconds: float  # that the look took


@dataclass
class View:
    """What is looked at, again and again."""

    place: Places
    study: str | None
    as_json: bool
    jobs: list[Job] = field(default_factory=list)
    remark: str = ""
    asked: float = -JOBS_S

    def look(self) -> Seen:
        """How things stand now."""
        from harness.cli.status_text import as_dict, headline, text_of
        from harness.store.forecast import forecast
        from harness.store.standing import standing

        begin = time.monotonic()
        now = standing(self.place.db, self.place.results, self.study)
        self.ask_cluster(now)
        ahead: Forecast = forecast(now)
        if self.as_json:
            text = json.dumps(as_dict(now, ahead, self.jobs, self.remark))
        else:
            text = text_of(now, ahead, self.jobs, self.remark, self.place.results)
        news = now.counts, now.ended.causes, self.remark
        return Seen(text, headline(now, ahead), news, now.open > 0, time.monotonic() - begin)

    def ask_cluster(self, now: Standing) -> None:
        """The jobs of studies with open runs, where there is a cluster; now and then."""
        from harness.dispatch.leftovers import has_had_jobs

        had = has_had_jobs(self.place.results)
        if not had or not shutil.which("squeue") or time.monotonic() - self.asked < JOBS_S:
            return
        from harness.dispatch.slurm import jobs_named
        from harness.launch.fleet import job_name, remark_on

        self.asked = time.monotonic()
        names = {study for (study, _), counts in now.studies.items() if counts["running"] + counts["pending"]}
        try:
            self.jobs = [job for name in sorted(names) for job in jobs_named(job_name(name, self.place.results))]
            self.remark = remark_on(self.jobs) if self.jobs else ""
        except EnvironmentLacks as error:
            self.jobs, self.remark = [], str(error)

    def redraw(self) -> None:
        """In a terminal, until no run is open."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        def show(seen: Seen) -> None:
            live.update(Text(seen.text, no_wrap=True, overflow="ellipsis"), refresh=True)

        with Live(console=Console(), auto_refresh=False) as live:
            self.until_closed(show)

    def append(self) -> None:
        """Elsewhere: a line for everything new."""
        from harness.cli.status_text import stamped

        told: list[Any] = [None]

        def show(seen: Seen) -> None:
            if seen.news != told[0]:
                told[0] = seen.news
                print(seen.text if self.as_json else stamped(seen.line), flush=True)

        self.until_closed(show)

    def until_closed(self, show: Callable[[Seen], None]) -> None:
        """Look and show, until no run is open."""
        while True:
            seen = self.look()
            show(seen)
            if not seen.open:
                return
            # A look at a hundred thousand open runs takes a while; it must not become all that a file system does.
            time.sleep(max(LOOK_S, 5 * seen.seconds))


def retry(
    context: typer.Context,
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="A study in the database, by name or path.", autocompletion=studies_from),
    ],
    cause: Annotated[
        str | None, typer.Option("--cause", metavar="C", help="Only runs that failed so, such as out_of_memory.")
    ] = None,
    results: ResultsOption = None,
    db: DbOption = None,
) -> None:
    """Let `run` try failed runs of a study again; what they left is kept in their folders.

    Example: harness retry fair_comparison --cause out_of_memory
    """
    from harness.specs import CAUSES
    from harness.store.database import collect
    from harness.store.standing import standing

    if cause is not None and cause not in CAUSES:
        raise StudyError(f"--cause {cause}: runs do not fail so{did_you_mean(cause, CAUSES)}")
    place, name = places(context, results, db), study_name(study)
    failed = standing(place.db, place.results, name).failed
    chosen = [run for run in failed if cause in (None, run.cause)]
    retried = [run for run in chosen if run.folder.retry()]
    collect(place.db, place.results, [run.run_id for run in failed])
    left = [run for run in failed if run not in retried]
    message(f"{name}: {told(retried)} will be tried again by `harness run`")
    if left:
        message(f"{name}: {told(left)} stay failed")


def told(runs: list[Any]) -> str:
    """`3 runs (2 out_of_memory, 1 crash)`."""
    causes = ", ".join(f"{count} {cause}" for cause, count in Counter(run.cause for run in runs).most_common())
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}" + (f" ({causes})" if causes else "")
