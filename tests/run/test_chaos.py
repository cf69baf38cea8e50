"""Workers of this machine are killed one after the other, and the study ends as if nothing had happened.

HARNESS_TEST_KILLS=100 is the full form.
"""

import dataclasses
import itertools
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

STEPS = 3  # of an epoch
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
    with open(tmp_path / "said.txt", "w") as said:
        launch = subprocess.Popen(command, stderr=said)
    yield Study.load(path), results, launch
    launch.kill()
    launch.wait()


def test_a_study_whose_workers_are_killed_again_and_again_ends_as_if_undisturbed(study, tmp_path, bank_cache, capsys):
    study, results, launch = study
    specs = study.runs()
    folders = [RunFolder(results, spec.run_id) for spec in specs]
    killed = kill_workers(folders, launch, random.Random(0))
    assert launch.wait(timeout=60 * len(specs)) == 0, (tmp_path / "said.txt").read_text()
    for spec, folder in zip(specs, folders, strict=True):
        assert numbers(folder.read_result()) == numbers(execute(spec, Context(tmp_path, bank_cache)))
        assert [attempt.cause for attempt in folder.attempts()].count("done") == 1
    with capsys.disabled():
        print(f"\n{killed} workers killed, {len(specs)} runs; {computed_twice(folders)}")
    assert killed >= KILLS / 2


def kill_workers(folders, launch, chance) -> int:
    """Kill `KILLS` workers, as long as there are any, each after it has got between two and fifteen epochs further."""
    when: dict[str, int] = {}  # token of the owner -> after how many steps of its own it is killed
    killed: set[str] = set()
    while len(killed) < KILLS and launch.poll() is None:
        time.sleep(0.05)
        for folder in folders:
            owner = folder.owner() if folder.state() == "running" else None
            if owner is None or owner.token in killed:
                continue
            if own_steps(folder, owner) >= when.setdefault(owner.token, chance.randint(6, 45)):
                killed.add(owner.token)
                with suppress(ProcessLookupError):
                    os.kill(owner.pid, signal.SIGKILL)
    return len(killed)


def own_steps(folder, owner) -> int:
    """How many steps this owner of the run says that it has done."""
    told = folder.read_progress()
    return told["steps"] - told["first_step"] if told and told.get("by") == owner.token[:8] else 0


def computed_twice(folders) -> str:
    """Which share of the steps that were needed was computed more than once.

    An attempt says where it was up to a second ago; at most it loses the epoch that was under way.
    """
    needed, each = 60 * STEPS * len(folders), [folder.attempts() for folder in folders]
    pairs = [(a.last_step, b.first_step) for attempts in each for a, b in itertools.pairwise(attempts)]
    least = sum(max(0, last - first) for last, first in pairs if None not in (last, first))
    lost = [attempt for attempts in each for attempt in attempts if attempt.cause == "lost"]
    return f"{len(lost)} lost; steps computed twice: {least / needed:.1%} to {STEPS * len(lost) / needed:.1%}"


def numbers(result):
    return dataclasses.replace(result, cost={}, provenance={})
