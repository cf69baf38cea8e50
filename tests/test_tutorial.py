"""The tutorial of CONTRIBUTING.md as it stands there: one file, one study, one command, and its number."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.registry import build
from harness.store.frames import Database
from harness.tuples import Triplets

ROOT = Path(__file__).parent.parent
SECTION = (
    (ROOT / "CONTRIBUTING.md").read_text().partition("## Your own objective in one file\n")[2].partition("\n## ")[0]
)
NAME = "my_losses:LogisticTriplet"


def code(language: str) -> str:
    """The one block of the section in this language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", SECTION, flags=re.DOTALL | re.MULTILINE)
    return block


@pytest.fixture
def lab(tmp_path, bank_cache):
    """A folder with the two files; the drawn letters are shared by all tests."""
    (tmp_path / "my_losses.py").write_text(code("python"))
    (tmp_path / "my_study.yaml").write_text(code("yaml"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cache").symlink_to(bank_cache)
    return tmp_path


def typed(lab: Path, line: str) -> subprocess.CompletedProcess:
    """What a line gives in that folder, where `harness` is this checkout's."""
    path, *words = shlex.split(line)
    assert (path, words[0]) == ("PYTHONPATH=.", "harness")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([".", str(ROOT)])}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=lab, env=environment, capture_output=True, text=True, timeout=120)


def test_the_tutorial_puts_the_number_of_an_own_objective_into_the_database(lab):
    done = typed(lab, code("shell"))
    assert done.returncode == 0, done.stdout + done.stderr
    frame = Database(f"sqlite:///{lab / 'results' / 'harness.db'}").measurements("my_study", selection="last")
    recall = frame[(frame["split"] == "test") & (frame["metric"] == "recall_at_1")].set_index("objective")["value"]
    assert set(recall.index) == {NAME, "triplet"}
    assert 0 <= recall[NAME] <= 1
    loss = frame[(frame["split"] == "train") & (frame["metric"] == "loss")].set_index("objective")["value"]
    assert loss[NAME] != loss["triplet"]


def test_a_misspelled_option_of_an_own_objective_is_told_where_it_stands(lab):
    study = lab / "my_study.yaml"
    study.write_text(study.read_text().replace("sharpness:", "sharpnes:"))
    told = typed(lab, code("shell").replace(" run ", " check "))
    assert told.returncode == 2
    assert f"objective '{NAME}' has no option 'sharpnes'; did you mean 'sharpness'?" in told.stdout + told.stderr


def test_the_objective_of_the_tutorial_is_what_it_says(lab, monkeypatch):
    monkeypatch.syspath_prepend(str(lab))
    monkeypatch.delitem(sys.modules, "my_losses", raising=False)
    part = build("objective", NAME, sharpness=2.0)
    monkeypatch.delitem(sys.modules, "my_losses")
    embeddings = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    tuples = Triplets(*torch.tensor([[0, 0], [1, 0], [2, 0]]))  # the second is absent
    assert part(embeddings, torch.tensor([0, 0, 1]), tuples).item() == pytest.approx(6.002476, abs=1e-5)
