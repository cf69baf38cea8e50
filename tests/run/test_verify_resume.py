"""`harness verify-resume`: a run that keeps everything passes, one that forgets something is found out, by name."""

import json
import signal

import pytest
import torch

from harness.verify import Compared, Verdict, shortened
from harness.verify.compare import what_differs
from harness.verify.disturb import Trained, plan
from harness.verify.state import attributes, digest
from harness.verify.steps import Steps, record_steps

STUDY = """\
schema: 1
name: mini
run:
  dataset: {name: glyphs, instances: 6, classes: 8}
  backbone: {name: convnet, embedding_dim: 8}
  training: {epochs: 40, batch_size: 16, augmentation: shift}
  optimizer: {name: adam, lr: 1e-3, schedule: cosine}
grid:
  - objective: margin
    miner: MINER
    regularizer: rho
"""

LAB = """\
import torch
from harness.tuples import Triplets


class _Shifted:
    def __init__(self):
        self.calls = 0

    def triplets(self, labels, shift):
        rows = torch.arange(len(labels), device=labels.device)
        positive = (labels[:, None] == labels).float().fill_diagonal_(0).argmax(1)
        others = labels[:, None] != labels
        ranks = (rows + shift) % len(labels)
        negative = (others * (ranks + 1)).argmax(1)
        return Triplets(rows, positive, negative)


class Forgetful(_Shifted):
    def __call__(self, embeddings, labels, generator):
        self.calls += 1
        return self.triplets(labels, self.calls)


class Careful(Forgetful):
    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


class Moody(_Shifted):
    def __call__(self, embeddings, labels, generator):
        return self.triplets(labels, int.from_bytes(open("/dev/urandom", "rb").read(2)))
"""


@pytest.fixture
def verify(harness, tmp_path, bank_cache, monkeypatch):
    """Runs `harness verify-resume` on a study with this miner; gives the exit code, stdout and stderr."""
    (tmp_path / "resuming_lab.py").write_text(LAB)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cache").symlink_to(bank_cache)

    def run(miner, *arguments):
        (tmp_path / "mini.yaml").write_text(STUDY.replace("MINER", miner))
        code, out, err = harness("verify-resume", "mini.yaml", *arguments)
        assert "Traceback" not in err
        return code, out, err

    return run


def left_behind(tmp_path):
    return [path.name for path in (tmp_path / "results").iterdir() if path.name != "cache"]


def test_a_run_that_is_killed_again_and_again_is_the_undisturbed_run(verify, tmp_path):
    code, out, err = verify("distance_weighted", "--kills", 4, "--json")
    told = json.loads(out)
    assert code == 0, err
    assert told["same"]
    assert sum(told["kills"].values()) >= 3  # the last may come when the run has just ended
    assert told["kills"]["SIGKILL"] >= 1
    assert told["steps_computed"] > told["steps"] == 9
    sizes = {part["part"]: part["values"] for part in told["parts"]}
    assert min(sizes[part] for part in ("network", "objective", "optimizer", "curves", "measurements", "spectra")) > 0
    assert left_behind(tmp_path) == []


def test_a_miner_that_counts_in_secret_is_found_and_named(verify, tmp_path):
    code, out, _ = verify('"resuming_lab:Forgetful"', "--kills", 3)
    assert code == 1
    assert "NOT the undisturbed run" in out
    network = next(line for line in out.splitlines() if line.startswith("network"))
    assert " differ, such as " in network
    curves = next(line for line in out.splitlines() if line.startswith("curves"))
    assert "from epoch" in curves
    assert "miner.calls is " in out
    assert "undisturbed it is 9; no checkpoint holds it, and it has no state_dict" in out
    [kept] = left_behind(tmp_path)
    assert kept in out


def test_the_same_miner_passes_when_it_says_what_it_counts(verify):
    code, out, err = verify('"resuming_lab:Careful"', "--kills", 3)
    assert code == 0, out + err
    assert next(line for line in out.splitlines() if line.startswith("miner")).split() == ["miner", "same"]


def test_a_run_that_does_not_repeat_itself_is_not_blamed_on_resuming(verify):
    code, out, _ = verify('"resuming_lab:Moody"', "--kills", 1)
    assert code == 1
    assert "two undisturbed trainings differ as well" in out


