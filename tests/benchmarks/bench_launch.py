"""Times what a launch costs beside training: runs that train nothing go the whole way from the study to the database.

    python tests/benchmarks/bench_launch.py --runs 1000 --grid 10000

Prints the seconds of: `runs` runs of no training with two workers of this machine, through `launch`; `harness run
--dry-run` of a grid of `grid` runs; and `harness run` of that grid when all of it is there already. The last two are
whole processes, start-up included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.launch import Machine, crew, launch
from harness.specs import Curve, Measurement, RunResult, RunSpec
from harness.store.spool import RunFolder
from harness.study import Study
from harness.worker import Worker

STUDY = """
schema: 1
name: {name}
run:
  dataset: {{name: glyphs, instances: 6, classes: 8}}
  backbone: {{name: convnet, embedding_dim: 8}}
  training: {{epochs: 1, batch_size: 16, augmentation: none}}
seeds: {seeds}
grid:
  - objective: [{objectives}]
"""
OBJECTIVES = ["multi_similarity", "n_pair", "proxy_nca", "normalized_softmax", "arcface"]
EPOCHS = 15
METRICS = ("recall_at_1", "recall_at_2", "map_at_r", "nmi", "density", "rho", "pi_intra", "pi_inter")


def nothing_trained(spec: RunSpec, *_: object) -> RunResult:
    """A result like a small run's, at once."""
    epochs = list(range(1, EPOCHS + 1))
    curves = [Curve("test", metric, epochs, [0.5 + epoch / 1000 for epoch in epochs]) for metric in METRICS]
    last = [Measurement("test", metric, "last", EPOCHS, 0.5 + spec.seed / 1e6) for metric in METRICS]
    return RunResult(spec.run_id, "done", measurements=last, curves=curves)


class IdleWorker(Worker):
    """A worker whose runs train nothing; all else is as always."""

    def __call__(self) -> int:
        from harness.training import execute

        execute.execute = nothing_trained
        return super().__call__()


def main() -> None:
    """Prints three lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--grid", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"{seconds_of_idle_runs(Path(folder), arguments.runs, arguments.workers):7.1f} s  "
            f"{arguments.runs} runs of no training, {arguments.workers} workers",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        study = write_study(Path(folder), "grid", arguments.grid)
        print(f"{seconds_of(study, '--dry-run'):7.1f} s  harness run --dry-run of {arguments.grid} runs", flush=True)
        finish_all(study)
        seconds_of(study)  # collects what the runs above have left
        print(f"{seconds_of(study):7.1f} s  harness run of {arguments.grid} finished runs", flush=True)


def write_study(folder: Path, name: str, runs: int) -> Path:
    """A study of so many runs."""
    path = folder / f"{name}.yaml"
    seeds = runs // len(OBJECTIVES)
    path.write_text(STUDY.format(name=name, seeds=seeds, objectives=", ".join(OBJECTIVES)))
    return path


def seconds_of_idle_runs(folder: Path, runs: int, workers: int) -> float:
    """From an empty results folder to all rows in the database."""
    study = Study.load(write_study(folder, "idle", runs))
    crew.Worker = IdleWorker  # type: ignore[misc]
    results = folder / "results"
    begin = time.perf_counter()
    outcome = launch(
        study, results=results, db=f"sqlite:///{results}/harness.db", data=folder, machine=Machine(workers)
    )
    assert outcome.done == len(study.runs()), outcome
    return time.perf_counter() - begin


def finish_all(study: Path) -> None:
    """Results for all runs of a study, without workers."""
    for spec in Study.load(study).runs():
        folder = RunFolder(study.parent / "results", spec.run_id)
        folder.write_spec(spec)
        lease = folder.take()
        assert lease is not None
        folder.publish(nothing_trained(spec), lease)


def seconds_of(study: Path, *options: str) -> float:
    """The whole process of one `harness run`."""
    command = [sys.executable, "-m", "harness", "run", str(study), "--results", str(study.parent / "results"), *options]
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
