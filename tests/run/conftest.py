"""The command line, called in this process."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.doctor import checks
from harness.doctor.checks import CHECKS
from harness.doctor.examine import examine
from harness.doctor.verdict import Where


@pytest.fixture
def doctor(harness, monkeypatch):
    """Runs `harness doctor --json` for some checks of the table; gives the exit code and the findings by name."""

    def run(names, *arguments):
        chosen = tuple(check for check in CHECKS if check.name in names.split())
        monkeypatch.setattr(checks, "CHECKS", chosen)
        code, out, err = harness("doctor", "--json", *arguments)
        assert "Traceback" not in err
        found = {row["check"]: row for row in json.loads(out)}
        assert list(found) == [check.name for check in chosen]
        return code, found

    return run


@pytest.fixture
def look():
    """What one check of the table finds in some places: its state, and `found -> remedy`."""

    def run(name, **places):
        where = replace(Where(Path("results"), Path("data"), "sqlite:///results/harness.db"), **places)
        [finding] = examine(where, [check for check in CHECKS if check.name == name])
        return finding.state, f"{finding.found} -> {finding.remedy}"

    return run


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a program of that name out of a line of shell; nothing else is on PATH but what such lines need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for needed in ("sh", "sleep"):
        (folder / needed).symlink_to(shutil.which(needed))
    monkeypatch.setenv("PATH", str(folder))

    def make(name, script):
        (folder / name).write_text(f"#!{folder / 'sh'}\n{script}\n")
        (folder / name).chmod(0o755)

    return make