def test_a_run_that_fails_is_told_with_its_cause(verify):
    code, _, err = verify("distance_weighted", "--set", "optimizer.lr=1e30")
    assert code == 1
    assert "the undisturbed training failed (diverged)" in err


def test_a_shortened_run_keeps_its_plan_in_proportion(mini_spec):
    spec = mini_spec(epochs=150)
    plans = {"milestones": [50, 100, 101], "warmup_epochs": 10}
    spec = type(spec).from_dict({**spec.to_dict(), "optimizer": {**spec.optimizer.model_dump(), **plans}})
    short = shortened(spec, 3)
    assert (short.training.epochs, short.optimizer.milestones, short.optimizer.warmup_epochs) == (3, [1, 2], 1)
    assert shortened(spec, 150) is spec


def test_kills_are_as_many_as_asked_for_of_both_kinds_and_decided_by_the_seed(tmp_path):
    import random

    steps = Steps(tmp_path)
    for number in range(10):
        steps.add(f"training, epoch 1, step {number}")
    alone = Trained(None, steps, seconds=5.0)
    kills = plan(alone, 8, random.Random(0))
    assert kills == plan(alone, 8, random.Random(0)) != plan(alone, 8, random.Random(1))
    points = [kill.point for kill in kills]
    assert points == sorted(set(points))
    assert sorted(kill.number for kill in kills) == [signal.SIGKILL] * 4 + [signal.SIGTERM] * 4
    assert all(0 <= kill.delay_s <= 1.0 for kill in kills)
    assert len(plan(alone, 25, random.Random(0))) == 25  # more than there are steps


def test_steps_are_counted_once_and_as_often_as_they_were_made(tmp_path):
    reached = []
    tell = record_steps(tmp_path, 2, lambda: reached.append(Steps(tmp_path).last))
    for done in (1, 1, 2, 3):
        tell({"epoch": 0, "epochs": 3, "doing": "training", "done": done, "total": 3})
    tell({"epoch": 1, "epochs": 3, "loss": 0.5})  # the end of an epoch is no step
    tell({"epoch": 1, "epochs": 3, "doing": "embedding", "done": 256, "total": 400})
    steps = Steps(tmp_path)
    assert (steps.different(), steps.different("training"), steps.computed("training")) == (4, 3, 4)
    assert reached == ["training, epoch 1, step 2"]


@pytest.mark.parametrize("other", [torch.tensor([-0.0]), torch.tensor([0.0]).double(), torch.zeros(1, 1), 0.0, None])
def test_values_are_the_same_only_if_every_bit_type_and_shape_is(other):
    assert digest(torch.tensor([0.0])) == digest(torch.zeros(1))
    assert digest(torch.zeros(1).as_strided((1,), (0,))) == digest(torch.zeros(1))
    assert digest(torch.arange(6).view(2, 3).T) == digest(torch.tensor([[0, 3], [1, 4], [2, 5]]))
    assert digest(torch.tensor([float("nan")])) == digest(torch.tensor([float("nan")]))
    assert digest(torch.tensor([0.0])) != digest(other)


def test_what_a_part_keeps_beside_its_state_is_seen_however_it_is_kept():
    class Keeping(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.register_buffer("count", torch.zeros(1), persistent=False)
            self.register_buffer("saved", torch.zeros(1))
            self.generator = torch.Generator()
            self.recent = [{"loss": 1.0}]
            self.holder = [self]

    part = Keeping()
    before = dict(attributes(part, "objective"))
    part.count += 1
    part.saved += 1
    part.layer.weight.data += 1
    torch.rand(1, generator=part.generator)
    part.recent[0]["loss"] = 2.0
    after = dict(attributes(part, "objective"))
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"objective.count", "objective.generator", "objective.recent.0.loss"}


def test_nothing_is_the_same_where_one_value_differs():
    parts = [Compared("network", 10, 0), Compared("curves", 10, 1, "from epoch 2 on")]
    assert what_differs(parts) == ["curves"]
    assert not Verdict(parts, {"SIGKILL": 1}, 10, 13, []).same
    assert Verdict(parts[:1], {"SIGKILL": 1}, 10, 13, []).same
    assert Verdict(parts, {}, 10, 13, []).computed_twice == pytest.approx(0.3)
