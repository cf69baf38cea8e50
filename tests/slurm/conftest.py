"""A real SLURM for the tests of this folder: the test cluster that SLURM_CONF names, else one of their own.

Every process of a parallel session starts its own, in a folder and on ports of its own, so that tests in different
processes never meet. (The alternative, one process for them all by `--dist loadgroup`, has no effect with pytest 9.2
and pytest-xdist 3.8, and takes longer: these tests mostly wait.)
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Slurm, testbed, wait_for
from slurm_study import OnCluster, kill

OWN_FOLDERS = "harness-slurm-test-"


def pytest_itemcollected(item):
    """Pytest asks this only for the tests below this folder."""
    item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm_session(request) -> Iterator[Slurm]:
    """A cluster for the whole session. Logs are kept where tests have failed, until the next session."""
    if running := _running_testbed():
        yield running
        return
    if reason := _why_there_is_none():
        pytest.skip(reason)
    _stop_abandoned()
    folder = Path(f"/tmp/{OWN_FOLDERS}{os.getpid()}")
    started = testbed("start", folder)
    assert started.returncode == 0, started.stderr
    try:
        yield Slurm(folder)
    finally:
        stopped = testbed("stop", folder)
        if not request.session.testsfailed:
            shutil.rmtree(folder)
        assert stopped.returncode == 0, stopped.stderr


@pytest.fixture
def slurm(slurm_session, monkeypatch) -> Iterator[Slurm]:
    """The cluster with all nodes up, as the one that this process, too, talks to; what a test leaves is canceled."""
    monkeypatch.setenv("SLURM_CONF", slurm_session.environment["SLURM_CONF"])
    others = slurm_session.jobs()
    yield slurm_session
    for node in slurm_session.call("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N").split():
        slurm_session.node("up", node)
    if left := slurm_session.jobs().keys() - others.keys():
        slurm_session.attempt("scancel", *left)
        wait_for(lambda: not left & slurm_session.jobs().keys())
    wait_for(lambda: set(_node_states(slurm_session)) <= {"idle", "mix", "alloc"})


def _node_states(slurm: Slurm) -> list[str]:
    return slurm.call("sinfo", "--noheader", "--Node", "--format=%t").split()


def _running_testbed() -> Slurm | None:
    """Never a cluster that is none of ours: these tests cancel jobs and end daemons."""
    folder = Path(os.environ.get("SLURM_CONF", "/nowhere")).parent
    ours = (folder / ".test-cluster").exists() and shutil.which("sinfo")
    return Slurm(folder) if ours and Slurm(folder).attempt("sinfo").returncode == 0 else None


def _why_there_is_none() -> str | None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=path)]
    if missing:
        return f"no SLURM here ({', '.join(missing)} not found); slurm/testbed/install installs it"
    return "only root can start a SLURM" if os.geteuid() else None


def _stop_abandoned() -> None:
    """Clusters of sessions that were killed."""
    for folder in Path("/tmp").glob(f"{OWN_FOLDERS}*"):
        if not Path("/proc", folder.name.removeprefix(OWN_FOLDERS)).exists():
            testbed("stop", folder)
            shutil.rmtree(folder, ignore_errors=True)  # another process may be at it, too


@pytest.fixture
def study(slurm, tmp_path, bank_cache) -> Iterator[OnCluster]:
    """The miniature study, to be prepared and run on the cluster; the drawn letters are shared by all tests."""
    study = OnCluster(slurm, tmp_path, bank_cache)
    yield study
    for launch in study.launches:
        kill(launch)


@pytest.fixture
def short_folder():
    """One whose name is short enough for sockets, which that of `tmp_path` need not be."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    yield folder
    testbed("stop", folder)
    shutil.rmtree(folder)
