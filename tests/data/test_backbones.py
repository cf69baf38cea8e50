from __future__ import annotations

import copy
import functools

import pytest
import torch
import torchvision
from torch import nn

from harness.backbones.bn_inception import BLOCKS
from harness.errors import EnvironmentLacks, OptionError
from harness.registry import BACKBONES, build

LARGE = [name for name in BACKBONES.names() if name not in ("convnet", "mlp")]
NORMED = [name for name in LARGE if name != "squeezenet"]


@functools.cache
def lively(name):
    """A backbone in evaluation whose batch norms have seen images: a new one gives next to nothing there."""
    torch.manual_seed(0)
    backbone = build("backbone", name)
    for norm in norms_of(backbone):
        norm.momentum = 1.0
    backbone(torch.rand(8, 3, 64, 64))
    return backbone.eval()


def norms_of(backbone):
    return [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]


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


def close(found, wanted):
    return torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", BACKBONES.names())
def test_a_grey_image_is_a_color_image_with_equal_channels(name):
    backbone, grey = lively(name), torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        features = backbone(grey)
        assert close(features, backbone(grey.expand(-1, 3, -1, -1)))
        assert not close(features[:1], features[1:])


@pytest.mark.parametrize("name", BACKBONES.names())
def test_in_evaluation_an_image_does_not_depend_on_its_batch(name):
    backbone, images = lively(name), torch.rand(6, 3, 64, 64)
    with torch.inference_mode():
        assert close(backbone(images)[:2], backbone(images[:2]))


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


@pytest.mark.parametrize("frozen", [False, True, "all"])
def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_affine_part_unless_all_of_it_is_frozen(frozen):
    torch.manual_seed(0)
    backbone = build("backbone", "resnet18", frozen_batchnorm=frozen)
    before = [norm.running_mean.clone() for norm in norms_of(backbone)]
    backbone(torch.rand(4, 3, 32, 32)).sum().backward()
    for norm, mean in zip(norms_of(backbone), before, strict=True):
        assert torch.equal(norm.running_mean, mean) == bool(frozen)
        assert (norm.weight.grad is None) == (norm.bias.grad is None) == (frozen == "all")
    affine = {id(parameter) for norm in norms_of(backbone) for parameter in norm.parameters()}
    assert all(parameter.grad is not None for parameter in backbone.parameters() if id(parameter) not in affine)


@pytest.mark.parametrize("name", NORMED)
def test_every_batch_norm_stays_frozen_through_evaluation_and_warm_up(name):
    backbone = build("backbone", name, frozen_batchnorm="all")
    network = nn.Sequential(backbone, nn.Linear(backbone.features, 4))
    network.eval().train()
    backbone.requires_grad_(False).requires_grad_(True)
    assert norms_of(backbone)
    assert not any(norm.training or norm.weight.requires_grad for norm in norms_of(backbone))
    assert backbone.training
    assert all(p.requires_grad for m in backbone.modules() if isinstance(m, nn.Conv2d) for p in m.parameters())


def test_frozen_batch_norm_uses_its_statistics_in_training():
    torch.manual_seed(0)
    images = torch.rand(4, 3, 64, 64)
    for frozen in (False, True):
        backbone = build("backbone", "resnet18", frozen_batchnorm=frozen).train()
        with torch.no_grad():
            assert close(backbone(images)[:2], backbone(images[:2])) == frozen


@pytest.mark.parametrize("name", LARGE)
def test_pooling_is_average_or_maximum_or_their_sum(name):
    backbone, images, pooled = copy.copy(lively(name)), torch.rand(2, 3, 96, 96), {}
    with torch.inference_mode():
        maps = backbone.trunk((images - backbone.mean) / backbone.std)
        for pooling in ("avg", "max", "avg+max"):
            backbone.pooling = pooling
            pooled[pooling] = backbone(images)
    assert maps.shape[2] > 1
    assert close(pooled["avg"], maps.mean((2, 3)))
    assert close(pooled["max"], maps.amax((2, 3)))
    assert close(pooled["avg+max"], pooled["avg"] + pooled["max"])
    assert not close(pooled["avg"], pooled["max"])


@pytest.mark.parametrize("name", LARGE)
def test_the_way_of_pooling_is_an_option(name):
    assert BACKBONES.check(name).options["pooling"] == "avg"
    assert BACKBONES.check(name, {"pooling": "avg+max"}).options["pooling"] == "avg+max"
    with pytest.raises(OptionError, match=f"'pooling' of backbone '{name}'"):
        BACKBONES.check(name, {"pooling": "gem"})


def test_a_backbone_pools_as_its_option_says():
    torch.manual_seed(0)
    backbone = build("backbone", "squeezenet", pooling="avg+max")
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        maps = backbone.trunk((images - backbone.mean) / backbone.std)
        assert close(backbone(images), maps.mean((2, 3)) + maps.amax((2, 3)))


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


# Against the published networks ---------------------------------------------------------------------------------------

