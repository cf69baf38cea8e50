"""The benchmarks of training run anywhere, in miniature; what they print is for people, on a machine of their own."""

import re

import bench_database
import bench_gpu
import bench_nir
import bench_report
import bench_smart
import bench_step
import pytest
import torch
from zuko.lazy import LazyComposedTransform

from harness.regularizers._flow import ConditionalFlow


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_benchmark_of_a_gpu_runs_on_a_cpu_in_miniature(capsys):
    size = ["--side", "64", "--batch", "8", "--images", "64", "--threads", "1", "--repeat", "1"]
    assert bench_gpu.main(["--device", "cpu", "--backbone", "squeezenet", *size]) == 0
    said = capsys.readouterr().out
    rates = dict(re.findall(r"^  (\w+ +[\w ]+?) +(\d+) images/s", said, re.MULTILINE))
    assert {re.sub(" +", " ", name) for name in rates} == {
        "training ours",
        "training model alone",
        "training DataLoader",
        "embedding ours",
        "embedding model alone",
    }
    assert all(int(rate) > 0 for rate in rates.values())


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_gpu.main([]) == 3
    assert capsys.readouterr().out.startswith("there is no GPU here")


def test_the_benchmark_of_a_step_compares_both_loops(capsys, monkeypatch):
    monkeypatch.setattr(bench_step, "on_photos", lambda spec: spec)  # ResNet-18 takes its time
    bench_step.main(["--rounds", "1"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(lines) == 3
    for line in lines:
        ours, bare, ratio, *shares = (float(number) for number in line[-10:])
        assert ours > 0
        assert bare > 0
        assert 0.1 < ratio < 10
        assert sum(shares) == pytest.approx(ours, rel=0.02)


def test_the_benchmark_of_smart_mining_compares_it_with_the_bare_search(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench_smart", "--sizes", "600", "--exhaustive", "300", "--neighbors", "20"])
    bench_smart.main()
    lines = capsys.readouterr().out.splitlines()
    tables = [line.split() for line in lines[2:4]]
    assert [row[:2] for row in tables] == [["600", "flat"], ["600", "hnsw"]]
    for row in tables:
        found, same = float(row[6]), float(row[7])
        assert found > 0.98
        assert same > 0.98
    assert lines[4].split()[:3] == ["300", "exhaustive", "miner:"]
    assert lines[4].endswith(" MB at most so far")


def test_the_benchmark_of_the_database_collects_and_inserts_the_same_rows(capsys):
    bench_database.main(["--runs", "3", "--many", "4"])
    said = capsys.readouterr().out
    assert len(re.findall(r"^ +[\d.]+ s  \([\d.]+ s CPU\)  ", said, re.MULTILINE)) == 7
    assert "  133 rows a run, " in said  # two of them are lists that runs share
    assert float(re.search(r"([\d.]+) KB a run on disk", said).group(1)) > 40


def test_the_benchmark_of_the_report_tells_phases_memory_and_page(capsys, tmp_path):
    small = ["--methods", "4", "--datasets", "1", "--seeds", "3"]
    bench_report.main([*small, "--keep", str(tmp_path)])
    said = capsys.readouterr().out
    names = set(re.findall(r"^ +[\d.]+ s  \([\d.]+ s CPU\)  ([\w ]+)", said, re.MULTILINE))
    assert {"making a database of 12 runs", "reading frames", "analysis leaderboard", "drawing", "page"} <= names
    assert float(re.search(r"([\d.]+) MB of page", said).group(1)) > 0.05
    page = (tmp_path / "report" / "index.html").read_text()
    assert "of 12 runs done" in page
    assert page.count('<tr id="run-') == 12


def test_the_benchmark_of_nir_compares_a_step_with_that_of_a_plain_flow(capsys):
    ratio = bench_nir.main(["--rounds", "2", "--dims", "8", "--batch", "6"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(",")[1].strip() for line in lines] == ["8-d"] * 2
    assert ratio == pytest.approx(float(lines[0].split()[-1]), abs=1e-3)


def test_the_plain_flow_of_the_benchmark_is_the_flow_of_the_regularizer():
    torch.manual_seed(0)
    ours = ConditionalFlow(8, 5, 8, 128, 2.0, "dense", "default")
    plain = LazyComposedTransform(*(part for number in range(5) for part in bench_nir.block(8, number)))
    for theirs, own in zip(plain.parameters(), ours.parameters(), strict=True):
        theirs.data = own.data
    x, condition = torch.randn(2, 4, 8)
    for expected, found in zip(plain(condition).call_and_ladj(x), ours(x, condition), strict=True):
        torch.testing.assert_close(found, expected)
