"""What `harness doctor` says of libraries that do not fit or crash, of GPUs, cores, limits and the home folder."""

import re
import resource

import pytest
from packaging.requirements import Requirement

from harness.doctor import machine, probe, software
from harness.doctor.cgroup import cpu_quota, memory_left


@pytest.fixture
def fresh_probe():
    probe._outcome.cache_clear()
    yield
    probe._outcome.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raise ImportError('libcudnn.so.9: cannot open shared object file')", "libcudnn.so.9"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    ],
)
def test_a_torch_that_cannot_be_imported_is_a_problem(doctor, fresh_probe, tmp_path, monkeypatch, text, expected):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "broken"))
    code, found = doctor("torch torchvision faiss gpus weights")
    assert code == 3
    for row in found.values():
        assert row["state"] == "problem"
        assert row["remedy"]
    assert expected in found["torch"]["found"]


def test_an_import_that_hangs_and_an_interpreter_that_does_not_start_are_told_apart(
    look, fresh_probe, tmp_path, monkeypatch
):
    monkeypatch.setattr(probe, "LIMIT_S", 1.0)
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "importing torch has not ended within 1 s" in look("torch")[1]
    probe._outcome.cache_clear()
    monkeypatch.setattr(probe.sys, "executable", str(tmp_path / "no-python"))
    assert "no-python cannot be started: No such file" in look("torch")[1]


def test_versions_that_do_not_fit_are_named():
    assert software.unmet(Requirement("torch>=2.6")) == ""
    assert "right would be <2" in software.unmet(Requirement("torch<2"))
    assert software.unmet(Requirement("no-such-package-here>=1")) == "no-such-package-here is not installed"
    assert software.unmet(Requirement("no-such-package-here>=1; extra == 'test'")) == ""
    pins = [(Requirement("torch==2.15.0"), "2.15.0+cu132"), (Requirement("Pandas==3.1.1"), "3.2.0")]
    verdict = software.compared([*pins, (Requirement("timm==1.0"), None)])
    assert verdict.state == "warning"
    assert verdict.found == "1 of 2 differ from constraints.txt: pandas 3.2.0 (==3.1.1)"
    assert software.compared(pins[:1]).state == "ok"


def test_versions_of_cudnn_are_read():
    assert [software.cudnn_version(n) for n in (92600, 90100, 8907, None)] == ["9.26.0", "9.1.0", "8.9.7", "none"]


def test_builds_of_faiss_are_judged_by_what_they_do(look, monkeypatch):
    facts = {
        "torch": {"gpus": [], "version": "2.15.0", "torchvision": {"error": "operator nms does not exist"}},
        "faiss": {"version": "1.15.1", "gpu_build": True, "uses_gpu": False, "right": True, "complaints": []},
    }
    monkeypatch.setattr(software, "facts", facts.__getitem__)
    monkeypatch.setattr(software, "installed", lambda name: "1.15.1" if name == "faiss-gpu" else None)
    assert look("faiss")[0] == "ok"
    facts["torch"]["gpus"] = [{}]
    assert look("faiss")[0] == "warning"
    assert "faiss-gpu-cuvs" in look("faiss")[1]
    facts["faiss"]["uses_gpu"] = True
    assert look("faiss") == ("ok", "faiss-gpu 1.15.1 (GPU build) works beside torch, on the GPU -> ")
    facts["faiss"]["complaints"] = ["k-means runs on the CPU"]
    assert look("faiss")[0] == "warning"
    facts["faiss"]["right"] = False
    assert look("faiss")[0] == "problem"
    assert look("torchvision")[0] == "problem"
    monkeypatch.setattr(software, "installed", lambda name: "1.15.1" if name != "faiss-gpu-cuvs" else None)
    assert "overwrite each other" in look("faiss")[1]


GPU = {"name": "H200", "capability": "9.0", "memory": [130 << 30, 140 << 30], "computes": True}


