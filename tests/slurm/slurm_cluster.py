"""How tests talk to a SLURM: submit a script, wait for what must happen, let a node fail."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TESTBED = Path(__file__).parents[2] / "slurm" / "testbed"


def testbed(script: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run one of the test cluster's own scripts, with the Python that runs the tests."""
    command = [sys.executable, TESTBED / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


testbed.__test__ = False


@dataclass(frozen=True)
class Slurm:
    """A running test cluster."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that talks to this cluster."""
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command: object) -> str:
        """What a SLURM command prints; an error with its reason where it fails."""
        done = self.attempt(*command)
        assert done.returncode == 0, f"{' '.join(done.args)}: {done.stdout}{done.stderr}"
        return done.stdout

    def attempt(self, *command: object) -> subprocess.CompletedProcess:
        """A SLURM command that may fail."""
        words = [str(word) for word in command]
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)

    def sbatch(self, folder: Path, script: str, *options: object) -> str:
        """Submit a shell script that works in this folder; gives the job's id."""
        file = folder / "script.sh"
        file.write_text(f"#!/bin/bash\n{script}\n")
        return self.call("sbatch", "--parsable", f"--chdir={folder}", *options, file).strip()

    def jobs(self, *options: object) -> dict[str, str]:
        """The states of the jobs that are waiting or running, by id; tasks of an array one by one."""
        lines = self.call("squeue", "--noheader", "--array", "--format=%i %T", *options).splitlines()
        return dict(line.split() for line in lines)

    def node(self, action: str, name: str) -> None:
        """Let a node fail (down), cut it off while its jobs live on (cut), or bring it back (up)."""
        done = testbed("node", action, name, self.folder)
        assert done.returncode == 0, done.stderr

    def tell_that_node_is_down(self, name: str) -> None:
        """Spare the test the half minute after which the controller would see for itself that a node is silent."""
        self.call("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")


def wait_for(happened: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is true; it must be so within `seconds`."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"has not happened within {seconds:.0f} s"
        time.sleep(0.05)


def lines(file: Path) -> list[str]:
    """The lines of a file that a job writes; none before it has, or after the process in /proc is gone."""
    try:
        return file.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
