"""What is shown while something long goes on."""

import itertools

from harness.cli import display
from harness.cli.display import Display


def test_a_long_step_tells_its_pace_from_its_own_beginning(monkeypatch, capsys):
    seconds = itertools.count(step=10)
    monkeypatch.setattr(display.time, "monotonic", lambda: next(seconds))
    shown = Display("study")
    for done, what in ((50, "decoding"), (250, "decoding"), (1, "looking"), (301, "looking")):
        shown.prepare(done, 400, what)
    assert capsys.readouterr().err.splitlines() == [
        "decoding: 50 of 400",
        "decoding: 250 of 400, 20 a second",
        "looking: 1 of 400",
        "looking: 301 of 400, 30 a second",
    ]
