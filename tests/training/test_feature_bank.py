"""A frozen backbone is looked through once; runs on its features are runs like any other, only quicker."""

import dataclasses
import multiprocessing
import os
import shutil
import threading
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import squeezenet1_0

from harness.errors import DataError, Interrupted, StoreError
from harness.registry import BACKBONES
from harness.specs import RunSpec, Training
from harness.training import feature_pass, prepare
from harness.training.assemble import assemble
from harness.training.bank import Bank
from harness.training.data import open_bank
from harness.training.execute import Context, execute
from harness.training.feature_pass import FeaturePass, recipe_of
from harness.training.features import FeatureBank, feature_bank
from harness.training.network import EmbeddingNetwork, FeaturesThrough

CPU = torch.device("cpu")
IMAGES, TRAINING_IMAGES = 96, 48
"""Of the miniature letters."""


class Projection(nn.Module):
    """A backbone of ready weights that counts how many images it is shown; what it gives depends on every pixel."""

    revision = 1
    seen = 0

    def __init__(self, *, weights: str = "ready", scale: float = 1.0) -> None:
        super().__init__()
        self.features, self.scale = 5, scale
        self.map = nn.Linear(28 * 28, 5, bias=False)
        with torch.no_grad():
            self.map.weight.copy_(torch.linspace(-1, 1, 5 * 28 * 28).sin().view(5, -1))

    def forward(self, images):
        Projection.seen += len(images)
        assert not self.training
        return self.scale * self.map(images.flatten(1))


@pytest.fixture(autouse=True)
def _projection(monkeypatch):
    monkeypatch.setitem(BACKBONES._parts, "projection", Projection)
    monkeypatch.setattr(Projection, "seen", 0)


@pytest.fixture
def cache(tmp_path, bank_cache, mini_spec):
    """A cache of the test's own, with the drawn letters in it already."""
    open_bank(mini_spec().dataset, tmp_path, bank_cache)
    folder = tmp_path / "cache"
    folder.mkdir()
    for bank in bank_cache.glob("bank-*[!k]"):
        (folder / bank.name).symlink_to(bank)
    return folder


@pytest.fixture
def context(cache, tmp_path):
    return Context(tmp_path, cache, checkpoint=tmp_path / "checkpoint.pt")


@pytest.fixture
def frozen_spec(mini_spec):
    """The spec of a miniature run on features; options are those of the backbone."""

    def make(augmentation="shift", precision="float32", seed=0, epochs=2, backbone="projection", **options) -> RunSpec:
        spec = mini_spec(seed=seed, epochs=epochs)
        choice = BACKBONES.check(backbone, {"embedding_dim": 8, "trainable": "head"} | options)
        training = Training(epochs=epochs, batch_size=16, augmentation=augmentation, precision=precision)
        return dataclasses.replace(spec, backbone=choice, training=training)

    return make


@pytest.fixture
def squeezenet_spec(frozen_spec, tmp_path):
    """The spec of a run on features of SqueezeNet with weights of a file, which another process can build, too."""
    torch.manual_seed(0)
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in squeezenet1_0().state_dict().items()})
    spec = frozen_spec(backbone="squeezenet", weights="w.npz", augmentation="none")
    return dataclasses.replace(spec, backbone=BACKBONES.completed(spec.backbone, tmp_path))


def bank_of(spec, context, progress=lambda *news: None) -> FeatureBank:
    bank = open_bank(spec.dataset, context.data_root, context.cache)
    return feature_bank(bank, recipe_of(spec), context.data_root, context.cache, CPU, progress)


def kept(cache):
    return sorted(folder for folder in cache.glob("features-*") if folder.is_dir())


def numbers(result):
    assert result.state == "done", result.traceback
    return dataclasses.replace(result, cost={}, provenance={})


# What the bank of features gives --------------------------------------------------------------------------------------


def test_the_test_view_is_what_the_backbone_makes_of_it(frozen_spec, context):
    spec = frozen_spec()
    images: Bank = open_bank(spec.dataset, context.data_root, context.cache)
    chosen = torch.tensor([90, 3, 3, 47])
    expected = Projection().eval()(images.batch(chosen, "test"))
    assert torch.allclose(bank_of(spec, context).batch(chosen, "test"), expected, atol=1e-5)


