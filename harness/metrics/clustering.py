"""Clustering: how well k-means finds the classes (normalized and adjusted mutual information, pairwise F1)."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.faiss_loader import faiss_shares_gpu, load_faiss
from harness.measured import Measured, checked, classes_of
from harness.metrics._agreement import agreement
from harness.registry import METRICS
from harness.seeding import seed_for


@METRICS.register("clustering")
class Clustering:
    """K-means with as many clusters as there are classes present, on the embeddings as given, against the classes.

    The protocol is the published one (Roth et al., 2020): Euclidean, `iterations` = 20, one start, no subsampling; the
    start depends on the run's seed, where the published code has one fixed seed. It clusters into the number of
    training classes, also on the test set; ours takes the classes that are there.

    nmi   mutual information / arithmetic mean of both entropies
    ami   the same, adjusted for chance (Vinh et al., 2010)
    f1    2 TP / (A + B), with TP the pairs of samples together in class and cluster, A those together in a class,
          B those together in a cluster; nan where there is no pair at all
    """

    names = ("nmi", "ami", "f1")
    revision = 1
    definitions: ClassVar[dict[str, str]] = {
        "nmi": "I / ((H(class) + H(cluster)) / 2), I the mutual information; Vinh et al., 2010, NMI by the sum",
        "ami": "(I - E[I]) / ((H(class) + H(cluster)) / 2 - E[I]), E over assignments with the same sizes; "
        "Vinh et al., 2010",
        "f1": "2 TP / (A + B), pairs together in both, in a class, in a cluster; Manning et al., 2008, section 16.3",
    }

    def __init__(self, *, iterations: int = 20) -> None:
        self.iterations = iterations

    def __call__(self, embeddings: Tensor, labels: Tensor, seed: int) -> Measured:
        """Measures embeddings [N, D] with labels int64 [N]; the seed decides on the start of k-means."""
        embeddings, labels = checked(embeddings, labels)
        present, index, _ = classes_of(labels)
        start = seed_for(seed, "kmeans") % 2**31
        gpu = embeddings.is_cuda and faiss_shares_gpu()
        clusters = kmeans(embeddings.float().cpu().numpy(), len(present), self.iterations, start, gpu)
        return Measured(agreement(index.cpu().numpy(), clusters))


def kmeans(rows: np.ndarray, number: int, iterations: int, seed: int, gpu: bool = False) -> np.ndarray:
    """The cluster of each row: float32 [N, D] -> int64 [N], values in 0..number-1.

    Both devices start from the same rows; what a GPU refuses (its memory is full, it is too old for the build of
    faiss) is computed on the CPU, with a warning.
    """
    rows = np.ascontiguousarray(rows)
    if gpu:
        try:
            return _kmeans(rows, number, iterations, seed, gpu=True)
        except RuntimeError as error:
            warnings.warn(f"k-means runs on the CPU, because faiss cannot use the GPU: {error}", stacklevel=2)
    return _kmeans(rows, number, iterations, seed, gpu=False)


def _kmeans(rows: np.ndarray, number: int, iterations: int, seed: int, gpu: bool) -> np.ndarray:
    faiss = load_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    means = faiss.Kmeans(
        rows.shape[1],
        number,
        niter=iterations,
        nredo=1,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
        gpu=1 if gpu else False,  # the number of GPUs: a worker sees one
    )
    means.train(rows)
    return np.asarray(means.index.search(rows, 1)[1][:, 0])
