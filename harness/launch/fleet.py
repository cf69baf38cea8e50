"""The workers of a launch on a SLURM cluster: jobs that outlive the launch, found again by their name.

A launch submits as many as are missing and watches; it owns none of them. Started again, or twice, it counts those that
are there first, and so submits nothing twice. What jobs achieve is read from the run folders alone.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.dispatch.commands import ClusterSilent, check_installed
from harness.dispatch.leftovers import remove_old_submissions, submissions_of
from harness.dispatch.site import Site
from harness.dispatch.slurm import Job, end_jobs, jobs_named, submit
from harness.errors import EnvironmentLacks
from harness.launch.ledger import Ledger
from harness.store.files import utc_now
from harness.store.lease import Lease
from harness.worker import Worker

LOOK_S = 1.0
"""How often the run folders are looked at."""

POLL_S, LONGEST_POLL_S = 2.0, 30.0
"""How often squeue is asked, for all jobs at once: less and less often while nothing changes."""

CANCEL_S = 20.0
"""How long a cancellation is repeated for jobs that are still there."""

ROUNDS = 3
"""So many full sets of workers that end without any run getting further mean that the next would fare no better."""


@dataclass(frozen=True)
class Cluster:
    """Where workers run: a site of a SLURM cluster, and how many of them at most."""

    site: Site
    workers: int

    @classmethod
    def of(cls, site: Site, workers: int | None = None) -> Cluster:
        """As many workers as the site lets run at a time, unless told otherwise."""
        return cls(site, site.parallel if workers is None else workers)


def job_name(study: str, results: Path) -> str:
    """The name of all jobs for one study and results folder."""
    return f"harness-{study}-{hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:8]}"


def cancel_jobs(study: str, results: Path) -> int:
    """End the jobs of a study, the running ones with a checkpoint; gives how many there were.

    They are asked until they are gone, for a while: one that is just starting may not hear the first time, and one that
    is just being requeued comes back to the queue.
    """
    name = job_name(study, results)
    jobs = jobs_named(name)
    count, until = len(jobs), time.monotonic() + CANCEL_S
    while jobs and time.monotonic() < until:
        end_jobs(name)
        time.sleep(LOOK_S)
        jobs = jobs_named(name)
    return count


class Fleet:
    """The jobs of one study."""

    def __init__(self, study: str, ledger: Ledger, results: Path, data: Path, cluster: Cluster) -> None:
        check_installed()
        self.name = job_name(study, results)
        self.ledger = ledger
        self.results = results.absolute()
        self.data = data.absolute()
        self.cluster = cluster
        self.jobs: list[Job] = []
        self.answered = False  # whether SLURM has, so that silence is a disturbance that will be over
        self.fruitless = 0  # workers submitted since a run last got further
        self.reached = ledger.progress

    def work(self, tell: Callable[[], None]) -> None:
        """Keep enough jobs in the queue until every run of the study has ended, here or elsewhere."""
        self.poll()
        wait, asked = POLL_S, time.monotonic()
        while self.ledger.open:
            begin = time.monotonic()
            tell()
            if begin - asked > wait:
                wait = POLL_S if self.poll() else min(wait * 1.5, LONGEST_POLL_S)
                asked = time.monotonic()
            # A look at ten thousand folders takes a while; it must not become all that the file system does.
            time.sleep(max(LOOK_S, 5 * (time.monotonic() - begin)))

    def poll(self) -> bool:
        """Ask, and say how things stand; whether anything is new.

        A controller that is away is waited for, as running jobs do without it; a refusal of more workers is no reason
        to leave those alone that are there.
        """
        before = self.jobs
        try:
            submitted = self.ask()
        except EnvironmentLacks as error:
            if not (self.answered if isinstance(error, ClusterSilent) else self.jobs):
                raise
            self.ledger.remark = str(error)
            return False
        return submitted > 0 or self.jobs != before

    def ask(self) -> int:
        """Look at the jobs and submit what is missing; gives how many. Raises where `top_up` does."""
        self.jobs = jobs_named(self.name)
        if not self.answered:
            self.answered = True
            remove_old_submissions(self.submissions(), [job.id for job in self.jobs])
        count = self.top_up()
        self.ledger.remark = remark_on(self.jobs)
        return count

    def top_up(self) -> int:
        """Submit the workers that are missing, unless another launch is just doing so; gives how many.

        Raises EnvironmentLacks where SLURM refuses them or does not answer, and when worker after worker ended without
        getting further.
        """
        if self.missing() <= 0:
            return 0
        turn = Lease.take(self.results / "workers" / f"{self.name}-submits.json")
        if turn is None:
            return 0
        try:
            self.jobs = jobs_named(self.name)  # another launch may have submitted since
            count = self.missing()
            if count > 0:
                self.check_fruit(count)
                submit(self.worker(), count, self.name, self.new_folder(), self.cluster.site, of=self.cluster.workers)
                self.jobs = jobs_named(self.name)
            return max(0, count)
        finally:
            turn.release()

    def missing(self) -> int:
        """How many workers could be used beside those that are there, of which each will have a run."""
        waiting = sum(job.waiting for job in self.jobs)
        there = len(self.jobs)
        return min(self.cluster.workers - there, self.ledger.pending - waiting, len(self.ledger.open) - there)

    def worker(self) -> Worker:
        """What each job does."""
        site = self.cluster.site
        device = "cuda" if site.gpus else "cpu"
        return Worker(self.results, self.data, list(self.ledger.open), None, site.cpus, device, site.signal_s)

    def new_folder(self) -> Path:
        """A folder of its own for the pickles and logs of each submission: a cluster may count its jobs anew."""
        stamp = "".join(character for character in utc_now() if character.isdigit())[:17]
        return submissions_of(self.results) / f"{self.name}-{stamp}"

    def submissions(self) -> list[Path]:
        """The folders of all submissions that are left."""
        return list(submissions_of(self.results).glob(f"{self.name}-*"))

    def check_fruit(self, count: int) -> None:
        """Count workers that achieve nothing."""
        if self.ledger.progress > self.reached:
            self.fruitless, self.reached = 0, self.ledger.progress
        if self.fruitless >= ROUNDS * self.cluster.workers:
            raise EnvironmentLacks(
                f"{self.fruitless} workers ended and no run got further; the last said:\n{self.last_words()}"
            )
        self.fruitless += count

    def last_words(self, lines: int = 15) -> str:
        """The end of the newest log of a worker."""
        logs = sorted(
            (path for folder in self.submissions() for path in folder.glob("*.out")),
            key=lambda path: path.stat().st_mtime,
        )
        return "\n".join(logs[-1].read_text(errors="replace").splitlines()[-lines:]) if logs else "nothing"


def remark_on(jobs: list[Job]) -> str:
    """One line: how many workers run and wait, and why."""
    running = sum(not job.waiting for job in jobs)
    reasons = Counter(job.hopeless or job.reason for job in jobs if job.waiting)
    waits = [f"{count} wait ({reason})" for reason, count in reasons.most_common(3)]
    return ", ".join([f"{running} workers run", *waits])
