"""The values that cross every border: what decides a run (`RunSpec`) and what a run gives (`RunResult`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

PROTOCOL = 2
"""Revision of what training and evaluation do to the numbers. A change that moves any number raises it, and with it
the identity of every run."""

KINDS = ("dataset", "backbone", "objective", "miner", "sampler", "regularizer")
"""The kinds of part that a run is put together from, in the order in which they are shown."""

CAUSES = ("diverged", "out_of_memory", "bad_data", "exception", "crash")
"""Why a run can end without numbers. `crash`: its worker died again and again without a word."""

SELECTIONS = ("last", "best_validation", "best_test")
"""Which epoch a number is taken from. `best_test` is what the papers did: the epoch of the highest test recall_at_1."""


class Settings(BaseModel):
    """A section of a study that is not a part: typed, closed, immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Training(Settings):
    """How long, on what views of the images and in what arithmetic a run trains.

    gradient_clip  largest norm of the gradient of all parameters together; None: as it is
    ema            decay a step of the moving average of the network's weights that is measured; None: the weights
    compile        the mode of `torch.compile`, `reduce-overhead` being the one with CUDA graphs; none: not compiled
    tf32           whether float32 products on a GPU may have the 10-bit mantissa of TensorFloat-32
    """

    epochs: int = Field(150, ge=1)
    batch_size: int = Field(112, ge=2)
    augmentation: Literal["none", "shift", "base", "big", "adv", "red"] = "base"
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_clip: float | None = Field(None, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"] = "none"
    tf32: bool = False


class Optimizer(Settings):
    """One optimizer for the network; the objective's own parameters use its multipliers and no weight decay.

    eps            what Adam adds to the root of its second moment; momentum is that of sgd
    schedule       multistep: times `gamma` after each of the epochs `milestones`; cosine: to 0 at the last epoch
    warmup_epochs  so many epochs at the beginning train everything but the backbone
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(1e-5, gt=0)
    weight_decay: float = Field(4e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    backbone_lr_multiplier: float = Field(1.0, gt=0)
    embedding_lr_multiplier: float = Field(1.0, gt=0)
    warmup_epochs: int = Field(0, ge=0)
    schedule: Literal["multistep", "cosine"] = "multistep"
    milestones: list[int] = []
    gamma: float = Field(0.3, gt=0)


@dataclass(frozen=True)
class Choice:
    """One part of a run: its name, every option with its default written in, and the part's revision."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1


SPLITS = ("test", "train")
"""The classes that a run is measured on: those it never saw, and those it was trained on."""


class Evaluation(Settings):
    """Which families of metrics are measured, on which classes, how often.

    Every `every`-th epoch and the last are measured. The family `clustering` is measured only on those of them that
    `clustering_every` divides, and on the last, because k-means with the 11,316 classes of Stanford Online Products
    takes longer than an epoch; the epochs of its curves show which. A `best_test` epoch without it has no such numbers.
    A study says a family as its name or as a mapping with `name` and options; here a bare name is the family with the
    defaults that it will have when it is built, which only a study writes into the run.
    """

    every: int = Field(1, ge=1)
    clustering_every: int = Field(1, ge=1)
    test: list[Choice] = [Choice("retrieval"), Choice("clustering"), Choice("density"), Choice("spectrum")]
    train: list[Choice] = [Choice("density"), Choice("spectrum")]

    @field_validator(*SPLITS, mode="before")
    @classmethod
    def _read(cls, families: Any) -> Any:
        return [_as_choice(family) for family in families] if isinstance(families, list) else families

    @field_validator(*SPLITS)
    @classmethod
    def _once(cls, families: list[Choice]) -> list[Choice]:
        names = [family.name for family in families]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"metric {twice!r} is named twice, but its numbers have only one name each; keep one")
        return families

    def flat(self) -> dict[str, Any]:
        """Dotted path -> value; the options of a family, where it has some, stand together: `test.retrieval`."""
        families = {split: getattr(self, split) for split in SPLITS}
        flat = self.model_dump() | {split: [family.name for family in chosen] for split, chosen in families.items()}
        for split, chosen in families.items():
            flat |= {f"{split}.{family.name}": dict(family.options) for family in chosen if family.options}
        return flat


def _as_choice(family: Any) -> Any:
    """A name, or what `RunSpec.to_dict` wrote, as a choice; anything else as it is."""
    if isinstance(family, str):
        return Choice(family)
    if isinstance(family, Mapping) and set(family) == {"name", "options", "revision"}:
        return Choice(**family)
    return family


