"""The test cluster does what tests of SLURM need: arrays, requeues, preemption, signals, and nodes that fail."""

import re
import shlex
import time
from pathlib import Path

import pytest
from slurm_cluster import Slurm, lines, testbed, wait_for

WAIT = "while :; do sleep 0.1; done"  # a shell runs its traps between two short sleeps
NEVER_RESTARTED = '[ "${SLURM_RESTART_COUNT:-0}" = 0 ]'


def test_every_node_is_ready_in_both_partitions(slurm):
    seen = slurm.call("sinfo", "--noheader", "--Node", "--format=%N %R %t").split("\n")
    assert {"n1 main idle", "n2 main idle", "n1 high idle", "n2 high idle"} <= set(seen)


def test_an_array_of_four_runs_on_both_nodes_at_once(slurm, tmp_path):
    script = (
        'echo $SLURMD_NODENAME > task_$SLURM_ARRAY_TASK_ID; until [ "$(ls task_* | wc -l)" = 4 ]; do sleep 0.1; done'
    )
    slurm.sbatch(tmp_path, script, "--array=0-3", "--cpus-per-task=2")
    wait_for(lambda: len(list(tmp_path.glob("task_*"))) == 4)
    wait_for(lambda: not slurm.jobs("--name=script.sh"))
    nodes = [(tmp_path / f"task_{index}").read_text().strip() for index in range(4)]
    assert sorted(nodes) == ["n1", "n1", "n2", "n2"]


def test_a_requeued_job_starts_again_and_counts_its_restarts(slurm, tmp_path):
    script = f"echo $SLURM_JOB_ID ${{SLURM_RESTART_COUNT:-none}} >> starts\n{NEVER_RESTARTED} && {WAIT}"
    job = slurm.sbatch(tmp_path, script)
    wait_for(lambda: lines(tmp_path / "starts") == [f"{job} none"])
    slurm.call("scontrol", "requeue", job)
    wait_for(lambda: lines(tmp_path / "starts") == [f"{job} none", f"{job} 1"])


@pytest.mark.slow
def test_a_job_of_high_preempts_jobs_of_main_which_are_warned_and_requeued(slurm, tmp_path):
    script = f"""
        echo start >> $SLURM_JOB_NAME
        trap 'echo TERM >> $SLURM_JOB_NAME' TERM
        trap 'echo USR2 >> $SLURM_JOB_NAME; scontrol requeue $SLURM_JOB_ID' USR2
        {NEVER_RESTARTED} && {WAIT}"""
    whole_node = "--cpus-per-task=4"
    asked = slurm.sbatch(tmp_path, script, "--job-name=asked", whole_node, "--signal=B:USR2@1")
    plain = slurm.sbatch(tmp_path, f"srun bash -c {shlex.quote(script)}", "--job-name=plain", whole_node)
    wait_for(lambda: lines(tmp_path / "asked") == lines(tmp_path / "plain") == ["start"])
    time.sleep(0.5)  # for the traps
    slurm.sbatch(tmp_path, "cat asked plain > before", "--partition=high", "--ntasks=2", whole_node)
    wait_for(lambda: len(lines(tmp_path / "asked")) >= 2 and len(lines(tmp_path / "plain")) >= 2)
    assert lines(tmp_path / "asked")[1] == "USR2", "a job with --signal is warned by it"
    assert lines(tmp_path / "plain")[1] == "TERM", "the steps of any other job are warned by SIGTERM"
    assert not lines(tmp_path / "before"), "there is time after the warning"
    wait_for(lambda: lines(tmp_path / "before"), seconds=30)
    assert lines(tmp_path / "before").count("start") == 2, "the job of high ran before either was started again"
    assert "Restarts=1 " in slurm.call("scontrol", "show", "job", asked)
    assert "Restarts=1 " in slurm.call("scontrol", "show", "job", plain)


