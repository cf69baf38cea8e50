"""Every run says which code, machine and data its numbers come from, and `harness explain` shows it."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from store_samples import make_result, make_spec, run_it

from harness import provenance as module
from harness.provenance import code_of_parts
from harness.specs import Choice
from harness.store.database import collect
from harness.store.lease import Lease
from harness.store.spool import RunFolder
from harness.training import gpu
from harness.training.assemble import digest_of_weights
from harness.training.history import History
from harness.worker import Stop, Worker, train


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A lab's package in a checkout of its own, which can be imported."""
    folder = tmp_path / "lab"
    (folder / "my_lab").mkdir(parents=True)
    (folder / "my_lab" / "__init__.py").touch()
    (folder / "my_lab" / "losses.py").write_text("margin = 0.2\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", folder, *identity, *command], check=True, capture_output=True)
    monkeypatch.syspath_prepend(folder)
    module._code_of.cache_clear()
    yield folder
    module._code_of.cache_clear()


def with_objective(name):
    return {**make_spec().to_dict(), "objective": {"name": name, "options": {}, "revision": 1}}


def test_the_code_of_a_labs_part_is_told_by_commit_changes_and_digest(lab):
    clean = code_of_parts(with_objective("my_lab.losses:Better"))["my_lab.losses:Better"]
    assert len(clean["commit"]) == 40
    assert len(clean["sha256"]) == 64
    assert "dirty" not in clean
    (lab / "my_lab" / "losses.py").write_text("margin = 0.3\n")
    module._code_of.cache_clear()
    changed = code_of_parts(with_objective("my_lab.losses:Better"))["my_lab.losses:Better"]
    assert changed["commit"] == clean["commit"]
    assert changed["dirty"]
    assert changed["sha256"] != clean["sha256"]


def test_parts_of_the_harness_and_of_libraries_need_no_more_than_their_versions(lab):
    assert code_of_parts(make_spec().to_dict()) == {}
    assert code_of_parts(with_objective("pml:CircleLoss")) == {}
    spec = make_spec().to_dict()
    spec["evaluation"]["test"].append({"name": "my_lab.metrics:Hubness", "options": {}, "revision": 1})
    assert list(code_of_parts(spec)) == ["my_lab.metrics:Hubness"]


def test_a_part_that_cannot_be_found_has_no_code():
    assert code_of_parts(with_objective("no_such_lab.losses:Better")) == {"no_such_lab.losses:Better": {}}


def test_a_run_says_what_made_it_whether_it_ends_well_or_not(tmp_path):
    spec = make_spec(no_such_option=1)
    folder = RunFolder(tmp_path, spec.run_id)
    folder.write_spec(spec)
    lease = folder.take()
    worker = Worker(tmp_path, tmp_path / "data", [spec.run_id], 0, threads=2)
    result = train(folder, lease, worker, Stop())
    lease.release()
    assert result.state == "failed"
    made = result.provenance
    assert {"version", "commit", "dirty", "python", "libraries", "host", "cpu", "command"} <= set(made)
    assert (made["device"], made["threads"]) == ("cpu", 2)
    assert made["began"] <= made["ended"]
    assert isinstance(lease, Lease)


def test_weights_by_name_are_told_by_their_digest_and_a_file_by_its_own():
    def digest(options, fill):
        backbone = torch.nn.BatchNorm2d(2).to(torch.bfloat16)
        torch.nn.init.constant_(backbone.weight, fill)
        return digest_of_weights(SimpleNamespace(backbone=Choice("resnet50", options)), backbone)

    named = {"weights": "IMAGENET1K_V1", "weights_sha256": ""}
    assert len(digest(named, 1.0)) == 64
    assert digest(named, 1.0) == digest(named, 1.0) != digest(named, 2.0)
    assert digest({"weights": "w.npz", "weights_sha256": "a" * 64}, 1.0) == "a" * 64
    assert digest({"weights": "none", "weights_sha256": ""}, 1.0) is None
    assert digest({}, 1.0) is None