HEADS = {
    "resnet18": "fc",
    "resnet50": "fc",
    "mobilenet_v2": "classifier",
    "googlenet": "fc",
    "squeezenet": "classifier",
}
PUBLISHED = {"resnet18": 11_689_512, "resnet50": 25_557_032, "mobilenet_v2": 3_504_872, "googlenet": 6_624_904}
PUBLISHED |= {"squeezenet": 1_248_424, "bn_inception": 11_295_240}
"""Parameters with a classifier of 1,000 classes, as the makers of the weights state them."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_the_published_number_of_parameters(name):
    backbone = lively(name)
    classifier = 1000 * backbone.features + 1000
    assert sum(parameter.numel() for parameter in backbone.parameters()) + classifier == PUBLISHED[name]


@pytest.mark.parametrize("name", HEADS)
def test_features_are_what_the_network_of_torchvision_gives_to_its_classifier(name, tmp_path):
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True, "transform_input": True} if name == "googlenet" else {}
    reference = getattr(torchvision.models, "squeezenet1_0" if name == "squeezenet" else name)(**options)
    images = torch.rand(2, 3, 64, 64)
    normalize = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for norm in norms_of(reference):
        norm.momentum = 1.0
    reference.train()(normalize(torch.rand(8, 3, 64, 64)))  # so that the statistics are not those of a new network
    reference.eval()
    torch.save(reference.state_dict(), tmp_path / "reference.pth")
    setattr(reference, HEADS[name], nn.AdaptiveAvgPool2d(1) if name == "squeezenet" else nn.Identity())
    backbone = build("backbone", name, data_root=tmp_path, weights="reference.pth").eval()
    with torch.inference_mode():
        wanted = reference(normalize(images)).flatten(1)
        assert wanted.shape == (2, backbone.features)
        assert close(backbone(images), wanted)


def shapes_of(modules, image):
    """Name -> [C, H, W] of what each of the named modules gives."""
    shapes = {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: shapes.update({name: tuple(output.shape[1:])}))
        for name, module in modules.items()
    ]
    with torch.inference_mode():
        image()
    for hook in hooks:
        hook.remove()
    return shapes


def test_bn_inception_has_the_layers_of_the_table_of_its_paper():
    trunk = lively("bn_inception").trunk
    shapes = shapes_of(dict(trunk.named_children()), lambda: trunk(torch.rand(1, 3, 224, 224)))
    assert shapes["conv1_7x7_s2"] == (64, 112, 112)
    assert shapes["conv2_3x3_reduce_bn"] == (64, 56, 56)
    assert shapes["conv2_3x3_bn"] == (192, 56, 56)
    # 1x1; 3x3 reduced, 3x3; double 3x3 reduced, double 3x3 twice; projection after the pool: Figure 5, left to right.
    table = {
        "3a": (28, 64, 64, 64, 64, 96, 32),
        "3b": (28, 64, 64, 96, 64, 96, 64),
        "3c": (14, None, 128, 160, 64, 96, None),
        "4a": (14, 224, 64, 96, 96, 128, 128),
        "4b": (14, 192, 96, 128, 96, 128, 128),
        "4c": (14, 160, 128, 160, 128, 160, 128),
        "4d": (14, 96, 128, 192, 160, 192, 128),
        "4e": (7, None, 128, 192, 192, 256, None),
        "5a": (7, 352, 192, 320, 160, 224, 128),
        "5b": (7, 352, 192, 320, 192, 224, 128),
    }
    layers = ("1x1", "3x3_reduce", "3x3", "double_3x3_reduce", "double_3x3_2", "pool_proj")
    for block, (side, *channels) in table.items():
        for layer, count in zip(layers, channels, strict=True):
            shape = shapes.pop(f"inception_{block}_{layer}_bn", None)
            before = 2 * side if layer.endswith("reduce") and channels[0] is None else side
            assert shape == (None if count is None else (count, before, before)), (block, layer)


def test_the_blocks_of_bn_inception_are_joined_to_1024_maps():
    channels, counts = 192, []
    for block in BLOCKS.values():
        channels = block.channels(channels)
        counts.append(channels)
    assert counts == [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]
    with torch.inference_mode():
        assert lively("bn_inception").trunk(torch.rand(1, 3, 224, 224)).shape == (1, 1024, 7, 7)


def test_googlenet_has_the_blocks_of_the_table_of_its_paper():
    trunk = lively("googlenet").trunk
    shapes = shapes_of(dict(trunk.named_children()), lambda: trunk(torch.rand(1, 3, 224, 224)))
    sizes = [(64, 112), (64, 56), (64, 56), (192, 56), (192, 28), (256, 28), (480, 28), (480, 14)]
    sizes += [(512, 14), (512, 14), (512, 14), (528, 14), (832, 14), (832, 7), (832, 7), (1024, 7)]
    assert list(shapes.values()) == [(channels, side, side) for channels, side in sizes]


def test_bn_inception_sees_blue_green_red_from_0_to_255_less_the_means():
    backbone, seen = build("backbone", "bn_inception").eval(), []
    backbone.trunk.conv1_7x7_s2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = torch.tensor([200.0, 100.0, 50.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32) / 255
    backbone(image)
    assert torch.allclose(seen[0][0, :, 5, 5], torch.tensor([50.0 - 104, 100.0 - 117, 200.0 - 128]), atol=1e-3)


def test_googlenet_sees_images_from_minus_1_to_1():
    backbone, seen = build("backbone", "googlenet").eval(), []
    backbone.trunk[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    assert seen[0][0, :, 5, 5].tolist() == [-1, 0, 1]
