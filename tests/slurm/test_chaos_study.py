"""The chaos study: every few seconds something of the cluster is killed at random, and nothing of the study is lost.

HARNESS_TEST_CHAOS_RUNS=200 is the full form; HARNESS_TEST_CHAOS_SEED chooses other accidents.
"""

import itertools
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import pytest
from slurm_study import OnCluster, kill

from harness.store.frames import Database

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("HARNESS_TEST_CHAOS_RUNS", "30"))
SEED = int(os.environ.get("HARNESS_TEST_CHAOS_SEED", "0"))
EVERY_S = 5.0
EPOCHS, STEPS, PAUSE_S = 10, 3, 0.15  # a run takes some four seconds, and 30 steps


def test_a_study_in_which_something_is_killed_every_five_seconds_ends_as_if_undisturbed(study, capsys):
    study.prepare(seeds=RUNS, epochs=EPOCHS, pause_s=PAUSE_S, parallel=5)
    accidents = Counter(live_through_chaos(study, random.Random(SEED)))
    assert all(folder.state() == "done" for folder in study.runs())
    assert study.causes().count("done") == RUNS
    study.check_numbers()
    check_database(study)
    with capsys.disabled():
        print(f"\n{sum(accidents.values())} accidents: {dict(accidents)}; {computed_twice(study)}")


def live_through_chaos(study: OnCluster, chance: random.Random) -> list[str]:
    """Launch the study and let accidents happen until it is complete; gives what happened."""
    launch, happened = study.start(), []
    until = time.monotonic() + 60 + 30 * RUNS
    last = time.monotonic()
    while (code := launch.poll()) is None:
        assert time.monotonic() < until, study.said()
        time.sleep(0.2)
        if time.monotonic() - last < EVERY_S:
            continue
        last = time.monotonic()
        accident = chance.choice(ACCIDENTS)
        if accident is lose_launch:
            kill(launch)
            launch = study.start()
        elif not accident(study, chance):
            continue
        happened.append(accident.__name__)
    assert code == 0, study.said()
    return happened


def lose_launch(study: OnCluster, chance: random.Random) -> bool:
    """The launching process is killed, and started again."""
    raise NotImplementedError  # by who knows the process


def kill_worker(study: OnCluster, chance: random.Random) -> bool:
    """A worker is killed in the middle of a run."""
    owners = [folder.owner() for folder in study.runs() if folder.state() == "running"]
    pids = [owner.pid for owner in owners if owner]
    if pids:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)
    return bool(pids)


def requeue_job(study: OnCluster, chance: random.Random) -> bool:
    """An administrator requeues a job."""
    job = running_job(study, chance)
    return job is not None and study.slurm.attempt("scontrol", "requeue", job).returncode == 0


def warn_job(study: OnCluster, chance: random.Random) -> bool:
    """A job is told that its end is near."""
    job = running_job(study, chance)
    return job is not None and study.slurm.attempt("scancel", "--signal=USR2", job).returncode == 0


def fail_node(study: OnCluster, chance: random.Random) -> bool:
    """A node fails with all its jobs, and is back a few seconds later."""
    node = chance.choice(["n1", "n2"])
    study.slurm.node("down", node)
    study.slurm.tell_that_node_is_down(node)
    time.sleep(2)
    study.slurm.node("up", node)
    study.slurm.attempt("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return True


ACCIDENTS = (kill_worker, requeue_job, warn_job, fail_node, lose_launch)


def running_job(study: OnCluster, chance: random.Random) -> str | None:
    """One of the jobs that run, if any does."""
    running = sorted(job for job, state in study.jobs().items() if state == "RUNNING")
    return chance.choice(running) if running else None


def check_database(study: OnCluster) -> None:
    """What was collected is every run, once."""
    database = Database(f"sqlite:///{study.results / 'harness.db'}")
    assert list(database.runs("mini")["state"]) == ["done"] * RUNS
    values = database.measurements("mini", selection="last")
    recall = values[(values["split"] == "test") & (values["metric"] == "recall_at_1")]
    assert sorted(recall["run_id"]) == sorted(folder.run_id for folder in study.runs())


def computed_twice(study: OnCluster) -> str:
    """Which share of the steps that were needed was computed more than once, from what the attempts say.

    An attempt says where it was up to a second ago; at most it loses the epoch that was under way.
    """
    needed, each = RUNS * EPOCHS * STEPS, [folder.attempts() for folder in study.runs()]
    pairs = [(a.last_step, b.first_step) for attempts in each for a, b in itertools.pairwise(attempts)]
    least = sum(max(0, last - first) for last, first in pairs if None not in (last, first))
    causes = Counter(attempt.cause for attempts in each for attempt in attempts)
    most = STEPS * (causes["lost"] + causes["requeued"])
    return f"attempts {dict(causes)}; steps computed twice: {least / needed:.1%} to {most / needed:.1%}"
