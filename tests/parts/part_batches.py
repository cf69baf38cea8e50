"""Small batches, and how the tests of parts ask for them."""

import torch

from harness.geometry import normalized
from harness.registry import build
from harness.tuples import Triplets


def balanced_batch(classes=4, per_class=2, dim=8, dtype=torch.float32, seed=0):
    """Unit-norm embeddings and labels: some classes, the same number of samples each, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(classes * per_class, dim, dtype=dtype, generator=generator)
    labels = torch.arange(classes).repeat_interleave(per_class)
    return normalized(embeddings), labels[torch.randperm(len(labels), generator=generator)]


def uneven_batch(labels, dim=5, seed=0):
    """Embeddings of length 0.5 to 1.5 in float64 for these labels."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = normalized(torch.randn(len(labels), dim, dtype=torch.float64, generator=generator))
    lengths = 0.5 + torch.rand(len(labels), 1, dtype=torch.float64, generator=generator)
    return embeddings * lengths, torch.tensor(labels)


def drawn_by(miner, embeddings, labels, seed=0, **options):
    """What a miner gives for a batch."""
    return build("miner", miner, **options)(embeddings, labels, torch.Generator().manual_seed(seed))


def all_triplets(labels):
    """Every valid triplet of a batch."""
    size = range(len(labels))
    rows = [
        (a, p, n)
        for a in size
        for p in size
        for n in size
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]
    return Triplets(*torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).T)


def inputs_of(objective, embeddings, labels):
    """The tuples an objective should be tried with: those of the batch, and none where it takes none."""
    tuples = [all_triplets(labels.tolist())]
    return tuples if objective.takes == "triplets" else [None, *tuples]
