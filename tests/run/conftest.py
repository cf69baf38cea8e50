"""The command line, called in this process."""

import sys

import pytest

from harness.cli import main


@pytest.fixture
def harness(monkeypatch, capsys, tmp_path):
    """Runs `harness ARGUMENTS` in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, *capsys.readouterr()

    return run
