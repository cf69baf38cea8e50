"""`harness tune`, `run`, `unseal` and `report` as a person types them, with real training and a real kill."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tuned_study import STUDY

from harness.store.frames import Database
from harness.store.spool import run_folders

SMALL = (
    STUDY.replace("epochs: 3", "epochs: 2")
    .replace("miner: [semihard, random]", "miner: semihard")
    .replace("trials: 6", "trials: 3")
    .replace("folds: 3", "folds: 2")
    .replace("batch: 3", "batch: 2")
)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "mini.yaml").write_text(SMALL)
    return tmp_path


def harness(place, *arguments, results="results", check=True):
    """Runs a command; gives stdout and stderr."""
    command = [sys.executable, "-m", "harness", "--results", results, *arguments]
    ended = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0 or not check, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout, ended.stderr


def wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def kill_when(place, results, finished):
    """Starts a tune command in a session of its own and kills the launching process once so many runs are finished."""
    command = [sys.executable, "-m", "harness", "--results", results, "tune", "mini.yaml", "--workers", "1"]
    with subprocess.Popen(command, cwd=place, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        ended = lambda: sum(folder.state() == "done" for folder in run_folders(place / results))  # noqa: E731
        wait_for(lambda: ended() >= finished or process.poll() is not None)
        assert process.poll() is None, "it had ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_study_is_tuned_through_kills_trained_and_looked_at_as_if_undisturbed(place):
    harness(place, "tune", "mini.yaml", "--workers", "2", results="undisturbed")
    for finished in (1, 5):
        kill_when(place, "results", finished)
    harness(place, "tune", "mini.yaml")
    choices = [(place / results / "mini" / "tuned.yaml").read_text() for results in ("undisturbed", "results")]
    assert choices[0] == choices[1]
    trials = [
        Database(place / results / "harness.db").trials("mini").drop(columns="seconds").to_dict("records")
        for results in ("undisturbed", "results")
    ]
    assert trials[0] == trials[1]
    assert len(trials[0]) == 2 * 3

    _, refused = harness(place, "unseal", "mini.yaml", check=False)
    assert "is pending; `harness run` trains it" in refused
    harness(place, "run", "mini.yaml")
    sealed = Database(place / "results" / "harness.db")
    assert "test" not in set(sealed.measurements()["split"]), "no test metric of any run of the study"
    assert "test" not in set(sealed.curves()["split"])
    harness(place, "unseal", "mini.yaml")
    out, _ = harness(place, "unseal", "mini.yaml", "--json")
    assert json.loads(out)["number"] == 2
    measured = Database(place / "results" / "harness.db").measurements("mini")
    assert measured[(measured.split == "test") & (measured.metric == "map_at_r")]["run_id"].nunique() == 4
    report = json.loads(harness(place, "report", "mini", "--json")[0])
    assert report["analyses"]["tuning"]["text"][-1] == "Looks at the test set: 2."
    assert "nothing to do" in harness(place, "run", "mini.yaml")[1]


def test_a_study_that_is_not_tuned_is_told_what_to_do(place, monkeypatch, capsys):
    from harness.cli import main

    def told(*arguments):
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 2
        return capsys.readouterr().err

    (place / "plain.yaml").write_text(SMALL[: SMALL.index("tune:")])
    for command in ("tune", "unseal"):
        assert "study 'mini' has no section `tune`" in told(command, "plain.yaml")
    assert "was not tuned yet" in told("run", "mini.yaml")
    assert "was not tuned yet" in told("unseal", "mini.yaml")
    assert "--backend slurm needs --site FILE" in told("tune", "mini.yaml", "--backend", "slurm")
    assert not (place / "results").exists()
