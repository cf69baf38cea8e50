"""What mining and loss of one training step cost, beside pytorch-metric-learning (needs the extra `pml`).

    python tests/benchmarks/bench_objectives.py

Mining, forward and backward of one batch of 112 (56 classes x 2) in 128 dimensions, float32, 2 threads. The two
libraries take turns, so that a busy machine slows both, and the table shows for each the time that one step in ten
stays below. This is no test: it prints and asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor

from harness.geometry import normalized
from harness.registry import OBJECTIVES, build

CLASSES = 100
DIM = 128
TUPLE_MINERS = ("random", "semihard", "softhard", "hard", "distance_weighted")

Step = Callable[[], Any]


def batch() -> tuple[Tensor, Tensor]:
    """Unit-norm embeddings whose distances look like those of a network in training, and labels 56 x 2."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(56).repeat_interleave(2)
    centers = torch.randn(56, DIM, generator=generator)
    shared = 1.2 * torch.randn(1, DIM, generator=generator)
    return normalized(shared + centers[labels] + 0.7 * torch.randn(112, DIM, generator=generator)), labels


def ours(name: str, miner: str | None, embeddings: Tensor, labels: Tensor, **options: Any) -> Step:
    """Mining, forward and backward of one of our objectives."""
    objective = build("objective", name, num_classes=CLASSES, embedding_dim=DIM, **options)
    mine = build("miner", miner) if miner else None
    generator = torch.Generator().manual_seed(0)
    leaf = embeddings.clone().requires_grad_()

    def step() -> None:
        objective(leaf, labels, mine(leaf, labels, generator) if mine else None).backward()

    return step


def theirs(loss: torch.nn.Module, miner: torch.nn.Module | None, embeddings: Tensor, labels: Tensor) -> Step:
    """Mining, forward and backward of one of theirs."""
    leaf = embeddings.clone().requires_grad_()

    def step() -> None:
        found = loss(leaf, labels, miner(leaf, labels)) if miner else loss(leaf, labels)
        found.backward()

    return step


def comparisons(embeddings: Tensor, labels: Tensor) -> dict[str, tuple[Step, Step | None]]:
    """Name -> our step and, where they have the same method, theirs."""
    euclidean = distances.LpDistance(normalize_embeddings=False)
    squared = distances.LpDistance(normalize_embeddings=False, power=2)
    dot = distances.DotProductSimilarity(normalize_embeddings=False)
    weighted = miners.DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4)
    semihard = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard", distance=euclidean)
    hard = miners.BatchHardMiner(distance=euclidean)
    triplet = losses.TripletMarginLoss(margin=0.2, distance=squared, reducer=reducers.MeanReducer())
    margin = losses.MarginLoss(margin=0.2, beta=1.2, num_classes=CLASSES, learn_beta=True, distance=euclidean)
    contrastive = losses.ContrastiveLoss(distance=euclidean, reducer=reducers.MeanReducer())
    snr = losses.TripletMarginLoss(margin=0.2, distance=distances.SNRDistance(normalize_embeddings=False))
    peers = {
        ("triplet", "distance_weighted"): (triplet, weighted),
        ("triplet", "semihard"): (triplet, semihard),
        ("triplet", "hard"): (triplet, hard),
        ("margin", "distance_weighted"): (margin, weighted),
        ("contrastive", "distance_weighted"): (contrastive, weighted),
        ("snr", "distance_weighted"): (snr, weighted),
        ("multi_similarity", None): (
            losses.MultiSimilarityLoss(distance=dot),
            miners.MultiSimilarityMiner(0.1, distance=dot),
        ),
        ("n_pair", None): (losses.NPairsLoss(), None),
        ("angular", None): (losses.AngularLoss(), None),
        ("generalized_lifted", None): (losses.GeneralizedLiftedStructureLoss(distance=euclidean), None),
        ("histogram", None): (losses.HistogramLoss(64), None),
        ("normalized_softmax", None): (losses.NormalizedSoftmaxLoss(CLASSES, DIM), None),
        ("proxy_nca_plus_plus", None): (losses.ProxyNCALoss(CLASSES, DIM, softmax_scale=9), None),
        ("proxy_anchor", None): (losses.ProxyAnchorLoss(CLASSES, DIM), None),
        ("arcface", None): (losses.ArcFaceLoss(CLASSES, DIM, margin=28.6, scale=16), None),
        ("cosface", None): (losses.CosFaceLoss(CLASSES, DIM), None),
        ("soft_triple", None): (losses.SoftTripleLoss(CLASSES, DIM, centers_per_class=2), None),
    }
    rows: dict[str, tuple[Step, Step | None]] = {}
    for name in OBJECTIVES.names():
        takes_triplets = OBJECTIVES.get(name).takes == "triplets"
        for miner in TUPLE_MINERS if takes_triplets else (None,):
            peer = peers.get((name, miner))
            other = theirs(*peer, embeddings, labels) if peer else None
            rows[f"{name} + {miner}" if miner else name] = (ours(name, miner, embeddings, labels), other)
    for miner, peer in {"distance_weighted": weighted, "semihard": semihard, "hard": hard}.items():
        rows[f"mining alone: {miner}"] = (mining(miner, embeddings, labels), lambda p=peer: p(embeddings, labels))
    for miner in ("random", "softhard", "parametric", "random_label", "intra_class"):
        rows[f"mining alone: {miner}"] = (mining(miner, embeddings, labels), None)
    return rows


def mining(name: str, embeddings: Tensor, labels: Tensor) -> Step:
    """Mining without a loss."""
    miner, generator = build("miner", name), torch.Generator().manual_seed(0)
    return lambda: miner(embeddings, labels, generator)


def quick(first: Step, second: Step | None, repeats: int) -> tuple[float, float | None]:
    """Milliseconds of both that one time in ten is below, measured in turns after a few unmeasured ones."""
    steps = [step for step in (first, second) if step]
    spent: list[list[float]] = [[] for _ in steps]
    for repeat in range(-5, repeats):
        for step, times in zip(steps, spent, strict=True):
            begin = time.perf_counter()
            step()
            if repeat >= 0:
                times.append(1e3 * (time.perf_counter() - begin))
    found = [statistics.quantiles(times, n=10)[0] for times in spent]
    return found[0], found[1] if second else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'':36s} {'ours ms':>8s} {'pml ms':>8s} {'ratio':>6s}")
    for name, (first, second) in comparisons(*batch()).items():
        mine, other = quick(first, second, arguments.repeats)
        print(f"{name:36s} {mine:8.2f}" + ("" if other is None else f" {other:8.2f} {other / mine:6.1f}"))


if __name__ == "__main__":
    main()
