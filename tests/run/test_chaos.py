"""Workers of this machine are killed one after the other, and the study ends as if nothing had happened.

HARNESS_TEST_KILLS=100 is the full form.
"""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from harness.store.spool import RunFolder
from harness.study import Study
from harness.training.execute import Context, execute

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("HARNESS_TEST_KILLS", "10"))
STUDY = f"""\
schema: 1
name: mini
question: Does everything hold together?
run:
  dataset: {{name: glyphs, instances: 6, classes: 8}}
  backbone: {{name: convnet, embedding_dim: 8}}
  sampler: class_balanced
  training: {{epochs: 60, batch_size: 16, augmentation: shift}}
  optimizer: {{name: adam, lr: 1e-3}}
seeds: {max(4, KILLS // 4)}
grid:
  - objective: triplet
    miner: semihard
"""


@pytest.fixture
def study(tmp_path, bank_cache):
    """The study, its folder of results, and the process that launches it with four workers."""
    path, results = tmp_path / "mini.yaml", tmp_path / "results"
    path.write_text(STUDY)
    results.mkdir()
    (results / "cache").symlink_to(bank_cache)
    command = [sys.executable, "-m", "harness", "run", str(path), "--results", str(results), "--workers", "4"]
    launch = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    yield Study.load(path), results, launch
    launch.kill()
    launch.communicate()


def test_a_study_whose_workers_are_killed_again_and_again_ends_as_if_undisturbed(study, tmp_path, bank_cache, capsys):
    study, results, launch = study
    specs = study.runs()
    folders = [RunFolder(results, spec.run_id) for spec in specs]
    killed = kill_workers(folders, launch, random.Random(0))
    assert launch.wait(timeout=60 * len(specs)) == 0, launch.communicate()[1]
    for spec, folder in zip(specs, folders, strict=True):
        assert numbers(folder.read_result()) == numbers(execute(spec, Context(tmp_path, bank_cache)))
        assert [attempt.cause for attempt in folder.attempts()].count("done") == 1
    with capsys.disabled():
        print(f"\n{killed} workers killed, {len(specs)} runs; {computed_twice(folders, 180 * len(specs))}")
    assert killed >= KILLS / 2


def kill_workers(folders, launch, chance) -> int:
    """Kill `KILLS` workers that have got somewhere, one at a time, as long as there are any."""
    killed: set[str] = set()
    while len(killed) < KILLS and launch.poll() is None:
        time.sleep(chance.uniform(0.1, 0.5))
        at_work = [folder.owner() for folder in folders if folder.state() == "running" and has_begun(folder)]
        alive = [owner for owner in at_work if owner and owner.token not in killed]
        if alive:
            victim = chance.choice(alive)
            killed.add(victim.token)
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)
    return len(killed)


def has_begun(folder) -> bool:
    """Whether the present owner of a run has got further than where it began."""
    told, owner = folder.read_progress(), folder.owner()
    mine = bool(told and owner and told.get("by") == owner.token[:8])
    return mine and told["steps"] > told["first_step"]


def computed_twice(folders, needed) -> str:
    """Which share of the steps that were needed was computed once more, and did not count."""
    attempts = [attempt for folder in folders for attempt in folder.attempts() if attempt.first_step is not None]
    extra = sum(attempt.last_step - attempt.first_step for attempt in attempts) - needed
    return f"{len(attempts)} attempts, at least {extra / needed:.1%} of the steps computed twice"


def numbers(result):
    return dataclasses.replace(result, cost={}, provenance={})