def test_a_training_view_is_one_of_the_seeded_augmentations_and_all_of_them_occur(frozen_spec, context):
    spec = frozen_spec(views=3)
    bank = bank_of(spec, context)
    images = open_bank(spec.dataset, context.data_root, context.cache).on("cpu", "shift")
    train = bank.is_train.nonzero().squeeze(1)
    views = torch.stack([Projection().eval()(images.batch(train, "train", 0, view)) for view in range(3)])
    seen = set()
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        distance = (bank.batch(train, "train", seed, epoch) - views).abs().amax(2)  # [3, n]
        assert (distance.amin(0) < 1e-4).all()
        seen.add(tuple(distance.argmin(0).tolist()))
        assert set(distance.argmin(0).tolist()) == {0, 1, 2}
    assert len(seen) == 3  # another seed or epoch chooses otherwise
    assert not torch.allclose(views[0], views[1])


def test_which_view_a_sample_is_seen_in_depends_neither_on_the_batch_nor_on_the_order(frozen_spec, context):
    bank = bank_of(frozen_spec(views=4), context)
    train = bank.is_train.nonzero().squeeze(1)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    parts = torch.cat(list(bank.batches(train[order].split(7), "train", 5, 6)))
    assert torch.equal(parts, bank.batch(train, "train", 5, 6)[order])


def test_without_augmentation_training_sees_the_test_view_and_there_is_one_pass(frozen_spec, context):
    bank = bank_of(frozen_spec(augmentation="none"), context)
    train = bank.is_train.nonzero().squeeze(1)
    assert torch.equal(bank.batch(train, "train", 1, 2), bank.batch(train, "test"))
    assert Projection.seen == IMAGES


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_does_not_move_a_bit(squeezenet_spec, context, tmp_path, threads):
    spec, before = squeezenet_spec, torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        bank = bank_of(spec, context)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    images = open_bank(spec.dataset, context.data_root, context.cache)
    backbone = BACKBONES.build(spec.backbone, data_root=tmp_path).to(memory_format=torch.channels_last).eval()
    with torch.inference_mode():
        expected = torch.cat([backbone(images.batch(chunk, "test")) for chunk in torch.arange(IMAGES).split(16)])
    assert expected.std() > 0
    assert torch.equal(bank.batch(torch.arange(IMAGES), "test"), expected)


def test_the_pass_takes_nothing_from_the_global_stream_of_chance(frozen_spec, context):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    bank_of(frozen_spec(views=2), context)
    assert torch.equal(torch.rand(2), expected)


# The cache ------------------------------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_computed(frozen_spec, context):
    first = bank_of(frozen_spec(views=2), context)
    assert Projection.seen == IMAGES + 2 * TRAINING_IMAGES
    again = bank_of(frozen_spec(views=2), context)
    assert Projection.seen == IMAGES + 2 * TRAINING_IMAGES
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first.views, again.views, strict=True))


def test_more_views_compute_only_what_is_new(frozen_spec, context):
    bank_of(frozen_spec(views=2), context)
    Projection.seen = 0
    bank_of(frozen_spec(views=3), context)
    assert Projection.seen == TRAINING_IMAGES


@pytest.mark.parametrize(
    ("change", "computed"),
    [
        ({"scale": 2.0}, IMAGES + TRAINING_IMAGES),  # another backbone
        ({"precision": "bfloat16"}, IMAGES + TRAINING_IMAGES),
        ({"augmentation": "red"}, TRAINING_IMAGES),
        ({"augmentation": "none"}, 0),
        ({"seed": 7}, 0),
        ({"embedding_dim": 4}, 0),
        ({"layer_norm": True}, 0),
        ({"epochs": 5}, 0),
    ],
)
def test_only_what_decides_features_makes_others_of_them(frozen_spec, context, change, computed):
    bank_of(frozen_spec(), context)
    Projection.seen = 0
    bank_of(frozen_spec(**change), context)
    assert Projection.seen == computed


