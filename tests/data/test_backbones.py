from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import squeezenet1_0

from harness.errors import DataError, EnvironmentLacks, OptionError
from harness.registry import BACKBONES, build


@pytest.mark.parametrize("name", BACKBONES.names())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_backbone_gives_features_of_grey_and_color_images_with_gradients(name, channels):
    torch.manual_seed(0)
    backbone = build("backbone", name).to(memory_format=torch.channels_last)
    features = backbone(torch.rand(2, channels, 32, 32).contiguous(memory_format=torch.channels_last))
    assert features.shape == (2, backbone.features)
    assert isinstance(backbone.features, int)
    features.square().mean().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("name", BACKBONES.names())
def test_every_backbone_has_the_option_embedding_dim(name):
    assert BACKBONES.check(name, {"embedding_dim": 7}).options["embedding_dim"] == 7
    with pytest.raises(OptionError, match="embedding_dim"):
        BACKBONES.check(name, {"embedding_dim": 0})


@pytest.mark.parametrize("name", BACKBONES.names())
def test_a_grey_image_is_a_color_image_with_equal_channels(name):
    torch.manual_seed(0)
    backbone = build("backbone", name).eval()
    grey = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)), atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES.names())
def test_in_evaluation_an_image_does_not_depend_on_its_batch(name):
    torch.manual_seed(0)
    backbone, images = build("backbone", name), torch.rand(6, 3, 32, 32)
    backbone(images)
    backbone.eval()
    with torch.inference_mode():
        assert torch.allclose(backbone(images)[:2], backbone(images[:2]), atol=1e-5)


def test_the_width_of_the_convnet_can_be_chosen():
    narrow, usual = build("backbone", "convnet", width=8), build("backbone", "convnet")
    assert narrow.features * 4 == usual.features


def test_a_deeper_convnet_has_one_more_convolution():
    counts = [
        sum(isinstance(module, nn.Conv2d) for module in build("backbone", "convnet", depth=depth).modules())
        for depth in (3, 4)
    ]
    assert counts == [3, 4]


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V9", "yes"])
def test_weights_are_named_explicitly_or_refused(weights):
    with pytest.raises(OptionError, match=f"'weights' of backbone 'resnet50'.*IMAGENET1K_V1.*not '{weights}'"):
        BACKBONES.check("resnet50", {"weights": weights})


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_affine_part():
    torch.manual_seed(0)
    images = torch.rand(4, 3, 32, 32)
    for frozen in (True, False):
        backbone = build("backbone", "resnet18", frozen_batchnorm=frozen).train()
        norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms]
        backbone(images).sum().backward()
        same = all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
        assert same == frozen
        assert all(norm.weight.grad is not None for norm in norms)


def test_pooling_is_average_or_maximum_or_their_sum():
    pooled = {}
    for pooling in ("avg", "max", "avg+max"):
        torch.manual_seed(0)
        backbone = build("backbone", "resnet18", pooling=pooling).eval()
        torch.manual_seed(1)
        pooled[pooling] = backbone(torch.rand(2, 3, 96, 96))
    assert torch.allclose(pooled["avg"] + pooled["max"], pooled["avg+max"], atol=1e-6)
    assert (pooled["max"] >= pooled["avg"]).all()
    assert not torch.allclose(pooled["max"], pooled["avg"])


def test_images_are_normalized_by_the_convention_of_imagenet():
    backbone = build("backbone", "resnet18")
    seen = []
    backbone.trunk[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone.eval()(torch.full((1, 3, 32, 32), 0.485))
    expected = (0.485 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(seen[0][0, :, 0, 0], expected)


def test_weights_that_cannot_be_fetched_are_told_with_the_way_around(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "_get_torch_home", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(EnvironmentLacks, match=r"not be fetched from https://.* \(no network\); put that file into"):
        build("backbone", "resnet18", weights="IMAGENET1K_V1")


# Weights of a file ----------------------------------------------------------------------------------------------------


def test_weights_of_a_file_are_those_of_the_network(tmp_path):
    torch.manual_seed(0)
    given = {name: value.numpy() for name, value in squeezenet1_0().state_dict().items()}
    np.savez(tmp_path / "mine.npz", **given)
    torch.manual_seed(1)
    backbone = build("backbone", "squeezenet", data_root=tmp_path, weights="mine.npz")
    for name, value in backbone.trunk.state_dict().items():
        assert (value.numpy() == given[f"features.{name}"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given.pop("features.0.weight"), r"1 arrays are missing \(features\.0\.weight\), 0 are unknown"),
        (lambda given: given.update(extra=np.zeros(1)), r"0 arrays are missing \(\), 1 are unknown \(extra\)"),
        (lambda given: given.update({"features.0.weight": np.zeros(3)}), "do not fit SqueezeNet: .*size mismatch"),
        (lambda given: given.update(extra=np.array([object()])), "cannot be read .*allow_pickle"),
    ],
)
def test_a_file_of_weights_that_do_not_fit_is_refused(tmp_path, change, message):
    given = {name: value.numpy() for name, value in squeezenet1_0().state_dict().items()}
    change(given)
    np.savez(tmp_path / "mine.npz", **given)
    with pytest.raises(DataError, match=f"(?s)mine\\.npz .*{message}"):
        build("backbone", "squeezenet", data_root=tmp_path, weights="mine.npz")


def test_a_file_of_weights_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npz cannot be read .*No such file"):
        build("backbone", "mobilenet_v2", data_root=tmp_path, weights="gone.npz")
