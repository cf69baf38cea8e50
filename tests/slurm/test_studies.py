"""A study on a real SLURM, by the command line: launched, left, cancelled, disturbed, and always brought to its end."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import TESTBED, Slurm, testbed
from slurm_study import OnCluster, kill, wait_for

sys.path.append(str(TESTBED))
import cluster
from folder import Settings
from processes import daemons, end

WORKER = TESTBED.parent / "worker.sbatch"


def test_a_study_is_trained_once_with_the_numbers_of_any_other_machine(study):
    study.prepare(seeds=3)
    assert "3 of 3 runs done" in study.run()
    study.check_numbers()
    assert study.causes() == ["done"] * 3
    assert study.submitted() == 3
    made = [attempt.provenance for folder in study.runs() for attempt in folder.attempts()]
    assert all(each["slurm_job"] and each["restarts"] == 0 and "commit" in each for each in made)
    assert "nothing to do, all 3 runs are there" in study.run()
    assert study.submitted() == 3


def test_a_launch_that_is_killed_and_started_again_watches_the_same_jobs(study):
    study.prepare(epochs=20, pause_s=1.0)
    launch = study.start()
    wait_for(lambda: study.epochs() >= 1)
    kill(launch)
    assert "2 of 2 runs done" in study.watch()
    assert study.submitted() == 2
    assert study.causes() == ["done"] * 2


def test_a_detached_launch_returns_at_once_and_another_collects(study):
    study.prepare(epochs=20, pause_s=1.0)
    assert "2 jobs of the cluster go on" in study.run("--detach")
    assert study.causes() == []
    assert "2 of 2 runs done" in study.watch()
    assert study.submitted() == 2


def test_two_launches_at_once_double_neither_jobs_nor_runs(study):
    study.prepare(epochs=20, pause_s=1.0)
    launches = [study.start(), study.start()]
    wait_for(lambda: study.said().count("0 of 2 runs done") >= 2 and study.epochs() >= 4)
    study.hurry()
    assert [launch.wait(timeout=90) for launch in launches] == [0, 0]
    assert study.submitted() == 2
    assert study.causes() == ["done"] * 2


@pytest.mark.slow
def test_a_cancelled_study_keeps_checkpoints_leaves_the_queue_and_goes_on_later(study):
    study.prepare(seeds=3, epochs=20, pause_s=1.0, parallel=2)
    launch = study.start("--workers", 3)
    wait_for(lambda: sum(folder.checkpoint_path.exists() for folder in study.runs()) == 2)
    assert sorted(study.jobs().values()) == ["PENDING", "RUNNING", "RUNNING"]
    assert "3 jobs of the cluster" in study.harness("cancel", "mini").stderr
    assert study.jobs() == {}
    assert launch.wait(timeout=20) == 130
    assert study.causes() == ["interrupted"] * 2
    study.hurry()
    study.run()
    began = [attempt.first_step for folder in study.runs() for attempt in folder.attempts()]
    assert sum(step > 0 for step in began) == 2
    study.check_numbers()


@pytest.mark.parametrize(
    ("asked", "said"), [({"partition": "nowhere"}, "invalid partition"), ({"gpus": 1}, "generic resource")]
)
def test_what_slurm_refuses_is_one_message_and_leaves_nothing_behind(study, asked, said):
    study.prepare(**asked)
    done = study.harness("run", study.path, "--backend", "slurm", "--site", study.site)
    assert done.returncode == 3
    assert said in done.stderr.lower()
    assert "asked for were" in done.stderr
    assert "Traceback" not in done.stderr
    assert study.submissions() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "said"), [({"cpus": 64}, "PartitionConfig"), ({"minutes": 200}, "above the partition's limit")]
)
def test_it_is_told_why_jobs_can_never_start(study, asked, said):
    study.prepare(**asked)
    launch = study.start()
    wait_for(lambda: said in study.said())
    kill(launch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal_of", "cause"),
    [(("scancel", "--signal=USR2"), "preempted"), (("scontrol", "requeue"), "interrupted")],
)
def test_a_job_that_is_warned_or_requeued_goes_on_where_it_was(study, signal_of, cause):
    study.prepare(seeds=1, epochs=20, pause_s=1.0)
    launch = study.start()
    (folder,) = study.runs()
    wait_for(lambda: study.epochs() >= 3)
    (job,) = study.jobs()
    half_written = study.submissions()[0] / f"{job}_0_result.pkl.save_tmp"
    half_written.write_bytes(b"of a start that was killed")
    study.slurm.call(*signal_of, job)
    wait_for(study.causes)
    study.hurry()
    assert launch.wait(timeout=90) == 0, study.said()
    study.check_numbers()
    first, second = folder.attempts()
    assert (first.cause, second.cause) == (cause, "done")
    assert second.provenance["slurm_job"] == first.provenance["slurm_job"] == job
    assert (first.provenance["restarts"], second.provenance["restarts"]) == (0, 1)
    assert 0 < first.last_step == second.first_step, "no step was computed twice"
    assert study.submitted() == 1
    wait_for(lambda: not study.jobs())
    assert not half_written.exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(study):
    study.prepare(seeds=1, epochs=20, pause_s=1.0)
    launch = study.start()
    (folder,) = study.runs()
    wait_for(lambda: study.epochs() >= 3)
    os.kill(folder.owner().pid, signal.SIGKILL)
    study.hurry()
    assert launch.wait(timeout=90) == 0, study.said()
    assert study.causes() == ["lost", "done"]
    assert study.submitted() == 2
    study.check_numbers()


@pytest.mark.slow
def test_a_launch_waits_for_a_controller_that_is_away(study):
    study.prepare(epochs=20, pause_s=1.0)
    launch = study.start()
    wait_for(lambda: study.epochs() >= 1)
    end(daemons(study.slurm.folder, "slurmctld"))
    try:
        refused = study.harness("run", study.path, "--backend", "slurm", "--site", study.site)
        assert refused.returncode == 3
        assert "Unable to contact slurm controller" in refused.stderr
        wait_for(lambda: "Unable to contact slurm controller" in study.said())
    finally:
        assert testbed("start", study.slurm.folder).returncode == 0
    study.hurry()
    assert launch.wait(timeout=90) == 0, study.said()
    assert study.causes() == ["done"] * 2
    assert study.submitted() == 2


@pytest.mark.slow
def test_a_worker_by_hand_queues_again_when_it_is_warned(study):
    study.prepare(seeds=1, epochs=20, pause_s=1.0)
    study.results.joinpath("workers").mkdir()
    watching = study.start_here("--workers", 0)
    wait_for(lambda: study.runs()[0].path.exists())
    asked = ("--gpus=0", "--cpus-per-task=1", "--time=5", f"--chdir={study.folder}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = ",".join(f"{name}={value}" for name, value in (study.variables | {"PATH": path}).items())
    job = study.slurm.call("sbatch", "--parsable", f"--export=ALL,{variables}", *asked, WORKER, "results").strip()
    wait_for(lambda: study.epochs() >= 3)
    study.slurm.call("scancel", "--signal=USR2", job)
    wait_for(study.causes)
    study.hurry()
    assert watching.wait(timeout=90) == 0, study.said()
    assert study.causes() == ["preempted", "done"]
    assert "1 runs finished" in (study.results / "workers" / f"harness-worker-{job}.log").read_text()
    study.check_numbers()


def test_more_workers_than_an_array_may_have_go_into_two(study):
    study.prepare(seeds=60, epochs=1, parallel=6, extra="{hold: true}")
    assert "60 jobs of the cluster go on" in study.run("--workers", 60, "--detach")
    arrays = [job.partition("_")[0] for job in study.jobs()]
    assert sorted(arrays.count(array) for array in set(arrays)) == [10, 50]
    at_a_time = [study.slurm.call("scontrol", "show", "job", array) for array in set(arrays)]
    assert sorted(int(said.split("ArrayTaskThrottle=")[1].split()[0]) for said in at_a_time) == [1, 5]
    assert "60 workers wait" not in study.run("--workers", 60, "--detach")
    assert len(study.jobs()) == 60
    assert study.harness("cancel", "mini").returncode == 0
    assert study.jobs() == {}


@pytest.mark.slow
def test_a_cluster_that_counts_its_jobs_anew_gets_no_old_results(study, short_folder, monkeypatch):
    began = time.time()
    monkeypatch.setattr("folder.time.time", lambda: began)  # from which the first id is made
    fresh = OnCluster(Slurm(short_folder), study.folder, study.banks)
    for seeds in (1, 2):
        cluster.start(short_folder, Settings(nodes=1))
        fresh.prepare(seeds=seeds)
        assert f"{seeds} of {seeds} runs done, 1 of them now" in fresh.run()
        cluster.stop(short_folder)
        assert len(fresh.submissions()) == seeds
    first, second = fresh.submissions()
    names = [{path.name for path in folder.glob("*.pkl")} for folder in (first, second)]
    assert names[0] == names[1], "the same ids, in folders of their own"
    fresh.check_numbers()