class Tuned(Settings):
    """The part that a run plays in a tuned study.

    role        fold: trains without the training classes of one fold and is measured on these (`validation`);
                final: trains on all training classes, keeps its weights, and is not measured on the test classes, which
                a look will do with the families `test`;
                look: trains nothing, and measures the weights that the final run `of` has kept on the test classes
    fold        which of `folds` folds is held out, from 0; a single fold (`folds` 1) has `share` of the classes
    cut         the seed by which classes come into folds
    validation  the families that are measured on the held-out classes
    """

    role: Literal["fold", "final", "look"]
    folds: int | None = Field(None, ge=1)
    fold: int | None = Field(None, ge=0)
    share: float | None = Field(None, gt=0, lt=1)
    cut: int | None = None
    validation: list[Choice] = []
    test: list[Choice] = []
    of: str | None = None

    @field_validator("validation", "test", mode="before")
    @classmethod
    def _read(cls, families: Any) -> Any:
        return [_as_choice(family) for family in families] if isinstance(families, list) else families

    def to_dict(self) -> dict[str, Any]:
        """What is said, as plain JSON types."""
        return {name: value for name, value in self.model_dump().items() if value not in (None, [])}


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides the numbers of one run, and nothing else: no path, host, study or back-end.

    `tuned` is left out of the identity where there is none, so that runs from before there was tuning keep theirs.
    """

    dataset: Choice
    backbone: Choice
    objective: Choice
    sampler: Choice | None  # None where the miner plans the batches
    seed: int
    miner: Choice | None = None
    regularizer: Choice | None = None
    training: Training = field(default_factory=Training)
    optimizer: Optimizer = field(default_factory=Optimizer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    protocol: int = PROTOCOL
    tuned: Tuned | None = None

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON types; `from_dict` is its inverse."""
        parts = {kind: getattr(self, kind) for kind in KINDS}
        return {
            **{kind: asdict(choice) if choice else None for kind, choice in parts.items()},
            "training": self.training.model_dump(),
            "optimizer": self.optimizer.model_dump(),
            "evaluation": self.evaluation.model_dump(),
            "seed": self.seed,
            "protocol": self.protocol,
            **({"tuned": self.tuned.to_dict()} if self.tuned else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        """The inverse of `to_dict`."""
        parts = {kind: Choice(**data[kind]) if data[kind] else None for kind in KINDS}
        return cls(
            **parts,  # type: ignore[arg-type]
            training=Training(**data["training"]),
            optimizer=Optimizer(**data["optimizer"]),
            evaluation=Evaluation(**data["evaluation"]),
            seed=data["seed"],
            protocol=data["protocol"],
            tuned=Tuned(**data["tuned"]) if data.get("tuned") else None,
        )

    @cached_property
    def run_id(self) -> str:
        """64 bits of the SHA-256 over the canonical JSON, in hex."""
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()[:16]

    def flat(self) -> dict[str, Any]:
        """Dotted path -> value, as a person would name it: `objective`, `objective.beta`, `training.epochs`, `seed`."""
        flat: dict[str, Any] = {}
        for kind in KINDS:
            choice: Choice | None = getattr(self, kind)
            flat[kind] = choice.name if choice else "none"
            for option, value in (choice.options if choice else {}).items():
                flat[f"{kind}.{option}"] = value
        settings = {"training": self.training.model_dump(), "optimizer": self.optimizer.model_dump()}
        for section, values in (settings | {"evaluation": self.evaluation.flat()}).items():
            flat |= {f"{section}.{name}": value for name, value in values.items()}
        if self.tuned:
            flat |= {f"tuned.{name}": value for name, value in self.tuned.to_dict().items()}
        return flat | {"seed": self.seed}


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no nan."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Measurement:
    """One number of one run."""

    split: str  # "train", "test", or "validation" for the held-out classes of a fold
    metric: str
    selection: str  # one of SELECTIONS
    epoch: int  # 1-based: the number of finished epochs
    value: float


@dataclass(frozen=True)
class Curve:
    """One number over the epochs of a run; `epochs` and `values` have the same length."""

    split: str
    metric: str
    epochs: list[int]
    values: list[float | None]  # None where the number is not defined (nan does not travel through JSON)


@dataclass(frozen=True)
class Spectrum:
    """Singular values, largest first, normalized to sum 1, of the embeddings of one split at a selected epoch."""

    split: str
    selection: str
    epoch: int
    values: list[float]


@dataclass(frozen=True)
class ClassScores:
    """One metric for each class of a split at a selected epoch; `scores` maps class name -> value."""

    split: str
    metric: str
    selection: str
    epoch: int
    scores: dict[str, float]


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind: numbers, or the cause of its failure; never silence."""

    run_id: str
    state: Literal["done", "failed"]
    cause: str | None = None  # one of CAUSES when failed
    message: str | None = None
    traceback: str | None = None
    measurements: list[Measurement] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    spectra: list[Spectrum] = field(default_factory=list)
    class_scores: list[ClassScores] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)  # names carry units: train_seconds, step_ms, peak_memory_mb
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON types; `from_dict` is its inverse."""
        return {"format": 1, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunResult:
        """The inverse of `to_dict`."""
        values = {key: value for key, value in data.items() if key != "format"}
        for name, kind in (
            ("measurements", Measurement),
            ("curves", Curve),
            ("spectra", Spectrum),
            ("class_scores", ClassScores),
        ):
            values[name] = [kind(**item) for item in values.get(name, [])]
        return cls(**values)
