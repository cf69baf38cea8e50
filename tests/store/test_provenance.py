"""Where numbers come from."""

import json
import subprocess
import sys
import time

import harness
from harness import provenance as module
from harness.provenance import provenance


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def make_checkout(folder):
    (folder / "harness").mkdir(parents=True)
    (folder / "harness" / "part.py").write_text("margin = 0.2\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_provenance_is_json_and_names_code_machine_and_command():
    found = json.loads(json.dumps(provenance()))
    assert found["version"] == harness.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["libraries"]["numpy"]
    assert "faiss-gpu-nonexistent" not in found["libraries"]
    for name in ("commit", "dirty", "host", "cpu", "cores", "threads", "command"):
        assert name in found
    assert found["host"]
    assert found["cpu"]


def test_a_second_call_costs_nothing_and_gives_an_equal_value_of_its_own():
    first = provenance()
    begin = time.perf_counter()
    second = provenance()
    assert time.perf_counter() - begin < 0.05
    assert first == second
    second["libraries"].clear()
    assert provenance() == first


def test_a_clean_checkout_has_a_commit_and_no_digest(tmp_path):
    folder = make_checkout(tmp_path / "checkout")
    commit, dirty = module._checkout(folder)
    assert len(commit) == 40
    assert dirty is None


def test_the_digest_tells_one_change_from_another(tmp_path):
    folder = make_checkout(tmp_path / "checkout")
    commit, _ = module._checkout(folder)
    part = folder / "harness" / "part.py"
    part.write_text("margin = 0.3\n")
    first = module._checkout(folder)
    part.write_text("margin = 0.4\n")
    second = module._checkout(folder)
    part.write_text("margin = 0.2\n")
    (folder / "harness" / "new.py").write_text("beta = 1\n")
    third = module._checkout(folder)
    (folder / "harness" / "new.py").write_text("beta = 2\n")
    fourth = module._checkout(folder)
    assert {found[0] for found in (first, second, third, fourth)} == {commit}
    assert len({None, first[1], second[1], third[1], fourth[1]}) == 5


def test_outside_a_checkout_or_without_git_nothing_is_claimed(tmp_path, monkeypatch):
    assert module._checkout(tmp_path) == (None, None)
    folder = make_checkout(tmp_path / "checkout")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module._checkout(folder) == (None, None)


def test_a_broken_repository_claims_nothing(tmp_path):
    (tmp_path / ".git").mkdir()
    assert module._checkout(tmp_path) == (None, None)


def test_a_password_on_the_command_line_is_not_kept():
    command = "harness run s.yaml --db postgresql+psycopg://me:secret@host:5432/lab --data /a:b@c"
    assert module._without_passwords(command) == command.replace("secret", "***")
