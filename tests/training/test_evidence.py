"""What a run leaves behind besides its numbers: enough to compute them again, and new ones, without training."""

import dataclasses
import zipfile

import numpy as np
import pytest
import torch

from harness.errors import DataError, Interrupted
from harness.measured import Measured
from harness.specs import Evaluation
from harness.store.spool import RunFolder
from harness.training import evidence as module
from harness.training.epoch import Look
from harness.training.evidence import read_evidence, sampled, write_evidence
from harness.training.execute import Context, execute
from harness.training.measure import measure
from harness.worker import Stop, Worker, work_on


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(data_root=tmp_path, cache=bank_cache, evidence=tmp_path / "evidence.npz")


def numbers(result, split="test"):
    return {m.metric: m.value for m in result.measurements if m.selection == "last" and m.split == split}


def a_look(number=2400, dim=64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(number, dim, generator=generator) * scale
    labels = torch.arange(number) % 120 + 7
    measured = Measured(
        per_class={"pi_intra": dict.fromkeys(range(7, 126), 0.25)},  # the last class has none
        per_query={"recall_at_1": np.ones(number, np.float16), "map_at_r": np.full(number, 0.5, np.float16)},
        spectrum=[1 / dim] * dim,
    )
    return Look(torch.arange(number) + 100, labels, embeddings, measured)


def test_numbers_that_are_computed_from_the_evidence_are_those_of_the_result(mini_spec, context):
    result = execute(mini_spec(), context)
    assert result.state == "done", result.traceback
    kept, told = read_evidence(context.evidence), numbers(result)
    assert (kept.run_id, kept.epoch) == (result.run_id, 2)
    assert np.nanmean(kept.per_query["recall_at_1"].astype(float)) == pytest.approx(told["recall_at_1"], abs=1e-12)
    assert np.nanmean(kept.per_query["map_at_r"].astype(float)) == pytest.approx(told["map_at_r"], abs=5e-4)
    assert np.nanmean(kept.per_class["pi_intra"]) == pytest.approx(told["pi_intra"], abs=1e-6)
    # All 48 test images are in the sample, so that whole families can be measured again.
    again = measure(kept.embeddings, kept.labels, ["retrieval", "density"])
    assert again["density"] == pytest.approx(told["density"], rel=1e-3)
    assert again["recall_at_1"] == told["recall_at_1"]
    assert kept.spectrum.tolist() == next(
        s.values for s in result.spectra if (s.split, s.selection) == ("test", "last")
    )
    scores = next(c.scores for c in result.class_scores if (c.metric, c.selection) == ("recall_at_1", "last"))
    assert sorted(scores.values()) == pytest.approx(sorted(kept.per_class["recall_at_1"]))


def test_the_same_spec_leaves_the_same_bytes_and_another_seed_others(mini_spec, context, tmp_path):
    paths = [tmp_path / name for name in ("first.npz", "second.npz", "other.npz")]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        torch.manual_seed(hash(path) % 1000)
        execute(mini_spec(seed=seed), dataclasses.replace(context, evidence=path))
    first, second, other = (path.read_bytes() for path in paths)
    assert first == second
    assert first != other
    # Archives usually tell the time at which they were written.
    assert {entry.date_time[0] for entry in zipfile.ZipFile(paths[0]).infolist()} == {1980}


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_resumed_run_leaves_the_evidence_of_an_undisturbed_one(mini_spec, context, tmp_path, stopped_after):
    undisturbed = dataclasses.replace(context, evidence=tmp_path / "undisturbed.npz")
    execute(mini_spec(epochs=3), undisturbed)

    def interrupt(told):
        if told["epoch"] == stopped_after:
            raise Interrupted

    resumable = dataclasses.replace(context, checkpoint=tmp_path / "checkpoint.pt")
    with pytest.raises(Interrupted):
        execute(mini_spec(epochs=3), dataclasses.replace(resumable, on_progress=interrupt))
    assert not context.evidence.exists()  # also after the last epoch: it goes on to the result from its checkpoint
    execute(mini_spec(epochs=3), resumable)
    assert context.evidence.read_bytes() == undisturbed.evidence.read_bytes()


def test_evidence_decides_no_number(mini_spec, context):
    with_evidence = execute(mini_spec(), context)
    without = execute(mini_spec(), dataclasses.replace(context, evidence=None))
    assert with_evidence.measurements == without.measurements


def test_a_run_that_does_not_look_at_the_test_classes_keeps_nothing_of_them(mini_spec, context):
    assert execute(mini_spec(evaluation=Evaluation(test=[])), context).state == "done"
    assert not context.evidence.exists()


def test_the_evidence_of_a_run_on_glyphs_is_small(mini_spec, tmp_path):
    write_evidence(tmp_path / "evidence.npz", mini_spec(), 15, a_look())
    assert (tmp_path / "evidence.npz").stat().st_size < 400_000


def test_the_sample_knows_its_labels_and_places(mini_spec, tmp_path):
    look = a_look()
    write_evidence(tmp_path / "evidence.npz", mini_spec(), 15, look)
    kept = read_evidence(tmp_path / "evidence.npz")
    assert len(kept.embeddings) == module.SAMPLE
    assert len(kept.query_labels) == len(kept.per_query["recall_at_1"]) == 2400
    places = kept.indices - 100
    assert kept.labels.tolist() == look.labels[places].tolist()
    np.testing.assert_allclose(kept.embeddings, look.embeddings[places], atol=2e-3)
    assert kept.query_indices.tolist() == look.index.tolist()
    assert kept.classes.tolist() == list(range(7, 127))
    assert np.isnan(kept.per_class["pi_intra"][-1])
    assert kept.per_class["pi_intra"][:-1] == pytest.approx(0.25)


def test_the_sample_depends_on_the_seed_of_the_run_alone_and_has_nothing_twice():
    first = sampled(60_000, 3)
    assert first.tolist() == sampled(60_000, 3).tolist() != sampled(60_000, 4).tolist()
    assert len(set(first.tolist())) == module.SAMPLE
    assert sampled(5, 3).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_embeddings_of_any_length_keep_three_digits(mini_spec, tmp_path, scale):
    look = a_look(30, 4, scale)
    write_evidence(tmp_path / "evidence.npz", mini_spec(), 1, look)
    kept = read_evidence(tmp_path / "evidence.npz").embeddings
    np.testing.assert_allclose(kept, look.embeddings, rtol=1e-3, atol=1e-6 * scale)


def test_evidence_is_whole_or_is_the_one_before(mini_spec, tmp_path, monkeypatch):
    path = tmp_path / "evidence.npz"
    write_evidence(path, mini_spec(), 1, a_look(30))
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"PK")
        raise OSError("no space left on device")

    monkeypatch.setattr(module.np, "savez_compressed", half)
    with pytest.raises(OSError, match="no space"):
        write_evidence(path, mini_spec(), 2, a_look(40))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", None])
def test_what_is_no_evidence_is_told_as_such(tmp_path, damage):
    path = tmp_path / "evidence.npz"
    if damage is None:
        np.savez(path, embeddings=np.zeros((2, 2)))
    else:
        path.write_bytes(damage)
    with pytest.raises(DataError, match=r"evidence.npz is not the evidence of a run"):
        read_evidence(path)
    with pytest.raises(DataError, match="is not the evidence of a run"):
        read_evidence(tmp_path / "nowhere.npz")


def test_a_worker_leaves_evidence_beside_the_result(mini_spec, bank_cache, tmp_path, monkeypatch):
    spec = mini_spec()
    (tmp_path / "cache").symlink_to(bank_cache)
    folder = RunFolder(tmp_path, spec.run_id)
    folder.write_spec(spec)
    there = []
    publish = RunFolder.publish
    monkeypatch.setattr(
        RunFolder,
        "publish",
        lambda self, *given: there.append((self.path / "evidence.npz").exists()) or publish(self, *given),
    )
    assert work_on(folder, Worker(tmp_path, tmp_path, [spec.run_id], slot=0), Stop())
    assert there == [True]  # before the result
    assert read_evidence(folder.path / "evidence.npz").run_id == spec.run_id
    assert folder.read_result().state == "done"