class Driver:
    """NVIDIA's library as its manual describes it: functions fill what they are pointed at and return 0."""

    def __init__(self, millijoules):
        self.millijoules = iter(millijoules)

    def nvmlSystemGetDriverVersion(self, text, size):
        text.value = b"580.65.06"
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):
        return 0 if uuid == b"GPU-1234" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, told):
        value = next(self.millijoules)
        told._obj.value = value or 0
        return 3 if value is None else 0


def cost_by(monkeypatch, *millijoules):
    library = Driver(millijoules)
    monkeypatch.setattr(gpu, "nvml", lambda: library)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    history = History()
    for _ in range(2):
        with gpu.metered(history, torch.device("cuda")):
            pass
    return history.cost


def test_the_energy_of_a_gpu_is_the_sum_of_what_it_used_in_each_epoch(monkeypatch):
    assert cost_by(monkeypatch, 5000, 6500, 10_000, 10_250) == {"gpu_energy_joules": 1.75}


def test_a_gpu_that_does_not_tell_or_begins_anew_costs_no_energy(monkeypatch):
    assert cost_by(monkeypatch, None, None, None, None) == {}
    assert cost_by(monkeypatch, 5000, 10, None, 20) == {}


def test_the_device_is_told_with_its_driver(monkeypatch):
    monkeypatch.setattr(gpu, "nvml", lambda: Driver([]))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    told = gpu.about_device(torch.device("cuda"))
    assert (told["device"], told["driver"]) == ("NVIDIA H200", "580.65.06")
    assert gpu.about_device(torch.device("cpu")) == {"device": "cpu"}
    monkeypatch.setattr(gpu, "nvml", lambda: None)
    assert gpu.driver() is None
    assert gpu.energy_joules(torch.device("cuda")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_real_gpu_tells_its_driver_and_counts_energy_upwards():
    device = torch.device("cuda", 0)
    assert gpu.about_device(device)["driver"]
    before = gpu.energy_joules(device)
    if before is not None:
        assert gpu.energy_joules(device) >= before > 0


def test_explain_shows_identity_provenance_and_attempts_from_the_folder_or_from_the_database(harness):
    spec = make_spec()
    made = {"commit": "abc", "libraries": {"torch": "2.6.0"}, "data_digest": "d1", "began": "x", "ended": "y"}
    folder = run_it("results", spec, make_result(spec, provenance=made))
    collect("sqlite:///results/harness.db", "results")
    code, out, _ = harness("explain", spec.run_id[:8])
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["run", f"{spec.run_id}:", "done"]
    for expected in (["protocol", "2"], ["libraries.torch", "2.6.0"], ["data_digest", "d1"], ["train_seconds", "1.5"]):
        assert expected in lines
    assert lines[-1][0] == "attempt"
    told = json.loads(harness("explain", spec.run_id, "--json")[1])
    assert told["identity"]["objective"] == "triplet"
    for path in sorted(Path(folder.path).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.path.rmdir()
    assert harness("explain", spec.run_id[:8])[1] == out
    code, _, said = harness("explain", "%")
    assert (code, "no run in results/runs" in said) == (3, True)


def test_explain_tells_two_runs_apart_by_what_may_move_numbers_alone(harness):
    first, second = make_spec(), make_spec(seed=1)
    for spec, torch_version in ((first, "2.6.0"), (second, "2.7.0")):
        made = {"libraries": {"torch": torch_version}, "began": torch_version, "command": torch_version}
        run_it("results", spec, make_result(spec, provenance=made))
    _, out, _ = harness("explain", first.run_id, second.run_id)
    assert [line.split() for line in out.splitlines()] == [
        ["provenance.libraries.torch", "2.6.0", "|", "2.7.0"],
        ["seed", "0", "|", "1"],
    ]