def test_other_weights_in_a_file_of_the_same_name_make_other_features(frozen_spec, context, tmp_path):
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in squeezenet1_0().state_dict().items()})
        spec = frozen_spec(backbone="squeezenet", weights="w.npz", augmentation="none")
        spec = dataclasses.replace(spec, backbone=BACKBONES.completed(spec.backbone, tmp_path))
        found.append(bank_of(spec, context).batch(torch.arange(4), "test"))
    assert not torch.allclose(*found)


@pytest.mark.parametrize("damage", ["cut", "changed", "no ledger", "torn ledger"])
def test_damage_is_found_and_computed_again(frozen_spec, context, cache, damage):
    spec = frozen_spec(augmentation="none")
    expected = bank_of(spec, context).tests[0].clone()
    (folder,) = kept(cache)
    file = folder / ("ledger.npy" if "ledger" in damage else "features.npy")
    content = bytearray(file.read_bytes())
    if damage == "no ledger":
        file.unlink()
    elif damage == "changed":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(content[:-3])
    told = []
    assert torch.equal(bank_of(spec, context, lambda *news: told.append(news[2])).tests[0], expected)
    assert "damaged" in told[0]
    assert kept(cache) == [folder]
    assert torch.equal(bank_of(spec, context).tests[0], expected)
    assert Projection.seen == 2 * IMAGES


def test_a_pass_that_was_stopped_goes_on_where_it_was(frozen_spec, context, cache):
    spec = frozen_spec()

    def stop(done, total, what):
        if "view 1" in what and done == 32:
            raise Interrupted

    with pytest.raises(Interrupted):
        bank_of(spec, context, stop)
    Projection.seen = 0
    assert len(kept(cache)) == 1  # the test view is finished
    bank = bank_of(spec, context)
    assert Projection.seen == 16  # two of three batches of 16 were there already
    shutil.rmtree(cache / kept(cache)[0].name)
    shutil.rmtree(cache / kept(cache)[0].name)
    train = bank.is_train.nonzero().squeeze(1)
    assert torch.equal(bank_of(spec, context).batch(train, "train"), bank.batch(train, "train"))


def test_a_batch_that_a_dying_machine_left_half_written_is_computed_again(frozen_spec, context, cache):
    spec = frozen_spec(augmentation="none")
    expected = bank_of(spec, context).tests[0].clone()
    (folder,) = kept(cache)
    draft = cache / f".{folder.name}.draft"
    shutil.move(folder, draft)
    features = np.load(draft / "features.npy", mmap_mode="r+")
    features[40] = 0
    features.flush()
    Projection.seen = 0
    assert torch.equal(bank_of(spec, context).tests[0], expected)
    assert Projection.seen == 16


def kill_inside(folder, spec) -> None:
    def killed(done, total, what):
        if done >= 48:
            os._exit(9)

    bank_of(spec, Context(folder, folder / "cache"), killed)


def test_a_pass_that_was_killed_goes_on(frozen_spec, context, cache, tmp_path):
    spec = frozen_spec(augmentation="none")
    process = multiprocessing.get_context("fork").Process(target=kill_inside, args=(tmp_path, spec))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert kept(cache) == []
    bank = bank_of(spec, context)
    assert Projection.seen <= IMAGES - 48
    assert bank.tests[0].abs().sum(1).min() > 0
    assert len(kept(cache)) == 1
    assert not list(cache.glob(".features-*"))


def build_together(folder, spec, barrier, told) -> None:
    barrier.wait()
    bank = bank_of(spec, Context(folder, folder / "cache"))
    told.put((Projection.seen, float(bank.tests[0].double().sum())))


