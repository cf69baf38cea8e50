"""`harness doctor` as a command: a healthy machine is called healthy, a check that fails is a line."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from harness.doctor import checks
from harness.doctor.checks import CHECKS
from harness.doctor.examine import Check, examine
from harness.doctor.verdict import Where, ok
from harness.errors import StoreError

NAMES = [check.name for check in CHECKS]


def test_this_machine_is_healthy_and_nothing_is_left_behind(harness, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_CONF", raising=False)
    code, out, err = harness("doctor", "--json")
    found = json.loads(out)
    assert [row["check"] for row in found] == NAMES
    for row in found:
        assert set(row) == {"check", "state", "found", "remedy"}
        assert row["found"]
        assert bool(row["remedy"]) == (row["state"] != "ok"), row
        assert "\n" not in row["found"] + row["remedy"]
    problems = {row["check"] for row in found if row["state"] == "problem"}
    assert problems <= {name for name in NAMES if name.startswith("slurm")}
    assert code == (3 if problems else 0)
    states = {row["check"]: row["state"] for row in found}
    assert {states[name] for name in ("python", "packages", "torch", "torchvision", "results", "database")} == {"ok"}
    assert f"{len(NAMES)} checks" in err
    assert list(tmp_path.iterdir()) == []


def test_in_a_pipe_each_finding_is_one_plain_line_and_the_summary_is_on_stderr(harness, monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "CHECKS", tuple(check for check in CHECKS if check.name in ("cores", "data", "disk")))
    code, out, err = harness("doctor", "--data", tmp_path / "none")
    assert code == 3
    rows = [line.split(maxsplit=2) for line in out.splitlines()]
    assert [row[:2] for row in rows if row[1] != "disk"] == [["ok", "cores"], ["problem", "data"]]
    assert "\x1b" not in out
    assert "-> make it" in rows[-1][2]
    assert "1 problem\n" in err


def test_in_a_terminal_lines_are_colored_and_wrapped_beside_their_names(tmp_path):
    code = (
        "from harness.cli import doctor\nfrom harness.doctor.examine import Finding\n"
        "doctor.teller()(Finding('data', 'problem', 'folder [bold]birds[/bold] ' + 'is missing ' * 12, 'make it'))"
    )
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    subprocess.run([sys.executable, "-c", code], stdout=child, env=environment, check=True, timeout=60)
    os.close(child)
    out = os.read(parent, 1 << 16).decode()
    os.close(parent)
    assert "\x1b[1;31mproblem" in out
    assert "[bold]birds[/bold]" in out
    assert "-> make it" in out
    plain = [line for line in out.splitlines() if "missing" in line]
    assert len(plain) > 1
    assert plain[1].startswith(" " * 27)


def test_who_ends_early_leaves_nothing_behind(tmp_path):
    removed = tmp_path / "own"

    def slow(where):
        removed.touch()
        time.sleep(0.3)
        removed.unlink()
        return ok("")

    table = [Check("quick", lambda where: ok(""), ""), Check("slow", slow, "")]
    findings = examine(Where(tmp_path, tmp_path, "x"), table)
    assert next(findings).check == "quick"
    findings.close()
    assert not removed.exists()


def test_the_help_has_an_example_that_is_a_command(harness):
    _, out, _ = harness("doctor", "--help")
    assert "Example: harness doctor" in out


def test_the_checks_do_not_import_torch():
    code = "import sys, harness.doctor.checks, harness.cli.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_check_that_fails_hangs_or_prints_odd_bytes_is_a_line_and_the_others_go_on():
    def fails(where):
        raise KeyError("MemAvailable")

    def refuses(where):
        raise StoreError("cannot write to x: it is full; free some space")

    table = [
        Check("fails", fails, "remedy 1"),
        Check("hangs", lambda where: time.sleep(60), "remedy 2", limit_s=0.2),
        Check("refuses", refuses, "remedy 3"),
        Check("gone", lambda where: ok(str(os.listdir("/nowhere"))), "remedy 4"),
        Check("odd", lambda where: ok(os.fsdecode(b"caf\xe9\nbar")), "remedy 5"),
    ]
    begun = time.monotonic()
    rows = [(row.state, row.found, row.remedy) for row in examine(Where(Path("r"), Path("d"), "x"), table)]
    assert time.monotonic() - begun < 5
    assert rows[0] == ("problem", "the check itself failed: KeyError: 'MemAvailable'", "remedy 1")
    assert rows[1] == ("problem", "no answer within 0.2 s", "remedy 2")
    assert rows[2] == ("problem", "cannot write to x: it is full", "free some space")
    assert rows[3][0::2] == ("problem", "remedy 4")
    assert "/nowhere" in rows[3][1]
    assert rows[4] == ("ok", "caf? bar", "")
