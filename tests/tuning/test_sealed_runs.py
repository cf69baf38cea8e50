"""Folds, final runs and looks, trained for real in miniature: who sees which classes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import DataError
from harness.registry import METRICS
from harness.specs import RunSpec, Tuned
from harness.training.assemble import Context, assemble
from harness.training.data import open_data
from harness.training.execute import execute
from harness.training.folds import class_digests, folds_problem, held_out
from harness.training.roles import final_of, fold_of, look_at, sealed

NAMES = [chr(ord("a") + place) for place in range(10)]


def fold(number, folds=3, **options):
    return Tuned(role="fold", folds=folds, fold=number, cut=options.pop("cut", 0), **options)


@pytest.fixture
def context(bank_cache, tmp_path):
    return Context(Path("data"), bank_cache, weights=lambda run_id: tmp_path / f"{run_id}.pt")


def test_folds_share_no_class_and_hold_all_together():
    folds = [held_out(NAMES, fold(number)) for number in range(3)]
    assert sorted(name for names in folds for name in names) == NAMES
    assert sorted(len(names) for names in folds) == [3, 3, 4]


def test_the_cut_depends_on_its_seed_and_the_names_alone():
    assert held_out(NAMES, fold(1)) == held_out(NAMES[::-1], fold(1))
    assert held_out(NAMES, fold(1)) != held_out(NAMES, fold(1, cut=1))


def test_a_single_fold_is_a_share():
    assert len(held_out(NAMES, fold(0, folds=1, share=0.3))) == 3
    assert held_out(NAMES, Tuned(role="final")) == []


@pytest.mark.parametrize(
    ("classes", "folds", "share", "right"),
    [
        *((10, 5, None, True), (10, 6, None, False), (4, 2, None, True), (3, 2, None, False)),
        *((10, 1, 0.2, True), (10, 1, 0.1, False), (10, 1, 0.9, False)),
    ],
)
def test_each_side_of_a_cut_has_two_classes_or_is_refused(classes, folds, share, right):
    assert (folds_problem(classes, folds, share) is None) == right
    if not right:
        with pytest.raises(DataError):
            held_out(NAMES[:classes], fold(0, folds=folds, share=share))


def test_splits_that_share_a_class_are_refused_and_digests_tell_class_lists_apart():
    with pytest.raises(DataError, match="class 'b' is in both validation and test"):
        class_digests({"train": "ac", "validation": "bd", "test": "be"})
    with pytest.raises(DataError, match="class 'a' is in both train and test"):
        class_digests({"train": "ab", "test": "ca"})
    digests = class_digests({"train": "ab", "test": "cd"})
    assert digests["train"] != digests["test"]
    assert class_digests({"train": "ba"})["train"] == digests["train"]


def test_a_fold_trains_and_is_measured_on_classes_that_share_none(mini_spec, bank_cache):
    spec = mini_spec()
    for number in range(3):
        data = open_data(spec.dataset, Path("data"), bank_cache, torch.device("cpu"), "none", tuned=fold(number))
        train = set(data.bank.labels[data.train_index].tolist())
        out = set(data.split("validation")[1].tolist())
        assert len(train) + len(out) == 8
        assert not train & out
        assert not (train | out) & set(data.test_labels.tolist())
        assert sorted(set(data.train_labels.tolist())) == list(range(len(train))), "tables of proxies have no gaps"
        assert data.num_classes == len(train)
        assert set(data.class_digests) == {"train", "validation", "test"}


def test_a_fold_measures_held_out_classes_alone_and_tells_their_digest(mini_spec, context):
    final = sealed(replace(mini_spec(), training=mini_spec().training.model_copy(update={"batch_size": 8})))
    families = [METRICS.check("retrieval")]
    spec = fold_of(final, fold=0, folds=2, share=None, cut=0, families=families, seed=7)
    result = execute(spec, context)
    assert result.state == "done", result.traceback
    assert {m.split for m in result.measurements if m.metric == "map_at_r"} == {"validation"}
    assert {m.selection for m in result.measurements} == {"last", "best_validation"}
    assert {curve.split for curve in result.curves} == {"validation", "train"}
    other = execute(fold_of(final, fold=1, folds=2, share=None, cut=0, families=families, seed=7), context)
    assert result.provenance["classes"]["validation"] == other.provenance["classes"]["train"]
    assert result.provenance["classes"]["test"] == other.provenance["classes"]["test"]


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_look_at_kept_weights_gives_what_an_unsealed_run_measures_and_all_that_was_there(mini_spec, context, ema):
    spec = mini_spec()
    spec = replace(spec, training=spec.training.model_copy(update={"ema": ema}))
    final = sealed(spec)
    before = execute(final, context)
    assert {measurement.split for measurement in before.measurements} == {"train"}
    assert not [curve for curve in before.curves if curve.split == "test"]
    look = execute(look_at(final), context)
    assert look.state == "done", look.traceback
    plain = {(m.split, m.metric): m.value for m in execute(spec, context).measurements if m.selection == "last"}
    assert {(m.split, m.metric): m.value for m in look.measurements} == plain
    assert {m.selection for m in look.measurements} == {"last"}, "no epoch is selected by a look"
    assert look.cost["train_seconds"] == before.cost["train_seconds"]
    assert {s.split for s in look.spectra} == {"train", "test"}


def test_a_look_is_another_run_that_names_the_final_one(mini_spec):
    final = sealed(mini_spec())
    look = look_at(final)
    assert (look.tuned.of, look.evaluation.test) == (final.run_id, mini_spec().evaluation.test)
    assert final_of(look) == final
    assert len({mini_spec().run_id, final.run_id, look.run_id}) == 3
    assert RunSpec.from_dict(look.to_dict()).run_id == look.run_id


def test_a_run_that_is_not_tuned_keeps_the_identity_it_had_before_there_was_tuning(mini_spec):
    assert "tuned" not in mini_spec().to_dict()


def test_a_look_without_weights_or_at_another_run_is_a_failure_that_says_so(mini_spec, context, tmp_path):
    look = look_at(sealed(mini_spec()))
    missing = execute(look, context)
    assert (missing.state, missing.cause) == ("failed", "bad_data")
    assert "cannot be read" in missing.message
    foreign = execute(replace(look, optimizer=look.optimizer.model_copy(update={"lr": 0.5})), context)
    assert "trained something else" in foreign.message
    torch.save({"run_id": "f" * 16}, tmp_path / f"{look.tuned.of}.pt")
    assert "holds the weights of run ffff" in execute(look, context).message


def test_only_final_runs_keep_weights(mini_spec, context, tmp_path):
    execute(mini_spec(epochs=1), context)
    assert list(tmp_path.glob("*.pt")) == []
    final = sealed(mini_spec(epochs=1))
    execute(final, context)
    assert [path.stem for path in tmp_path.glob("*.pt*")] == [final.run_id]


def test_features_of_a_frozen_backbone_are_held_out_like_images(mini_spec, context):
    from harness.registry import BACKBONES

    spec = replace(mini_spec(), backbone=BACKBONES.check("convnet", {"embedding_dim": 8, "trainable": "head"}))
    spec = replace(spec, training=spec.training.model_copy(update={"batch_size": 8}), tuned=fold(0, folds=2))
    parts = assemble(spec, context)
    assert parts.data.num_classes == 4
    assert len(parts.data.split("validation")[0]) == 24
