"""What a cluster does to jobs: preemption, time limits, failing nodes. Every run ends as if nothing had happened."""

import itertools
import os
import signal

import pytest
from slurm_study import is_alive, wait_for

pytestmark = pytest.mark.slow

LONG_RUN_S = int(os.environ.get("HARNESS_TEST_LONG_RUN_S", "100"))
"""How long the run takes whose jobs are limited to two minutes: enough for a requeue, or 300 in the full form."""


def test_preempted_runs_keep_a_checkpoint_let_the_others_pass_and_finish(study, tmp_path):
    study.prepare(seeds=4, epochs=20, pause_s=1.0)
    launch = study.start()
    wait_for(lambda: sum(folder.state() == "running" for folder in study.runs()) == 4 and study.epochs() >= 8)
    study.slurm.sbatch(tmp_path, "date > passed", "--partition=high", "--ntasks=2", "--cpus-per-task=4")
    wait_for(lambda: (tmp_path / "passed").exists())
    assert study.causes().count("preempted") == 4
    study.hurry()
    assert launch.wait(timeout=200) == 0, study.said()
    assert sorted(study.causes()) == ["done"] * 4 + ["preempted"] * 4
    assert study.submitted() == 4, "the same jobs, requeued"
    assert computed_twice(study) == 0
    study.check_numbers()


def test_a_run_that_is_longer_than_its_jobs_finishes_by_requeues(study):
    study.prepare(seeds=1, epochs=50, pause_s=LONG_RUN_S / 150, minutes=2, signal_s=20)
    assert "1 of 1 runs done" in study.run()
    *before, last = study.causes()
    assert before, "one job was enough; the run would have to be longer"
    assert set(before) == {"time_out"}
    assert last == "done"
    assert study.submitted() == 1
    assert computed_twice(study) == 0
    print(f"a run of {LONG_RUN_S} s in {len(before) + 1} jobs of two minutes")
    study.check_numbers()


def test_a_node_that_fails_costs_its_runs_little_and_the_study_nothing(study):
    study.prepare(seeds=2, epochs=20, pause_s=1.0)
    launch = study.start()
    wait_for(lambda: all((folder.read_progress() or {}).get("epoch", 0) >= 2 for folder in study.runs()))
    study.slurm.node("down", "n1")
    study.slurm.tell_that_node_is_down("n1")
    study.hurry()
    assert launch.wait(timeout=200) == 0, study.said()
    causes = study.causes()
    assert causes.count("done") == 2
    assert causes.count("lost") + causes.count("requeued") == 2, "both ran on the first node"
    assert len(causes) == 4
    assert computed_twice(study) <= 2 * (3 + 3), "of each run at most an epoch and what it did since it last told"
    study.check_numbers()


def test_the_late_result_of_a_worker_on_a_node_that_was_cut_off_is_refused(study):
    study.prepare(seeds=1, epochs=20, pause_s=1.0)
    launch = study.start()
    (folder,) = study.runs()
    wait_for(lambda: study.epochs() >= 2)
    zombie = folder.owner()
    node = study.slurm.call("squeue", "--noheader", f"--name={study.job_name}", "--format=%N").strip()
    # What is cut off neither hears the controller nor reaches the shared disk, though it is alive.
    study.slurm.node("cut", node)
    os.kill(zombie.pid, signal.SIGSTOP)
    study.slurm.tell_that_node_is_down(node)
    wait_for(lambda: (owner := folder.owner()) and owner.token != zombie.token, seconds=150)
    study.hurry()
    os.kill(zombie.pid, signal.SIGCONT)  # it may finish before it looks at its lease again
    assert launch.wait(timeout=150) == 0, study.said()
    published = folder.result_path.read_bytes()
    assert sorted(study.causes()) in (["done", "lost"], ["done", "requeued"])
    wait_for(lambda: not is_alive(zombie.pid))
    assert folder.result_path.read_bytes() == published
    assert study.causes().count("done") == 1
    study.check_numbers()


def computed_twice(study) -> int:
    """Steps that two attempts on the same run have computed, by the words of the attempts."""
    attempts = [folder.attempts() for folder in study.runs()]
    pairs = [(before, after) for each in attempts for before, after in itertools.pairwise(each)]
    return sum(before.last_step - after.first_step for before, after in pairs)
