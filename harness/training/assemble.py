"""From a spec to the things that train: data, network, objective, miner, sampler, regularizer, optimizer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import DataError, Interrupted, StudyError
from harness.measured import Family
from harness.registry import BACKBONES, METRICS, MINERS, OBJECTIVES, REGULARIZERS, SAMPLERS
from harness.seeding import seed_for
from harness.specs import SPLITS, Choice, RunSpec
from harness.training.average import MovingAverage
from harness.training.bank import Bank
from harness.training.compiled import compiled
from harness.training.data import TrainingData, open_data
from harness.training.feature_pass import is_frozen, recipe_of
from harness.training.features import FeatureBank, feature_bank
from harness.training.history import History
from harness.training.network import EmbeddingNetwork, FeaturesThrough
from harness.training.optimizer import make_optimizer, trainable
from harness.training.teller import EVERY_S, Teller


@dataclass(frozen=True)
class Context:
    """Where a run happens; none of it decides a number."""

    data_root: Path
    cache: Path
    device: str = "cpu"
    checkpoint: Path | None = None
    evidence: Path | None = None  # where to leave what new statistics can be computed from
    should_stop: Callable[[], bool] = lambda: False
    on_progress: Callable[[dict[str, Any]], None] = lambda progress: None
    tell_every_s: float = EVERY_S  # steps are told at most so often
    weights: Callable[[str], Path] | None = None  # run id -> where a final run of a tuned study keeps its weights
    at_end: Callable[[Parts, History], None] = lambda parts, history: None  # told of a run that has come to its end


@dataclass(frozen=True)
class Parts:
    """Everything one run works with."""

    spec: RunSpec
    data: TrainingData
    network: EmbeddingNetwork
    forward: Callable[[Tensor], Tensor]  # the network on a training batch, compiled if the spec says so
    backbone_weights: list[nn.Parameter]  # those that learn, after the warm-up
    average: MovingAverage | None
    objective: nn.Module
    miner: Any  # None where the objective takes the whole batch
    sampler: Any  # the miner itself where that plans the batches
    regularizer: Any  # None or an nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    families: dict[str, dict[str, Family]]  # split -> name -> family of metrics
    device: torch.device
    teller: Teller
    weights_digest: str | None = None  # of the weights that the backbone began with, where it did not begin at random


def assemble(spec: RunSpec, context: Context) -> Parts:
    """Build every part of a run; initial weights depend on the seed and the part alone."""
    device = torch.device(context.device)
    teller = Teller(spec.training.epochs, context.on_progress, context.tell_every_s)
    data = _open(spec, context, device, teller)
    if len(data.train_index) < spec.training.batch_size:
        raise DataError(
            f"dataset {spec.dataset.name!r} has {len(data.train_index)} training images, fewer than one batch of "
            f"{spec.training.batch_size}; a smaller training.batch_size would be right"
        )
    torch.manual_seed(seed_for(spec.seed, "weights"))
    objective_class: Any = OBJECTIVES.get(spec.objective.name)
    dim = int(spec.backbone.options["embedding_dim"])
    backbone = (
        FeaturesThrough(data.bank.features)
        if isinstance(data.bank, FeatureBank)
        else BACKBONES.build(spec.backbone, data_root=context.data_root)
    )
    weights_digest = digest_of_weights(spec, backbone)
    layer_norm = bool(spec.backbone.options.get("layer_norm"))
    network = EmbeddingNetwork(backbone, dim, objective_class.normalize, layer_norm)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    supplied = {"num_classes": data.num_classes, "embedding_dim": dim}
    batches = {"labels": data.train_labels.cpu(), "batch_size": spec.training.batch_size}
    miner = MINERS.build(spec.miner, **supplied, **batches) if spec.miner else None
    torch.manual_seed(seed_for(spec.seed, "objective"))
    objective = OBJECTIVES.build(spec.objective, **supplied).to(device)
    torch.manual_seed(seed_for(spec.seed, "regularizer"))
    regularizer = REGULARIZERS.build(spec.regularizer, **supplied).to(device) if spec.regularizer else None
    optimizer, schedule = make_optimizer(
        spec.optimizer, spec.training.epochs, network, *(part for part in (objective, regularizer) if part is not None)
    )
    return Parts(
        spec=spec,
        data=data,
        network=network,
        forward=compiled(network, spec.training.compile),
        backbone_weights=trainable(network.backbone),
        average=MovingAverage(network, spec.training.ema) if spec.training.ema else None,
        objective=objective,
        miner=miner,
        sampler=SAMPLERS.build(spec.sampler, **batches) if spec.sampler else planning(miner),
        regularizer=regularizer,
        optimizer=optimizer,
        schedule=schedule,
        families={split: _families(choices) for split, choices in asked_for(spec).items()},
        device=device,
        teller=teller,
        weights_digest=weights_digest,
    )


def digest_of_weights(spec: RunSpec, backbone: nn.Module) -> str | None:
    """The SHA-256 of a file of weights, or of the tensors of weights that are said by name; None for random ones.

    None also for a frozen backbone with weights by name, whose features were computed before.
    """
    options = spec.backbone.options
    if options.get("weights", "none") == "none" or options.get("weights_sha256"):
        return str(options.get("weights_sha256") or "") or None
    state = backbone.state_dict()
    if not state:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode() + b"\0" + _bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> bytes:
    # As bytes, because numpy does not know every type of torch.
    return tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def _open(spec: RunSpec, context: Context, device: torch.device, teller: Teller) -> TrainingData:
    """The images of a run, or the features of its frozen backbone; while these are computed, the run may be stopped."""

    def tell(done: int, total: int, what: str) -> None:
        if context.should_stop():
            raise Interrupted
        teller.step(what, done, total)

    def features(bank: Bank) -> FeatureBank:
        return feature_bank(bank, recipe_of(spec), context.data_root, context.cache, device, tell)

    place = spec.dataset, context.data_root, context.cache, device, spec.training.augmentation
    return open_data(*place, features if is_frozen(spec) else None, spec.seed, spec.tuned)


def planning(miner: Any) -> Any:
    """A miner that makes the batches, too; raises StudyError for any other, which needs a sampler."""
    if not getattr(miner, "plans", False):
        raise StudyError("a run without a sampler needs a miner that plans its batches, such as 'smart'")
    return miner


def asked_for(spec: RunSpec) -> dict[str, list[Choice]]:
    """Split -> the families that are measured on it."""
    asked = {split: getattr(spec.evaluation, split) for split in SPLITS}
    return asked | ({"validation": spec.tuned.validation} if spec.tuned and spec.tuned.validation else {})


def _families(choices: list[Choice]) -> dict[str, Family]:
    return {choice.name: METRICS.build(choice) for choice in choices}


def part_state(parts: Parts) -> dict[str, Any]:
    """The state of everything that learns or counts, for a checkpoint."""
    return {name: part.state_dict() for name, part in _stateful(parts)}


def load_part_state(parts: Parts, state: dict[str, Any]) -> None:
    """The inverse of `part_state`."""
    for name, part in _stateful(parts):
        part.load_state_dict(state[name])


def _stateful(parts: Parts) -> list[tuple[str, Any]]:
    names = ("network", "average", "objective", "miner", "sampler", "regularizer", "optimizer", "schedule")
    return [(name, getattr(parts, name)) for name in names if hasattr(getattr(parts, name), "state_dict")]
