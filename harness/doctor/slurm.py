"""Checks of SLURM: whether its controller answers, and what it allows. That there is none is fine, too."""

from __future__ import annotations

import re
import shutil

from harness.doctor.verdict import Verdict, Where, ok, problem, warning
from harness.errors import EnvironmentLacks
from harness.programs import ask

PROGRAMS = ("sbatch", "squeue", "sinfo", "scontrol", "scancel")

NOT_HERE = "not here; runs are trained on this machine"
NO_CLUSTER = "no cluster is known"

UNCONFIGURED = re.compile(r"configuration source|resolve_ctls_from_dns_srv|cannot stat.*slurm\.conf", re.IGNORECASE)
"""How SLURM's programs say that they are installed but belong to no cluster."""

ADMINISTRATOR = "ask whoever runs the cluster"


def reachable(where: Where) -> Verdict:
    """Whether jobs can be submitted from here, and to which partitions."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if len(missing) == len(PROGRAMS):
        return ok(NOT_HERE)
    if "sinfo" not in missing:
        # The controller comes first: where it does not answer, nothing else is of interest.
        verdict = partitions()
        if verdict.state != "ok" or not missing:
            return verdict
    return problem(
        f"{', '.join(missing)} cannot be found, other programs of SLURM can",
        "load the site's module of SLURM, or add its folder to PATH",
    )


def partitions() -> Verdict:
    """The partitions that are up and the nodes that work, by sinfo."""
    answer = ask(["sinfo", "--noheader", "--format=%P|%a|%F"])
    if answer.code and UNCONFIGURED.search(answer.err):
        remedy = "set SLURM_CONF to the cluster's slurm.conf; where there is no cluster, nothing is to be done"
        return warning(f"SLURM is installed, but knows no cluster: {answer.complaint}", remedy)
    if answer.code:
        return problem(
            f"the controller does not answer: {answer.complaint}",
            f"{ADMINISTRATOR}; running jobs go on, and `harness run` of the same study attaches to them later",
        )
    rows = [line.split("|") for line in answer.out.split() if line.count("|") == 2]
    up = [name for name, state, _ in rows if state == "up"]
    # Allocated, idle, other (down, drained) and total.
    working = any(sum(map(int, nodes.split("/")[:2])) for _, _, nodes in rows if re.fullmatch(r"\d+(/\d+){3}", nodes))
    told = f"{version()}, partitions {', '.join(up) or 'none'} (* is the default)"
    if not up or not working:
        return warning(f"{told}; no node of theirs works now", f"{ADMINISTRATOR}, `sinfo -R` shows the reasons")
    return ok(told)


def version() -> str:
    """Name and version, such as `slurm 22.05.8`."""
    answer = ask(["sinfo", "--version"])
    return answer.out.strip() or "slurm"


def limits(where: Where) -> Verdict:
    """What the cluster allows and does to jobs: the size of arrays, requeueing, the signal before preemption."""
    answer = _told("scontrol", "show", "config")
    return answer if isinstance(answer, Verdict) else judged(configuration(answer))


def configuration(text: str) -> dict[str, str]:
    """`scontrol show config` by name."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def judged(config: dict[str, str]) -> Verdict:
    """The verdict on a cluster's configuration."""
    size = int(config.get("MaxArraySize", "0") or 0)
    told = f"arrays of at most {size} jobs, KillWait {config.get('KillWait', 'unknown')}"
    if size < 1:
        return problem(f"{told}: this cluster takes no arrays of jobs", f"{ADMINISTRATOR} (MaxArraySize in slurm.conf)")
    if config.get("JobRequeue") == "0":
        return warning(
            f"{told}; jobs are not requeued (JobRequeue=0)",
            "start `harness run` of the same study again when jobs were preempted or lost a node",
        )
    signals = config.get("PreemptParameters", "") + config.get("SlurmctldParameters", "")
    if config.get("PreemptMode", "OFF") != "OFF" and "send_user_signal" not in signals:
        return warning(
            f"{told}; preempted jobs are not told before they end, so they lose what is since their last checkpoint",
            f"{ADMINISTRATOR} for PreemptParameters=send_user_signal (SLURM 22.05: SlurmctldParameters="
            "preempt_send_user_signal); until then nothing is lost but time",
        )
    return ok(told)


def times(where: Where) -> Verdict:
    """The time limit of jobs that ask for none, and the longest."""
    answer = _told("sinfo", "--noheader", "--format=%R|%L|%l")
    if isinstance(answer, Verdict):
        return answer
    rows = [line.split("|") for line in answer.split() if line.count("|") == 2]
    return ok("; ".join(f"{name}: {default} by default, {most} at most" for name, default, most in rows) or "unknown")


def accounting(where: Where) -> Verdict:
    """Whether sacct tells how jobs ended. Nothing depends on it: the run folders say what was achieved."""
    if not any(map(shutil.which, PROGRAMS)):
        return ok(NOT_HERE)
    without = "how a job ended is seen from squeue and from its run folders, a killed one by its lease within a minute"
    if not shutil.which("sacct"):
        return ok(f"no sacct: {without}")
    try:
        answer = ask(["sacct", "--noheader", "--allocations", "--starttime=now-1minutes", "--format=JobID"])
    except EnvironmentLacks as error:
        return warning(f"{error}; {without}", f"{ADMINISTRATOR} about slurmdbd; submitit, too, waits for sacct")
    if UNCONFIGURED.search(answer.err):
        return ok(NO_CLUSTER)
    if answer.code == 0:
        return ok("sacct tells how jobs ended")
    return ok(f"sacct does not work ({answer.complaint}): {without}")


def _told(*command: str) -> str | Verdict:
    """What a program prints; without SLURM, or without an answer, the verdict that says so."""
    if not any(map(shutil.which, PROGRAMS)):
        return ok(NOT_HERE)
    try:
        answer = ask(command)
    except EnvironmentLacks as error:
        return warning(f"not known: {error}", "see the line `slurm`")
    if answer.code and UNCONFIGURED.search(answer.err):
        return ok(NO_CLUSTER)
    if answer.code:
        return warning(f"not known: {answer.complaint}", "see the line `slurm`")
    return answer.out
