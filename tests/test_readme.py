"""The documents say what the program does: the table of parts, the commands, the study, the links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.app import app
from harness.cli.parts import markdown_table, rows_of
from harness.registry import REGISTRIES
from harness.study import Study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def between(mark: str) -> str:
    """What stands between `<!-- mark -->` and the next `<!-- end -->`."""
    return README.partition(f"<!-- {mark} -->")[2].partition("<!-- end -->")[0].strip()


def commands() -> set[str]:
    named = {command.callback.__name__.replace("_", "-") for command in app.registered_commands}
    return named | {group.name for group in app.registered_groups}


def test_the_table_of_parts_is_what_the_registries_hold():
    expected = markdown_table([row for kind in REGISTRIES for row in rows_of(kind)])
    assert between("parts") == expected, "put the output of `harness parts --markdown` between the marks"


def test_every_command_is_in_the_readme_and_has_a_help_text():
    told = set(re.findall(r"^\| `harness ([a-z-]+)", README, re.MULTILINE))
    assert told == commands()
    assert all(command.callback.__doc__ for command in app.registered_commands)


def test_the_study_of_the_readme_is_one(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", README, re.DOTALL).group(1)
    path = tmp_path / "my_comparison.yaml"
    path.write_text(text)
    assert len(Study.load(path).runs()) == 5 * (2 * 3 + 2)


def test_ci_runs_the_test_command_of_the_readme():
    assert "-m pytest" in between("test command")
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "slurm/README.md", "results/README.md"])
def test_every_file_that_a_document_names_exists(document):
    text = (ROOT / document).read_text()
    for path in re.findall(r"`((?:harness|studies|tests|slurm|results|\.ci)/[\w./-]+\.?\w+)`", text):
        made_later = path.startswith("results/") and path != "results/README.md"
        assert made_later or (ROOT / path).exists(), f"{document} names {path}"


def test_no_file_names_a_package_registry():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    addresses = ("://" + "pypi", "index" + "-url", "find" + "-links")
    for path in tracked:
        content = (ROOT / path).read_bytes()
        assert not any(address.encode() in content for address in addresses), path


def test_the_changelog_tells_of_this_version():
    shown = subprocess.run([sys.executable, "-m", "harness", "--version"], capture_output=True, text=True)
    assert f"## {shown.stdout.split()[1]} " in (ROOT / "CHANGELOG.md").read_text()
