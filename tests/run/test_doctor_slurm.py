"""What `harness doctor` says of SLURM, by programs that answer, refuse or hang as SLURM's do."""

import time
from pathlib import Path

import pytest

from harness import programs
from harness.doctor.slurm import PROGRAMS

SLURM_CHECKS = "slurm slurm_limits slurm_times slurm_accounting"
CONFIG = "MaxArraySize = 1001\nKillWait = 30 sec\nPreemptMode = OFF\nJobRequeue = 1"


def cluster(program, sinfo, config=CONFIG):
    for name in PROGRAMS:
        program(name, "exit 0")
    program("sinfo", sinfo)
    program("scontrol", f"echo '{config}'")


def test_without_slurm_all_is_well(doctor, program):
    code, found = doctor(SLURM_CHECKS)
    assert code == 0
    assert {row["state"] for row in found.values()} == {"ok"}
    assert all("not here" in row["found"] for row in found.values())


def test_a_sinfo_that_hangs_is_a_problem_within_the_limit_and_its_children_end_too(
    doctor, program, monkeypatch, tmp_path
):
    monkeypatch.setattr(programs, "LIMIT_S", 0.5)
    cluster(program, f"sleep 61 & echo $! >> {tmp_path}/children; wait")
    begun = time.monotonic()
    code, found = doctor(SLURM_CHECKS)
    assert time.monotonic() - begun < 10
    assert (code, found["slurm"]["state"]) == (3, "problem")
    assert "has not answered within 0.5 s" in found["slurm"]["found"]
    assert found["slurm_times"]["state"] == "warning"
    children = [int(pid) for pid in (tmp_path / "children").read_text().split()]
    assert children
    deadline = time.monotonic() + 5
    while any(lives(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_cluster_that_answers_is_described(doctor, program):
    sinfo = (
        'case "$*" in *version*) echo slurm 23.11.4;; *%F*) echo "main*|up|1/2/0/3"; echo "old|down|0/0/4/4";; '
        '*%L*) echo "main|5:00|1-00:00:00";; esac'
    )
    cluster(program, sinfo)
    code, found = doctor(SLURM_CHECKS)
    assert code == 0
    assert found["slurm"]["found"] == "slurm 23.11.4, partitions main* (* is the default)"
    assert "arrays of at most 1001 jobs" in found["slurm_limits"]["found"]
    assert found["slurm_times"]["found"] == "main: 5:00 by default, 1-00:00:00 at most"
    assert "no sacct" in found["slurm_accounting"]["found"]
    program("sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    assert "storage is disabled" in doctor(SLURM_CHECKS)[1]["slurm_accounting"]["found"]
    program("sacct", "exit 0")
    assert "sacct tells" in doctor(SLURM_CHECKS)[1]["slurm_accounting"]["found"]


@pytest.mark.parametrize(
    ("sinfo", "state", "expected"),
    [
        (
            "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1",
            "problem",
            "Unable to contact",
        ),
        ("echo 'sinfo: fatal: Could not establish a configuration source' >&2; exit 1", "warning", "knows no cluster"),
        ('echo "main*|up|0/0/3/3"', "warning", "no node of theirs works"),
        ('echo "main*|down|0/3/0/3"', "warning", "partitions none"),
        ("kill -9 $$", "problem", "killed by SIGKILL"),
    ],
    ids=["controller", "unconfigured", "nodes", "partitions", "killed"],
)
def test_a_cluster_that_cannot_be_used_is_told(look, program, sinfo, state, expected):
    cluster(program, sinfo)
    found = look("slurm")
    assert found[0] == state
    assert expected in found[1]


def test_half_an_installation_of_slurm_is_a_problem(look, program):
    program("squeue", "exit 0")
    state, text = look("slurm")
    assert state == "problem"
    assert "sbatch" in text
    assert "squeue" not in text


@pytest.mark.parametrize(
    ("config", "state", "expected"),
    [
        (CONFIG.replace("1001", "0"), "problem", "no arrays"),
        (CONFIG.replace("JobRequeue = 1", "JobRequeue = 0"), "warning", "not requeued"),
        (CONFIG.replace("OFF", "REQUEUE"), "warning", "send_user_signal"),
        (CONFIG.replace("OFF", "REQUEUE") + "\nPreemptParameters = send_user_signal", "ok", "KillWait 30 sec"),
        (
            CONFIG.replace("OFF", "REQUEUE") + "\nSlurmctldParameters = preempt_send_user_signal",
            "ok",
            "at most 1001",
        ),
    ],
)
def test_what_a_cluster_does_to_jobs_is_judged(look, program, config, state, expected):
    cluster(program, "exit 0", config)
    found = look("slurm_limits")
    assert found[0] == state
    assert expected in found[1]
