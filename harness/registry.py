"""Parts by name: one file a part, `harness/<kind>s/<name>.py`, which registers itself.

The options a study may set are the keyword-only arguments of the constructor, so the signature is the schema: their
annotations are checked by pydantic, their defaults are written into the run. What stands before the `*` is supplied by
the harness. A part of somebody else's is named by import path, `my_lab.losses:BetterTriplet`, and checked the same way;
so is one of a library that has a prefix of its own, `pml:CircleLoss`.
A kind may have common options (`COMMON`): every part of it has them, and the harness is who uses them.
Listing names imports nothing; a part's file (and with it torch) is imported when the part is used.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from harness.errors import OptionError, did_you_mean
from harness.specs import Choice

Part = TypeVar("Part", bound=type)

LOADERS = {
    ("objective", "pml"): "harness.objectives._pml",
    ("miner", "pml"): "harness.miners._pml",
    ("backbone", "timm"): "harness.backbones._timm",
}
"""What stands before the colon of a name, where it is no import path: the module whose `load` gives the class."""


class EmbeddingOptions(BaseModel):
    """The options of every backbone, which say what the harness does with its features.

    embedding_dim  size of the embeddings, which a linear layer makes of the features
    layer_norm     whether the features pass a layer norm before it
    trainable      all: everything learns; head: the backbone stays as it is, and its features are computed once
    views          for `head`: of how many seeded views of each training image the features are kept
    """

    embedding_dim: int = Field(128, ge=1)
    layer_norm: bool = False
    trainable: Literal["all", "head"] = "all"
    views: int = Field(1, ge=1)


class LabelOptions(BaseModel):
    """The options of every data set, which say what the harness does with its labels.

    label_noise  share of the training images that get the label of another class; the test is never touched
    """

    label_noise: float = Field(0.0, ge=0, lt=1)


COMMON: dict[str, type[BaseModel]] = {"backbone": EmbeddingOptions, "dataset": LabelOptions}
"""Kind -> the options that all its parts have."""


class Registry:
    """All parts of one kind."""

    def __init__(self, kind: str, folder: str) -> None:
        self.kind = kind
        self.package = f"harness.{folder}"
        self.common = COMMON.get(kind, BaseModel)
        self._parts: dict[str, type] = {}
        self._schemas: dict[type, type[BaseModel]] = {}  # making one takes a millisecond, and a study checks thousands

    def register(self, name: str) -> Callable[[Part], Part]:
        """Class decorator: makes the class known under `name`, which is also the name of its file."""

        def remember(part: Part) -> Part:
            self._parts[name] = part
            return part

        return remember

    def names(self) -> list[str]:
        """The built-in parts and those registered so far; reads file names, imports nothing."""
        folder = Path(__file__).parent / self.package.rpartition(".")[2]
        files = {module.name for module in pkgutil.iter_modules([str(folder)])}
        return sorted({name for name in files if not name.startswith("_")} | set(self._parts))

    def get(self, name: str) -> type:
        """The class behind a name or an import path.

        Raises OptionError with a suggestion when there is none.
        """
        prefix, colon, rest = name.partition(":")
        if colon and (self.kind, prefix) in LOADERS:
            loaded: type = importlib.import_module(LOADERS[self.kind, prefix]).load(rest)
            return loaded
        if colon:
            return self._imported(name)
        if name not in self._parts:
            if name not in self.names():
                raise OptionError(f"{self.kind} {name!r} is not known{did_you_mean(name, self.names())}")
            importlib.import_module(f"{self.package}.{name}")
        return self._parts[name]

    def _imported(self, path: str) -> type:
        module_name, _, class_name = path.partition(":")
        try:
            part = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError, ValueError) as error:
            raise OptionError(
                f"{self.kind} {path!r} cannot be imported: {error}; right would be 'package.module:Class' of an "
                "installed package"
            ) from error
        if not isinstance(part, type):
            raise OptionError(f"{self.kind} {path!r} is not a class but {type(part).__name__}")
        return part

    def schema(self, name: str) -> type[BaseModel]:
        """The options of a part as a closed, strictly typed pydantic model."""
        part = self.get(name)
        if part not in self._schemas:
            self._schemas[part] = self._make_schema(part)
        return self._schemas[part]

    def _make_schema(self, part: type) -> type[BaseModel]:
        signature = inspect.signature(part, eval_str=True)
        common = {name: (info.annotation, info) for name, info in self.common.model_fields.items()}
        options: dict[str, Any] = common | {
            parameter.name: (
                Any if parameter.annotation is parameter.empty else parameter.annotation,
                ... if parameter.default is parameter.empty else parameter.default,
            )
            for parameter in signature.parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
        return create_model(f"{part.__name__}Options", __config__=config, **options)

    def check(self, name: str, options: Mapping[str, Any] | None = None) -> Choice:
        """The part with every default written in.

        Raises OptionError; its `problems` name each wrong option.
        """
        schema = self.schema(name)
        try:
            checked = schema(**(options or {}))
        except ValidationError as error:
            problems = self._problems(name, schema, error)
            raise OptionError("; ".join(problems.values()), problems) from None
        return Choice(name, checked.model_dump(), getattr(self.get(name), "revision", 1))

    def completed(self, choice: Choice, data_root: Path) -> Choice:
        """The part with what its class method `completed(options, data_root) -> options` knows of the data folder.

        So the digest of a file gets into the identity of a run. A part without that method is complete. Raises
        OptionError as `check` does.
        """
        complete = getattr(self.get(choice.name), "completed", None)
        return replace(choice, options=complete(choice.options, data_root)) if complete else choice

    def _problems(self, name: str, schema: type[BaseModel], error: ValidationError) -> dict[tuple[str, ...], str]:
        problems = {}
        for item in error.errors():
            path = tuple(str(step) for step in item["loc"])
            if item["type"] == "extra_forbidden":
                suggestion = did_you_mean(path[-1], schema.model_fields) or "; it has no options"
                problems[path] = f"{self.kind} {name!r} has no option {path[-1]!r}{suggestion}"
            elif item["type"] == "missing":
                problems[path] = f"{self.kind} {name!r} needs the option {path[-1]!r}"
            else:
                problems[path] = f"option {path[0]!r} of {self.kind} {name!r}: {problem_text(item)}"
        return problems

    def build(self, choice: Choice, **supplied: Any) -> Any:
        """An instance. Of what is supplied, the constructor gets what its signature names before the `*`."""
        part = self.get(choice.name)
        parameters = inspect.signature(part).parameters.values()
        wanted = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        missing = [p.name for p in wanted if p.default is p.empty and p.name not in supplied]
        if missing:
            raise OptionError(f"{self.kind} {choice.name!r} needs {', '.join(missing)}")
        given = {p.name: supplied[p.name] for p in wanted if p.name in supplied}
        return part(**given, **self.own_options(choice))

    def own_options(self, choice: Choice) -> dict[str, Any]:
        """The options that the part itself has, without those that only all parts of the kind have."""
        signature = inspect.signature(self.get(choice.name)).parameters
        common = set(self.common.model_fields) - set(signature)
        return {name: value for name, value in choice.options.items() if name not in common}


def problem_text(item: Mapping[str, Any]) -> str:
    """One pydantic error as a sentence that ends with what was given."""
    text = str(item["msg"])
    return f"{text[0].lower()}{text[1:]}, not {item['input']!r}"


OBJECTIVES = Registry("objective", "objectives")
MINERS = Registry("miner", "miners")
SAMPLERS = Registry("sampler", "samplers")
REGULARIZERS = Registry("regularizer", "regularizers")
METRICS = Registry("metric", "metrics")
DATASETS = Registry("dataset", "datasets")
BACKBONES = Registry("backbone", "backbones")

REGISTRIES = {
    registry.kind: registry for registry in (DATASETS, BACKBONES, OBJECTIVES, MINERS, SAMPLERS, REGULARIZERS, METRICS)
}


SUPPLIED = {"num_classes", "embedding_dim", "labels", "batch_size", "data_root"}
"""What the harness gives to the constructors that ask for it."""


def build(kind: str, name: str, **arguments: Any) -> Any:
    """A part by kind and name, such as `build("objective", "margin", num_classes=100, embedding_dim=128, beta=0.6)`.

    Keyword arguments are both what the harness would supply and the options; what the harness would supply but this
    part has no use for is left out, as in a run. Raises OptionError.
    """
    if kind not in REGISTRIES:
        raise OptionError(f"{kind!r} is not a kind of part{did_you_mean(kind, REGISTRIES)}")
    registry = REGISTRIES[kind]
    parameters = inspect.signature(registry.get(name)).parameters.values()
    options_known = set(registry.schema(name).model_fields)
    positional = {p.name for p in parameters} - options_known
    supplied = {key: value for key, value in arguments.items() if key in positional | SUPPLIED - options_known}
    options = {key: value for key, value in arguments.items() if key not in supplied}
    return registry.build(registry.check(name, options), **supplied)
