"""Weights of files: three formats, nothing executed, refused when they are not what they should be."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import squeezenet1_0

from harness.errors import DataError, EnvironmentLacks, OptionError
from harness.registry import BACKBONES, build


def write_npz(state, file):
    np.savez(file, **{name: value.numpy() for name, value in state.items()})


WRITERS = {".npz": write_npz, ".safetensors": save_file, ".pth": torch.save}


@pytest.fixture(scope="module")
def squeezenet_state():
    torch.manual_seed(0)
    return squeezenet1_0().state_dict()


@pytest.fixture
def write(tmp_path, squeezenet_state):
    """Writes weights of SqueezeNet, changed as told, under the name `mine` and the suffix."""

    def write_file(suffix, change=lambda state: None):
        state = dict(squeezenet_state)
        change(state)
        WRITERS[suffix](state, tmp_path / f"mine{suffix}")
        return tmp_path / f"mine{suffix}"

    return write_file


def squeezenet(file, **options):
    return build("backbone", "squeezenet", data_root=file.parent, weights=file.name, **options)


@pytest.mark.parametrize("suffix", WRITERS)
def test_weights_of_a_file_are_those_of_the_network(write, squeezenet_state, suffix):
    backbone = squeezenet(write(suffix))
    for name, value in backbone.trunk.state_dict().items():
        assert torch.equal(value, squeezenet_state[f"features.{name}"])


@pytest.mark.parametrize("suffix", WRITERS)
def test_half_precision_becomes_float32(write, squeezenet_state, suffix):
    backbone = squeezenet(write(suffix, lambda state: state.update({n: v.half() for n, v in state.items()})))
    for name, value in backbone.trunk.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, squeezenet_state[f"features.{name}"].half().float())


def test_a_checkpoint_with_a_state_dict_inside_is_read(tmp_path, squeezenet_state):
    torch.save({"epoch": 90, "state_dict": squeezenet_state}, tmp_path / "checkpoint.pth")
    backbone = squeezenet(tmp_path / "checkpoint.pth")
    assert torch.equal(backbone.trunk[0].weight, squeezenet_state["features.0.weight"])


def test_weights_of_a_classifier_of_any_size_or_of_none_are_read(write, squeezenet_state):
    for change in (
        lambda state: state.update({"classifier.1.weight": torch.zeros(5089, 512, 1, 1)}),
        lambda state: [state.pop(f"classifier.1.{name}") for name in ("weight", "bias")],
    ):
        backbone = squeezenet(write(".npz", change))
        assert torch.equal(backbone.trunk[0].weight, squeezenet_state["features.0.weight"])


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("features.0.weight"), r"1 arrays are missing \(features\.0\.weight\), 0 are unknown"),
        (lambda state: state.update(extra=torch.zeros(1)), r"0 arrays are missing \(\), 1 are unknown \(extra\)"),
        (lambda state: state.update({"features.0.weight": torch.zeros(3)}), "do not fit SqueezeNet: .*size mismatch"),
    ],
)
def test_weights_that_do_not_fit_are_refused(write, suffix, change, message):
    with pytest.raises(DataError, match=f"(?s)mine\\{suffix} do not fit SqueezeNet: .*{message.split(': ')[-1]}"):
        squeezenet(write(suffix, change))


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("kept", [0, 1, 0.5, 0.999])
def test_a_truncated_file_is_named(write, suffix, kept):
    file = write(suffix)
    content = file.read_bytes()
    file.write_bytes(content[: kept if kept == 1 else int(kept * len(content))])
    with pytest.raises(DataError, match=f"mine\\{suffix} cannot be read \\(\\S"):
        squeezenet(file)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    for name, reason in (("gone", "No such file"), ("folder", "Is a directory")):
        with pytest.raises(DataError, match=f"{name}\\{suffix} cannot be read .*{reason}"):
            squeezenet(tmp_path / f"{name}{suffix}")


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def as_npz(trap, file):
    np.savez(file, **{"features.0.weight": np.array([trap], dtype=object)})


def as_legacy_pickle(trap, file):
    torch.save({"features.0.weight": trap}, file, _use_new_zipfile_serialization=False)


TRAPS = {
    "array.npz": as_npz,
    "zip.pth": lambda trap, file: torch.save({"features.0.weight": trap}, file),
    "legacy.pth": as_legacy_pickle,
    "plain.pth": lambda trap, file: file.write_bytes(pickle.dumps(trap)),
    "plain.npz": lambda trap, file: file.write_bytes(pickle.dumps(trap)),
    "plain.safetensors": lambda trap, file: file.write_bytes(pickle.dumps(trap)),
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_pickle_that_would_execute_code_is_refused_and_not_executed(tmp_path, name):
    TRAPS[name](Trap(tmp_path / "sprung"), tmp_path / name)
    with pytest.raises(DataError, match=f"{name} cannot be read") as caught:
        squeezenet(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
    if name.endswith(".pth"):
        assert "could execute code and is not loaded; right would be" in str(caught.value)
        assert "weights_only" not in str(caught.value)  # torch's own message advises to switch the protection off


def test_the_trap_of_these_tests_is_one(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [nn.Linear(2, 2), [torch.zeros(1)], {"a": 1}, torch.zeros(2)])
def test_a_file_of_something_else_than_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(DataError, match=r"model\.pth cannot be read \(it .*; right would be"):
        squeezenet(tmp_path / "model.pth")


def test_an_array_in_place_of_an_archive_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    (tmp_path / "one.npz").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"one\.npz cannot be read"):
        squeezenet(tmp_path / "one.npz")
    with zipfile.ZipFile(tmp_path / "texts.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(DataError, match=r"texts\.npz cannot be read"):
        squeezenet(tmp_path / "texts.npz")


@pytest.mark.parametrize("weights", ["/data/mine.npz", "mine.bin", "mine", "mine.npz.gz"])
@pytest.mark.parametrize("name", ["resnet50", "bn_inception", "timm:resnet18.a1_in1k"])
def test_a_file_is_named_by_a_path_in_the_data_folder_and_a_known_suffix(name, weights):
    with pytest.raises(OptionError, match=f"'weights' of backbone '{name}'.* in the data folder|relative to the data"):
        BACKBONES.check(name, {"weights": weights})


# The digest -----------------------------------------------------------------------------------------------------------


def test_a_file_with_the_digest_of_the_run_is_loaded_and_another_is_refused_with_both_digests(write):
    file = write(".safetensors")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    squeezenet(file, weights_sha256=digest)
    squeezenet(file, weights_sha256=digest.upper())
    other = "0" * 64
    with pytest.raises(DataError, match=f"mine.safetensors have the SHA-256 {digest}, but weights_sha256 says {other}"):
        squeezenet(file, weights_sha256=other)


def test_a_wrong_file_is_not_even_understood(tmp_path):
    TRAPS["plain.pth"](Trap(tmp_path / "sprung"), tmp_path / "mine.pth")
    with pytest.raises(DataError, match="have the SHA-256"):
        squeezenet(tmp_path / "mine.pth", weights_sha256="0" * 64)


@pytest.mark.parametrize("text", ["abc", "0" * 63, "g" * 64, "DEFAULT"])
def test_a_digest_is_64_hexadecimal_digits(text):
    with pytest.raises(OptionError, match=f"'weights_sha256' of backbone 'resnet18': must be the 64 .*, not '{text}'"):
        BACKBONES.check("resnet18", {"weights": "mine.npz", "weights_sha256": text})


# BN-Inception and timm ------------------------------------------------------------------------------------------------


def test_weights_of_bn_inception_are_read_by_their_caffe_names_with_either_shape_of_batch_norm(tmp_path):
    torch.manual_seed(0)
    given = build("backbone", "bn_inception").trunk.state_dict()
    assert "inception_3a_1x1.weight" in given
    assert "inception_5b_double_3x3_2_bn.running_var" in given
    oldest = {name: value[None] if "_bn." in name and value.ndim == 1 else value for name, value in given.items()}
    heads = {"last_linear.weight": torch.zeros(1000, 1024), "last_linear.bias": torch.zeros(1000)}
    counted = {name: value for name, value in oldest.items() if not name.endswith("num_batches_tracked")}
    torch.save(counted | heads, tmp_path / "bn_inception.pth")
    torch.manual_seed(1)
    backbone = build("backbone", "bn_inception", data_root=tmp_path, weights="bn_inception.pth")
    for name, value in backbone.trunk.state_dict().items():
        assert torch.equal(value, given[name]), name


@pytest.mark.parametrize(
    ("name", "options", "features"),
    [
        ("timm:resnet10t", {}, 512),
        ("timm:resnet10t.c3_in1k", {"pooling": "avg+max"}, 512),
        ("timm:mobilenetv3_small_050", {}, 1024),
        ("timm:mobilenetv3_small_050", {"pooling": "max"}, 288),
        ("timm:test_vit", {}, 64),
    ],
)
def test_backbones_of_timm_give_features_with_gradients(tmp_path, name, options, features):
    backbone = BACKBONES.build(BACKBONES.completed(BACKBONES.check(name, options), tmp_path))
    side = 160 if "vit" in name else 64
    given = backbone(torch.rand(2, 1, side, side))
    assert given.shape == (2, features)
    assert backbone.features == features
    given.square().mean().backward()
    assert all(norm.training for norm in backbone.modules() if isinstance(norm, nn.BatchNorm2d))


def test_images_are_normalized_as_the_weights_of_the_tag_want_it():
    means = {}
    for name in ("test_vit", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"):
        means[name] = [round(value, 3) for value in build("backbone", f"timm:{name}").mean.flatten().tolist()]
    assert list(means.values()) == [[0.485, 0.456, 0.406], [0.5, 0.5, 0.5]]


def test_weights_of_a_file_are_those_of_a_model_of_timm(tmp_path):
    import timm

    torch.manual_seed(0)
    reference = timm.create_model("resnet10t", num_classes=17).eval()
    save_file(reference.state_dict(), tmp_path / "mine.safetensors")
    backbone = build("backbone", "timm:resnet10t", data_root=tmp_path, weights="mine.safetensors").eval()
    images = torch.rand(2, 3, 64, 64)
    normalized = (images - backbone.mean) / backbone.std
    with torch.inference_mode():
        wanted = reference.forward_head(reference.forward_features(normalized), pre_logits=True)
        assert torch.allclose(backbone(images), wanted, atol=1e-6)


def test_batch_norms_of_timm_can_be_frozen():
    torch.manual_seed(0)
    backbone = build("backbone", "timm:resnet10t", frozen_batchnorm=True).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.rand(2, 3, 64, 64)).sum().backward()
    assert before
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:resnt50", {}, "timm has no model 'resnt50'; did you mean 'resnet50'"),
        ("timm:zzzz", {}, "timm has no model 'zzzz'$"),
        ("timm:resnet10t.nope", {}, r"timm has no weights 'nope' of it; right would be timm:resnet10t\.c3_in1k"),
        ("timm:resnet10t", {"weights": "pretrained"}, r"which pretrained weights: timm:resnet10t\.c3_in1k"),
        ("timm:test_vit", {"pooling": "max"}, "timm:test_vit gives no feature maps, .* right would be `own`"),
        ("timm:resnet10t", {"weights": "DEFAULT"}, "must be none, pretrained or a file .*, not 'DEFAULT'"),
    ],
)
def test_what_timm_does_not_have_is_told_when_the_study_is_read(tmp_path, name, options, message):
    with pytest.raises(OptionError, match=message):
        BACKBONES.completed(BACKBONES.check(name, options), tmp_path)


def test_a_model_without_maps_is_not_pooled():
    with pytest.raises(OptionError, match="gives no feature maps"):
        build("backbone", "timm:test_vit", pooling="avg")(torch.rand(1, 3, 160, 160))


def test_weights_of_timm_that_cannot_be_fetched_are_told_with_the_way_around(monkeypatch):
    import timm.models._builder

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", offline)
    with pytest.raises(EnvironmentLacks, match=r"timm:resnet10t\.c3_in1k could not be fetched \(no network\); put"):
        build("backbone", "timm:resnet10t.c3_in1k", weights="pretrained")


def test_without_timm_it_is_told_how_to_get_it(monkeypatch):
    import sys

    from harness.backbones import _timm

    monkeypatch.setitem(sys.modules, "timm", None)
    _timm.load.cache_clear()
    with pytest.raises(EnvironmentLacks, match=r"pip install 'harness\[timm\]'"):
        BACKBONES.check("timm:resnet18")