def test_a_signal_to_the_batch_script_reaches_it_and_spares_its_children(slurm, tmp_path):
    script = """
        sleep 60 & child=$!
        trap 'kill -0 $child && echo caught > signal; kill $child; exit' USR2
        echo ready > ready
        wait"""
    job = slurm.sbatch(tmp_path, script)
    wait_for(lambda: lines(tmp_path / "ready"))
    slurm.call("scancel", "--signal=USR2", "--batch", job)
    wait_for(lambda: lines(tmp_path / "signal") == ["caught"])
    wait_for(lambda: job not in slurm.jobs())


def test_a_node_that_fails_takes_its_jobs_along_and_they_start_again_elsewhere(slurm, tmp_path):
    script = f"echo $$ $SLURMD_NODENAME >> starts; {NEVER_RESTARTED} && {WAIT}"
    slurm.sbatch(tmp_path, script)
    wait_for(lambda: lines(tmp_path / "starts"))
    slurm.node("down", "n1")
    process, node = lines(tmp_path / "starts")[0].split()
    assert node == "n1"
    assert not _lives(process)
    slurm.tell_that_node_is_down("n1")
    wait_for(lambda: len(lines(tmp_path / "starts")) == 2)
    assert lines(tmp_path / "starts")[1].endswith("n2")


def test_a_job_on_a_node_that_is_cut_off_lives_on_until_the_node_is_back(slurm, tmp_path):
    slurm.sbatch(tmp_path, f"echo $$ >> starts; {NEVER_RESTARTED} && {WAIT}", "--nodelist=n1")
    wait_for(lambda: lines(tmp_path / "starts"))
    slurm.node("cut", "n1")
    slurm.tell_that_node_is_down("n1")
    (process,) = lines(tmp_path / "starts")
    assert _lives(process)
    slurm.node("up", "n1")
    wait_for(lambda: not _lives(process))


def test_without_accounting_sacct_fails(slurm):
    done = slurm.attempt("sacct")
    assert done.returncode != 0
    assert "accounting storage is disabled" in done.stderr


def test_an_array_may_have_fifty_tasks_and_no_more(slurm, tmp_path):
    slurm.sbatch(tmp_path, "true", "--hold", "--array=0-49")
    with pytest.raises(AssertionError, match="Invalid job array specification"):
        slurm.sbatch(tmp_path, "true", "--hold", "--array=0-50")


def test_a_second_cluster_starts_beside_the_first_within_20_seconds_and_stops_alone(slurm, short_folder, tmp_path):
    untouched = slurm.sbatch(tmp_path, WAIT)
    begun = time.monotonic()
    assert testbed("start", short_folder, "--nodes=3", "--gpus=2").returncode == 0
    assert time.monotonic() - begun < 20
    second = Slurm(short_folder)
    assert second.call("sinfo", "--noheader", "--partition=main", "--format=%D").strip() == "3"
    second.sbatch(
        short_folder / "log", f"trap '' TERM; echo $$ $CUDA_VISIBLE_DEVICES > gpu; {WAIT}", "--gpus-per-node=1"
    )
    wait_for(lambda: lines(short_folder / "log" / "gpu"))
    process, gpu = lines(short_folder / "log" / "gpu")[0].split()
    assert gpu == "0"
    assert _processes_naming(short_folder)
    assert testbed("stop", short_folder).returncode == 0
    assert not _lives(process)
    assert not _processes_naming(short_folder)
    assert untouched in slurm.jobs()
    assert testbed("stop", short_folder).returncode == 0, "a second stop has nothing to do"


@pytest.mark.parametrize("script", ["start", "stop"])
def test_a_folder_with_something_else_in_it_is_refused(script, short_folder):
    (short_folder / "thesis.tex").write_text("precious")
    done = testbed(script, short_folder)
    assert done.returncode == 1
    assert re.search("holds something else than a test cluster; name an empty or a new folder", done.stderr)
    assert (short_folder / "thesis.tex").read_text() == "precious"


def _lives(process: str) -> bool:
    """Whether a process is there and not one that is dead and only not yet waited for."""
    return bool(lines(Path("/proc", process, "cmdline")))


def _processes_naming(folder: Path) -> list[str]:
    """The command lines of those that name this folder, as all daemons of a cluster do."""
    files = Path("/proc").glob("[0-9]*/cmdline")
    return [line for file in files for line in lines(file) if f"{folder}/" in line]
