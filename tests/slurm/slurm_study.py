"""A miniature study that is run on the test cluster by the command line, as a user would."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import slurm_cluster
from slow_miner import PAUSE
from slurm_cluster import Slurm

from harness.launch.fleet import job_name
from harness.specs import RunResult
from harness.store.spool import RunFolder
from harness.study import Study
from harness.training.assemble import Context
from harness.training.execute import execute

STUDY = """\
schema: 1
name: mini
question: Does everything hold together?
run:
  dataset: {name: glyphs, instances: 6, classes: 8}
  backbone: {name: convnet, embedding_dim: 8}
  sampler: class_balanced
  training: {epochs: EPOCHS, batch_size: 16, augmentation: shift}
  optimizer: {name: adam, lr: 1e-3}
seeds: SEEDS
grid:
  - objective: triplet
    miner: "slow_miner:SlowMiner"
"""

PYTHONPATH = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)

SITE = {"partition": "main", "gpus": 0, "cpus": 1, "minutes": 10, "parallel": 4, "signal_s": 60}


@dataclass(frozen=True)
class OnCluster:
    """The miniature study in a folder of its own."""

    slurm: Slurm
    folder: Path
    banks: Path
    launches: list[subprocess.Popen] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=lambda: {"OMP_NUM_THREADS": "1", "PYTHONPATH": PYTHONPATH})

    def prepare(self, *, seeds: int = 2, epochs: int = 2, pause_s: float = 0.0, **site: object) -> None:
        """Write the study and the site file; what is said of the site replaces what stands in `SITE`.

        An epoch has 3 steps, and after the first three epochs each takes `pause_s` longer than it must, until `hurry`.
        """
        self.pause.write_text(str(pause_s))
        self.variables[PAUSE] = str(self.pause)
        self.path.write_text(STUDY.replace("SEEDS", str(seeds)).replace("EPOCHS", str(epochs)))
        self.site.write_text("".join(f"{key}: {value}\n" for key, value in (SITE | site).items()))
        self.results.mkdir(exist_ok=True)
        if not (self.results / "cache").exists():
            (self.results / "cache").symlink_to(self.banks)

    def hurry(self) -> None:
        """Let all runs be as fast as they can, from now on."""
        self.pause.unlink(missing_ok=True)

    @property
    def pause(self) -> Path:
        """The file that makes runs last."""
        return self.folder / "pause"

    @property
    def path(self) -> Path:
        """The study file."""
        return self.folder / "mini.yaml"

    @property
    def site(self) -> Path:
        """The site file."""
        return self.folder / "site.yaml"

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder / "results"

    @property
    def job_name(self) -> str:
        """What all jobs of the study are called."""
        return job_name("mini", self.results)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that runs the study."""
        return self.slurm.environment | self.variables

    def start(self, *options: object) -> subprocess.Popen:
        """`harness run` on the cluster, in the background; what it says is kept in a file."""
        return self.start_here("--backend", "slurm", "--site", self.site, *options)

    def start_here(self, *options: object) -> subprocess.Popen:
        """`harness run` on this machine, in the background."""
        with open(self.folder / "said.txt", "a") as said:
            launch = subprocess.Popen(
                self._words("run", self.path, *options), env=self.environment, stdout=said, stderr=said
            )
        self.launches.append(launch)
        return launch

    def run(self, *options: object) -> str:
        """`harness run` on the cluster until it ends well; gives what it said."""
        done = self.harness("run", self.path, "--backend", "slurm", "--site", self.site, *options)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def harness(self, *command: object) -> subprocess.CompletedProcess:
        """Any command of the harness, with this results folder."""
        return subprocess.run(self._words(*command), env=self.environment, capture_output=True, text=True, timeout=900)

    def _words(self, *command: object) -> list[str]:
        return [sys.executable, "-m", "harness", *map(str, command), "--results", str(self.results)]

    def watch(self) -> str:
        """`harness run` on the cluster, which finds open runs and then sees them end; gives what it said."""
        before = len(self.said())
        launch = self.start()
        wait_for(lambda: "running" in self.said()[before:])
        self.hurry()
        assert launch.wait(timeout=120) == 0, self.said()
        return self.said()[before:]

    def said(self) -> str:
        """What the launches in the background have said."""
        file = self.folder / "said.txt"
        return file.read_text() if file.exists() else ""

    def jobs(self) -> dict[str, str]:
        """The states of its jobs that wait or run, by id."""
        return self.slurm.jobs(f"--name={self.job_name}")

    def submissions(self) -> list[Path]:
        """One folder for each time that jobs were submitted."""
        return sorted((self.results / "workers" / "slurm").glob("*"))

    def submitted(self) -> int:
        """How many jobs were submitted altogether."""
        return sum(len(list(folder.glob("*_submitted.pkl"))) for folder in self.submissions())

    def runs(self) -> list[RunFolder]:
        """The folders of its runs."""
        return [RunFolder(self.results, spec.run_id) for spec in Study.load(self.path).runs()]

    def causes(self) -> list[str]:
        """How all attempts on all runs have ended, one run after the other."""
        return [attempt.cause for folder in self.runs() for attempt in folder.attempts()]

    def epochs(self) -> int:
        """How many epochs the runs have behind them, by their own words."""
        return sum((folder.read_progress() or {}).get("epoch", 0) for folder in self.runs())

    def worker_of(self, folder: RunFolder) -> int:
        """The process that works on a run."""
        return folder.owner().pid

    def check_numbers(self) -> None:
        """Every run has one result, with the very numbers of a run that nobody has disturbed."""
        for spec, folder in zip(Study.load(self.path).runs(), self.runs(), strict=True):
            alone = execute(spec, Context(self.folder, self.banks))
            assert numbers(folder.read_result()) == numbers(alone)
            assert [attempt.cause for attempt in folder.attempts()].count("done") == 1


def numbers(result: RunResult) -> RunResult:
    """Without what depends on the machine and on the time."""
    return dataclasses.replace(result, cost={}, provenance={})


def kill(process: subprocess.Popen) -> None:
    """End a launch in the middle, as a crash of its machine would."""
    process.kill()
    process.wait()


def wait_for(happened: Callable[[], object], seconds: float = 150.0) -> None:
    """Wait longer than for SLURM alone: a worker that starts imports torch, at the pace of a busy machine."""
    slurm_cluster.wait_for(happened, seconds)


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not only not yet waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
