"""No study, however bad, ends in anything but runs or exit code 2 with a message, within 2 s and 500 MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hammer import SECONDS, in_child
from hard_shapes import hard_shapes
from odd_studies import odd_studies

SCRIPT = Path(__file__).with_name("hammer_studies.py")
SEED = 20261121


@pytest.mark.slow
def test_studies_made_to_take_long_are_answered_at_once(tmp_path):
    tally = in_child(SCRIPT, "shapes", folder=tmp_path)
    assert tally.faults == []
    assert len(tally) == len(hard_shapes())
    assert tally.accepted >= 5
    assert tally.slowest < SECONDS
    assert {path.name for path in tmp_path.iterdir()} <= {"odd.yaml", ".hypothesis"}


def test_300_odd_studies_are_accepted_or_refused_with_a_message(tmp_path):
    tally = in_child(SCRIPT, "300", str(SEED), folder=tmp_path)
    assert tally.faults == []
    assert tally.accepted > 10
    assert tally.refused > 150
    assert {path.name for path in tmp_path.iterdir()} <= {"odd.yaml", ".hypothesis"}


@pytest.mark.slow
def test_10000_odd_studies_are_accepted_or_refused_with_a_message(tmp_path):
    tally = in_child(SCRIPT, "10000", str(SEED + 1), folder=tmp_path)
    assert tally.faults == []
    assert len(tally) == 10_000
    assert tally.accepted > 500
    print(tally)


@pytest.mark.slow
def test_the_command_line_tells_bad_studies_without_a_traceback(tmp_path):
    for text in odd_studies(30, SEED + 2):
        (tmp_path / "odd.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        command = [sys.executable, "-m", "harness", "check", "odd.yaml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, 2), (text, done.stderr)
        assert "Traceback" not in done.stderr
        assert ("odd.yaml" if done.returncode else "no mistakes") in done.stderr
