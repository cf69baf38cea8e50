"""The SHA-256 of a file of weights is part of a run: computed when the study is read, or pinned by it."""

import hashlib
import os

import numpy as np
import pytest
from torchvision.models import squeezenet1_0

from harness.cli import main
from harness.errors import DataError
from harness.registry import BACKBONES
from harness.specs import RunSpec

FILE = "weights/mine.npz"
HEAD = """\
schema: 1
name: small
question: What is it?
run:
  dataset: dots
  sampler: pairs
  objective: whole
"""


@pytest.fixture
def data(tmp_path):
    """A data folder; the file of weights in it is one only by name."""
    (tmp_path / "data" / "weights").mkdir(parents=True)
    (tmp_path / "data" / FILE).write_bytes(b"first")
    return tmp_path / "data"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def study(**options):
    listed = ", ".join(f"{name}: {value}" for name, value in options.items())
    return f"  backbone: {{name: squeezenet, {listed}}}\n"


def test_the_digest_of_a_file_is_written_into_the_run(load, data):
    run, *others = load(study(weights=FILE), head=HEAD, data=data).runs()
    assert not others
    assert run.backbone.options["weights_sha256"] == sha256(b"first")
    assert RunSpec.from_dict(run.to_dict()).run_id == run.run_id


def test_another_content_is_another_run_and_the_same_content_elsewhere_is_the_same(load, data, tmp_path):
    text = study(weights=FILE)
    first = load(text, head=HEAD, data=data).runs()[0].run_id
    data.rename(tmp_path / "moved")
    assert load(text, head=HEAD, data=tmp_path / "moved").runs()[0].run_id == first
    (tmp_path / "moved" / FILE).write_bytes(b"other")
    assert load(text, head=HEAD, data=tmp_path / "moved").runs()[0].run_id != first


def test_a_file_is_read_again_only_when_it_has_changed(load, data, monkeypatch):
    digests = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: digests.append(real(*given)) or digests[-1])
    for _ in range(3):
        load(study(weights=FILE), head=HEAD, data=data)
    assert len(digests) == 1
    os.utime(data / FILE, ns=(1, 1))
    load(study(weights=FILE), head=HEAD, data=data)
    assert len(digests) == 2


def test_the_data_folder_is_what_is_said_else_that_of_the_environment_else_data(load, data, tmp_path, monkeypatch):
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert load(study(weights=FILE), head=HEAD).runs()[0].backbone.options["weights_sha256"] == sha256(b"first")
    (tmp_path / "far" / "weights").mkdir(parents=True)
    (tmp_path / "far" / FILE).write_bytes(b"far")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "far"))
    assert load(study(weights=FILE), head=HEAD).runs()[0].backbone.options["weights_sha256"] == sha256(b"far")
    found = load(study(weights=FILE), head=HEAD, data=data).runs()[0]
    assert found.backbone.options["weights_sha256"] == sha256(b"first")


def test_a_pinned_digest_needs_no_file_and_gives_the_same_run(load, data):
    computed = load(study(weights=FILE), head=HEAD, data=data).runs()[0].run_id
    pinned = study(weights=FILE, weights_sha256=sha256(b"first"))
    assert load(pinned, head=HEAD, data=data).runs()[0].run_id == computed
    (data / FILE).unlink()
    assert load(pinned, head=HEAD, data=data).runs()[0].run_id == computed
    capital = study(weights=FILE, weights_sha256=sha256(b"first").upper())
    assert load(capital, head=HEAD, data=data).runs()[0].run_id == computed


def test_a_file_that_is_not_there_is_a_mistake_where_the_study_names_it(refused, data):
    told = refused(study(weights="weights/gone.npz"), head=HEAD, data=data)
    assert "small.yaml: 1 mistake\nsmall.yaml:8:41: " in told
    assert f"the weights {data / 'weights/gone.npz'} cannot be read (no such file or directory)" in told
    assert "--data DIR or HARNESS_DATA" in told
    assert "weights_sha256: " in told


def test_another_file_than_the_pinned_one_is_a_mistake_that_names_both_digests(refused, data):
    told = refused(study(weights=FILE, weights_sha256=sha256(b"other")), head=HEAD, data=data)
    assert "small.yaml: 1 mistake\nsmall.yaml:8:75: " in told
    assert f"{data / FILE} have the SHA-256 {sha256(b'first')}, but weights_sha256 says {sha256(b'other')}" in told


@pytest.mark.parametrize("weights", ["none", "IMAGENET1K_V1"])
def test_a_digest_without_a_file_is_a_mistake(refused, data, weights):
    told = refused(study(weights=weights, weights_sha256=sha256(b"first")), head=HEAD, data=data)
    assert f"weights_sha256 is for a file, and '{weights}' is none" in told


def test_named_weights_need_no_data_folder_and_have_no_digest(load, tmp_path):
    for weights in ("none", "IMAGENET1K_V1"):
        run = load(study(weights=weights), head=HEAD, data=tmp_path / "nowhere").runs()[0]
        assert run.backbone.options["weights_sha256"] == ""


def test_weights_may_be_an_axis(load, data):
    (data / "weights" / "other.npz").write_bytes(b"other")
    axis = study(weights=f"[none, {FILE}, weights/other.npz]").replace("  backbone", "grid:\n  - backbone")
    runs = load(axis, head=HEAD, data=data).runs()
    digests = [run.backbone.options["weights_sha256"] for run in runs]
    assert digests == ["", sha256(b"first"), sha256(b"other")]


def test_a_worker_refuses_another_file_than_the_one_the_study_was_read_with(load, data):
    np.savez(data / FILE, **{name: value.numpy() for name, value in squeezenet1_0().state_dict().items()})
    run = load(study(weights=FILE), head=HEAD, data=data).runs()[0]
    wanted = run.backbone.options["weights_sha256"]
    BACKBONES.build(run.backbone, data_root=data)
    (data / FILE).write_bytes(b"another")
    with pytest.raises(DataError, match=f"have the SHA-256 {sha256(b'another')}, but weights_sha256 says {wanted}"):
        BACKBONES.build(run.backbone, data_root=data)


def test_the_command_line_reads_weights_below_its_data_folder(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    data.rename(tmp_path / "far")
    (tmp_path / "small.yaml").write_text(HEAD + study(weights=FILE))

    def exit_code(command):
        monkeypatch.setattr("sys.argv", ["harness", *command.split()])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code

    assert exit_code("check small.yaml") == 2
    assert "the weights data/weights/mine.npz cannot be read" in capsys.readouterr().err
    assert exit_code("check small.yaml --data far") == 0
    assert exit_code("--data far run small.yaml --dry-run --json") == 0
    assert sha256(b"first") in capsys.readouterr().out
