"""What the shell completes, and that every command shows how it is used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer

from harness.cli.app import app


def completed(words: str, folder) -> list[str]:
    """What bash would offer behind these words."""
    asked = {"_HARNESS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "from harness.cli.app import app; app(prog_name='harness')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "studies").mkdir()
    for name in ("density", "nir", "nearby"):
        (tmp_path / "studies" / f"{name}.yaml").write_text("schema: 1\n")
    (tmp_path / "studies" / "notes.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("harness check ", ["density", "nearby", "nir"]),
        ("harness run n", ["nearby", "nir"]),
        ("harness status ni", ["nir"]),
        ("harness run studies/d", ["studies/density.yaml"]),
        ("harness parts m", ["miner", "metric"]),
        ("harness prepare cu", ["cub200"]),
    ],
)
def test_the_shell_completes_studies_kinds_and_data_sets(folder, words, offered):
    assert completed(words, folder) == offered


def test_every_command_shows_an_example():
    group = typer.main.get_command(app)
    commands = {**group.commands, **group.commands["db"].commands}
    del commands["db"]
    assert [name for name, command in commands.items() if "Example" not in (command.help or "")] == []
