"""Any backbone of timm, named as there: `timm:resnet50.a1_in1k`, architecture and tag of the weights.

The tag says what images the weights want; without a tag there are no weights to be had by name, and images are
normalized by the convention of ImageNet.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from harness.backbones._pooled import IMAGENET_MEAN, IMAGENET_STD, FrozenBatchNorm, PooledBackbone, Pooling
from harness.backbones._weights import Sha256, Source, adopt, named_or_file, read_state
from harness.errors import EnvironmentLacks, OptionError, did_you_mean


class TimmBackbone(PooledBackbone):
    """A model of timm without its classifier.

    `weights: pretrained` are those of the tag in the name. `pooling: own` gives what timm's classifier would get: the
    average of the maps of most convolutional networks, the class token of most transformers; the other ways of pooling
    need feature maps.
    """

    revision = 1
    model_name: str

    def __init__(
        self,
        data_root: Path | None = None,
        *,
        weights: Annotated[str, named_or_file("none", "pretrained")] = "none",
        weights_sha256: Sha256 = "",
        frozen_batchnorm: FrozenBatchNorm = False,
        pooling: Pooling | Literal["own"] = "own",
    ) -> None:
        model = _ready(self.model_name, Source(weights, weights_sha256, data_root))
        trunk, features = (model, model.head_hidden_size) if pooling == "own" else (_Maps(model), model.num_features)
        super().__init__(trunk, features, pooling, frozen_batchnorm, *_normalization(self.model_name))

    @classmethod
    def completed(cls, options: Mapping[str, Any], data_root: Path) -> Mapping[str, Any]:
        """As of every backbone; refuses what this model has not, which its signature does not tell."""
        if options["weights"] == "pretrained" and "." not in cls.model_name:
            raise _wrong("weights", f"say which pretrained weights: {_examples(cls.model_name)}")
        if options["pooling"] != "own" and not _gives_maps(cls.model_name):
            raise _wrong("pooling", _no_maps(cls.model_name, str(options["pooling"])))
        return super().completed(options, data_root)

    def pooled(self, maps: Tensor) -> Tensor:
        """Feature maps [B, F, h, w], or already features -> features [B, F]."""
        if self.pooling == "own":
            return maps
        if maps.ndim != 4:
            raise OptionError(_no_maps(self.model_name, self.pooling))
        return super().pooled(maps)


@functools.cache
def load(name: str) -> type:
    """The backbone around the model of that name.

    Raises OptionError when timm has none, EnvironmentLacks without timm.
    """
    timm = _package()
    architecture, dot, tag = name.partition(".")
    if architecture not in timm.list_models():
        near = difflib.get_close_matches(architecture, timm.list_models(), n=1)  # without one, a list of 1,300 names
        suggestion = did_you_mean(architecture, near) if near else ""
        raise OptionError(f"backbone 'timm:{name}': timm has no model {architecture!r}{suggestion}")
    if dot and name not in _tagged(architecture):
        raise OptionError(
            f"backbone 'timm:{name}': timm has no weights {tag!r} of it; right would be {_examples(name)}"
        )
    attributes = {"__doc__": f"{name} of timm.", "__module__": __name__, "model_name": name}
    return type(architecture, (TimmBackbone,), attributes)


def _package() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise EnvironmentLacks(
            "backbones named 'timm:...' need timm, which is not installed; pip install 'harness[timm]'"
        ) from error


def _tagged(architecture: str) -> list[str]:
    names: list[str] = _package().list_pretrained(f"{architecture}.*")
    return names


def _examples(name: str) -> str:
    tagged = _tagged(name.partition(".")[0])
    return (
        " or ".join(f"timm:{example}" for example in tagged[:3]) or "`weights: none`, since timm has no weights of it"
    )


def _wrong(option: str, text: str) -> OptionError:
    return OptionError(text, {(option,): text})


def _no_maps(name: str, pooling: str) -> str:
    return f"timm:{name} gives no feature maps, so there is no pooling {pooling!r}; right would be `own`"


def _ready(name: str, source: Source) -> Any:
    """The model without a classifier, with its weights."""
    try:
        model = _package().create_model(name, pretrained=source.weights == "pretrained", num_classes=0)
    except Exception as error:
        if source.weights != "pretrained":
            raise
        raise EnvironmentLacks(
            f"the weights of timm:{name} could not be fetched ({error}); put their file into the data folder and name "
            "it by `weights: ...safetensors`, or use `weights: none`"
        ) from error
    if source.file is not None:
        heads = model.pretrained_cfg.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else tuple(heads)
        state = read_state(source.file, source.sha256)
        adopt(model, state, f"the weights {source.file}", tuple(f"{head}." for head in heads))
    return model


def _normalization(name: str) -> tuple[Any, Any]:
    if "." not in name:
        return IMAGENET_MEAN, IMAGENET_STD
    settings = _package().models.get_pretrained_cfg(name)
    return settings.mean, settings.std


@functools.cache
def _gives_maps(name: str) -> bool:
    """Whether the model has feature maps, which is seen only when it is run."""
    model = _package().create_model(name, num_classes=0).eval()
    with torch.inference_mode():
        return bool(_Maps(model)(torch.zeros(1, *model.pretrained_cfg["input_size"])).ndim == 4)


class _Maps(nn.Module):
    """What a model of timm computes before it pools, channels first."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.model.forward_features(images)
        last = maps.ndim == 4 and str(getattr(self.model, "output_fmt", "NCHW")) == "NHWC"
        return maps.permute(0, 3, 1, 2) if last else maps