def test_gpus_are_described_and_busy_broken_or_unseen_ones_told(look, monkeypatch, program):
    facts = {"gpus": [GPU, GPU], "version": "2.15.0", "cuda": "13.2", "why_no_gpu": None}
    monkeypatch.setattr(machine, "facts", lambda what: facts)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program("nvidia-smi", "echo '535.1, H200'; echo '535.1, H200'")
    assert look("gpus") == (
        "ok",
        "0: H200 (9.0), 130.0 GiB of 140.0 GiB free; 1: H200 (9.0), 130.0 GiB of 140.0 GiB free; driver 535.1 -> ",
    )
    facts["gpus"] = [GPU, {**GPU, "memory": [1 << 30, 140 << 30]}]
    assert look("gpus")[0] == "warning"
    assert "taken on GPU 1" in look("gpus")[1]
    facts["gpus"] = [{**GPU, "computes": {"error": "no kernel image is available"}}]
    assert look("gpus")[0] == "problem"
    assert "no kernel image" in look("gpus")[1]
    facts |= {"gpus": [], "why_no_gpu": {"error": "The NVIDIA driver on your system is too old"}}
    assert look("gpus")[0] == "problem"
    assert re.search(r"has 2 \(H200\).*too old", look("gpus")[1])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert look("gpus")[0] == "warning"
    program("nvidia-smi", "exit 9")
    assert look("gpus")[0] == "ok"


def test_a_gpu_whose_memory_cannot_be_asked_is_still_described(look, monkeypatch):
    facts = {"gpus": [{**GPU, "memory": {"error": "out of memory"}}], "version": "2.15.0", "cuda": "13.2"}
    monkeypatch.setattr(machine, "facts", lambda what: facts)
    assert "memory unknown" in look("gpus")[1]
    assert "failed" not in look("gpus")[1]


@pytest.mark.parametrize(
    "files", [{"cpu.max": "150000 100000"}, {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"}]
)
def test_limits_of_the_groups_above_count(tmp_path, files):
    v2 = "cpu.max" in files
    root = tmp_path / "cgroup" if v2 else tmp_path / "cgroup" / "cpu"
    (root / "job" / "step").mkdir(parents=True)
    for name, text in files.items():
        (root / "job" / name).write_text(text)
    if v2:
        (root / "job" / "step" / "cpu.max").write_text("max 100000")
        (root / "job" / "memory.max").write_text("1000")
        (root / "job" / "memory.current").write_text("400")
    (tmp_path / "process").write_text("0::/job/step\n" if v2 else "4:cpu,cpuacct:/job/step\n")
    assert cpu_quota(tmp_path / "process", tmp_path / "cgroup") == 1.5
    assert memory_left(tmp_path / "process", tmp_path / "cgroup") == (600 if v2 else None)
    assert cpu_quota(tmp_path / "none", tmp_path / "cgroup") is None


def test_cores_that_are_visible_but_not_granted_are_told(look, monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 64)
    monkeypatch.setattr(machine, "cpu_quota", lambda: 4.0)
    state, text = look("cores")
    assert state == "warning"
    assert "--workers 4" in text
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    assert look("cores")[0] == "ok"


@pytest.mark.parametrize(
    ("value", "state"), [("1", "ok"), ("1,1", "ok"), ("9999", "warning"), ("many", "warning"), ("0", "warning")]
)
def test_the_number_of_threads_is_judged(look, monkeypatch, value, state):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert look("threads")[0] == state


def test_few_open_files_are_a_warning(look):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        state, text = look("open_files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert state == "warning"
    assert re.search("only 200.*ulimit -n", text)


def test_a_home_that_cannot_be_written_is_a_warning_and_weights_say_so_too(doctor, fresh_probe, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    code, found = doctor("home weights")
    assert code == 0
    for row in found.values():
        assert row["state"] == "warning"
        assert "Not a directory" in row["found"]
        assert "TORCH_HOME" in row["remedy"]