@pytest.mark.parametrize("locks", [True, False])
def test_processes_that_start_together_end_with_one_whole_cache(frozen_spec, cache, tmp_path, monkeypatch, locks):
    if not locks:
        from harness.training import drafts

        monkeypatch.setattr(drafts.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(95, "no locks here")))
    spec, context = frozen_spec(augmentation="none"), multiprocessing.get_context("fork")
    open_bank(spec.dataset, tmp_path, cache)
    told, barrier = context.Queue(), context.Barrier(3)
    workers = [
        context.Process(target=build_together, args=(tmp_path, spec, barrier, told), daemon=True) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    news = [told.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert len({total for _, total in news}) == 1
    assert len(kept(cache)) == 1
    assert not list(cache.glob(".features-*"))
    if locks:
        assert sorted(seen for seen, _ in news) == [0, 0, IMAGES]


def test_whoever_waits_is_told_so_and_may_give_up(frozen_spec, context, cache):
    spec = frozen_spec(augmentation="none")
    bank = open_bank(spec.dataset, context.data_root, context.cache)
    passing = FeaturePass(bank, recipe_of(spec), context.data_root, CPU)
    key = passing.key(passing.views()[0])
    from harness.training.drafts import drafted

    def give_up(done, total, what):
        assert "waiting" in what
        raise Interrupted

    with drafted(cache / f"features-{key}", "", lambda *news: None), pytest.raises(Interrupted):
        bank_of(spec, context, give_up)


def test_a_full_disk_is_told_before_anything_is_computed(frozen_spec, context, cache, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(StoreError, match=r"the features need 0 MiB in .*cache, but only 0 MiB are free there"):
        bank_of(frozen_spec(), context)
    assert Projection.seen == 0
    assert kept(cache) == []


# Runs on features -----------------------------------------------------------------------------------------------------


def test_cached_and_freshly_computed_features_give_the_same_run_bit_for_bit(frozen_spec, context, cache, tmp_path):
    spec = frozen_spec(views=2)
    first = execute(spec, context)
    cached = execute(spec, dataclasses.replace(context, checkpoint=None))
    for folder in kept(cache):
        shutil.rmtree(folder)
    fresh = execute(spec, dataclasses.replace(context, checkpoint=None))
    assert numbers(first) == numbers(cached) == numbers(fresh)


def test_runs_of_other_seeds_share_the_features_and_are_other_runs(frozen_spec, context):
    results = [
        execute(frozen_spec(views=2, seed=seed), dataclasses.replace(context, checkpoint=None)) for seed in (0, 1)
    ]
    assert Projection.seen == IMAGES + 2 * TRAINING_IMAGES
    assert numbers(results[0]).measurements != numbers(results[1]).measurements


def test_a_run_on_features_is_the_run_through_a_backbone_that_nothing_changes(frozen_spec, context, monkeypatch):
    """The definition: the same head, trained on what the backbone gives in every step."""
    spec = frozen_spec(augmentation="none")
    on_features = assemble(spec, context)
    torch.manual_seed(0)
    through = EmbeddingNetwork(Projection().eval(), 8, normalize=True)
    through.embedding.load_state_dict(on_features.network.embedding.state_dict())
    images = open_bank(spec.dataset, context.data_root, context.cache)
    chosen = torch.arange(20)
    expected = through(images.batch(chosen, "test"))
    assert torch.allclose(on_features.network(on_features.data.bank.batch(chosen, "train")), expected, atol=1e-5)


def test_a_checkpoint_holds_no_backbone_and_an_interrupted_run_goes_on(frozen_spec, context, tmp_path):
    spec = frozen_spec(views=2, epochs=4, layer_norm=True)
    undisturbed = execute(spec, dataclasses.replace(context, checkpoint=tmp_path / "other.pt"))
    stop = threading.Event()
    stopping = dataclasses.replace(
        context, should_stop=stop.is_set, on_progress=lambda told: stop.set() if told["epoch"] == 2 else None
    )
    with pytest.raises(Interrupted):
        execute(spec, stopping)
    state = torch.load(context.checkpoint, weights_only=True)["parts"]["network"]
    assert sorted(state) == ["embedding.bias", "embedding.weight"]
    epochs = []
    resumed = execute(spec, dataclasses.replace(context, on_progress=lambda told: epochs.append(told["epoch"])))
    assert epochs == [2, 3, 4]
    assert numbers(resumed) == numbers(undisturbed)


def test_a_run_may_be_stopped_while_it_computes_features(frozen_spec, context):
    with pytest.raises(Interrupted):
        execute(frozen_spec(), dataclasses.replace(context, should_stop=lambda: True))
    assert Projection.seen < IMAGES


def test_the_head_learns_and_the_optimizer_has_nothing_else_of_the_network(frozen_spec, context):
    parts = assemble(frozen_spec(), context)
    learning = [parameter for group in parts.optimizer.param_groups for parameter in group["params"]]
    assert len(learning) == 2
    assert learning[0] is parts.network.embedding.weight


# Before the workers begin ---------------------------------------------------------------------------------------------


def test_what_the_runs_share_is_prepared_once_with_progress(frozen_spec, mini_spec, context, cache, tmp_path):
    specs = [mini_spec(), *(frozen_spec(views=views, seed=seed) for views in (1, 2) for seed in (0, 1))]
    told = []
    prepare.prepare(specs, tmp_path, cache, None, lambda *news: told.append(news))
    assert Projection.seen == IMAGES + 2 * TRAINING_IMAGES
    assert (IMAGES, IMAGES, "computing features of projection, test view") in told
    assert (TRAINING_IMAGES, TRAINING_IMAGES, "computing features of projection, view 2 of 2") in told
    assert execute(specs[-1], context).state == "done"
    assert Projection.seen == IMAGES + 2 * TRAINING_IMAGES


def test_no_backbone_is_built_for_runs_that_train_it(mini_spec, cache, tmp_path):
    prepare.prepare([mini_spec()], tmp_path, cache, None, lambda *news: None)
    assert kept(cache) == []


def test_another_process_prepares_what_the_run_then_finds(squeezenet_spec, context, cache, tmp_path, monkeypatch):
    told = []
    prepare.prepare_elsewhere([squeezenet_spec], tmp_path, cache, "cpu", 0, lambda *news: told.append(news))
    assert told[-1] == (IMAGES, IMAGES, "computing features of squeezenet, test view")
    monkeypatch.setattr(FeaturePass, "run", lambda *_: 1 / 0)
    assert bank_of(squeezenet_spec, context).features == 512


def test_what_stops_another_process_is_told_here(squeezenet_spec, cache, tmp_path):
    (tmp_path / "w.npz").unlink()
    with pytest.raises(DataError, match=r"w\.npz"):
        prepare.prepare_elsewhere([squeezenet_spec], tmp_path, cache, "cpu", 0, lambda *news: None)
    assert kept(cache) == []


# Layer norm -----------------------------------------------------------------------------------------------------------


def test_layer_norm_gives_each_image_features_of_mean_0_and_variance_1_without_parameters():
    torch.manual_seed(0)
    features = 3 + 7 * torch.rand(6, 5)
    network = EmbeddingNetwork(FeaturesThrough(5), 4, normalize=False, layer_norm=True)
    centered = features - features.mean(1, keepdim=True)
    expected = centered / (centered.square().mean(1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(network(features), network.embedding(expected), atol=1e-5)
    assert len(list(network.parameters())) == 2


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_the_option_layer_norm_reaches_the_network(frozen_spec, context, mini_spec, trainable):
    for layer_norm in (True, False):
        spec = mini_spec() if trainable == "all" else frozen_spec()
        options = {**spec.backbone.options, "layer_norm": layer_norm}
        parts = assemble(
            dataclasses.replace(spec, backbone=dataclasses.replace(spec.backbone, options=options)), context
        )
        assert isinstance(parts.network.norm, nn.LayerNorm) == layer_norm


# On a GPU -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("headroom", [1.0, 0.0])
def test_features_of_a_gpu_are_those_of_a_cpu_whether_it_holds_them_or_not(frozen_spec, context, monkeypatch, headroom):
    from harness.training import transfer

    monkeypatch.setattr(transfer, "HEADROOM", headroom)
    spec = frozen_spec(views=3)
    images = open_bank(spec.dataset, context.data_root, context.cache)
    here, there = (
        feature_bank(images, recipe_of(spec), context.data_root, context.cache, torch.device(device))
        for device in ("cpu", "cuda")
    )
    train = here.is_train.nonzero().squeeze(1)
    for view in ("train", "test"):
        found = there.batch(train, view, 1, 2)
        assert found.is_cuda
        assert torch.allclose(found.cpu(), here.batch(train, view, 1, 2), atol=1e-3)


def test_another_revision_of_the_code_or_of_torch_computes_again(frozen_spec, context, monkeypatch):
    bank_of(frozen_spec(augmentation="none"), context)
    monkeypatch.setattr(feature_pass, "PROTOCOL", -1)
    bank_of(frozen_spec(augmentation="none"), context)
    assert Projection.seen == 2 * IMAGES
