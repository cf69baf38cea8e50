"""A run tells of every epoch, and of the steps of a long one."""

from harness.training import teller as telling
from harness.training.history import History
from harness.training.teller import Teller


def finished(epoch):
    history = History()
    history.epoch = epoch
    history.record("train", "loss", 0.5)
    history.spend("total_seconds", 2.0)
    return history


def test_steps_are_told_when_there_was_silence_and_epochs_always(monkeypatch):
    said, now = [], [0.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
    teller = Teller(15, said.append)
    teller.step("training", 1, 21)
    assert said == []  # too soon
    now[0] = 1.5
    teller.step("training", 2, 21)
    assert said[-1] == {"epoch": 0, "epochs": 15, "steps": 2, "doing": "training", "done": 2, "total": 21}
    teller.step("training", 3, 21)
    assert len(said) == 1
    teller.epoch(finished(1))
    assert (said[-1]["epoch"], said[-1]["loss"], said[-1]["recall_at_1"]) == (1, 0.5, None)
    assert "doing" not in said[-1]


def test_a_run_tells_at_which_step_it_begins_and_how_many_it_has_behind_it():
    said = []
    teller = Teller(15, lambda told: said.append(dict(told)), every_s=0.0)
    history = finished(2)
    history.spend("steps", 42)
    teller.begin(history, 7)
    assert (said[-1]["first_step"], said[-1]["steps"]) == (49, 49)
    teller.step("training", 8, 21)
    teller.step("embedding", 3, 4)
    assert (said[-1]["first_step"], said[-1]["steps"]) == (49, 50)
    history.spend("steps", 21)
    teller.epoch(history)
    assert (said[-1]["first_step"], said[-1]["steps"]) == (49, 63)
