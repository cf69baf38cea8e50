"""Ways of finding the nearest neighbors of a training set in itself: exact, and by an approximate index.

The paper builds a FANNG graph, one vertex a sample, and searches it from each vertex (FOUND). faiss has no FANNG;
HNSW prunes its edges by the same idea, is the quickest of its indexes on a CPU from about 80,000 samples on, and can be
searched from the sample's own vertex as well (MEASURED: same recall, 10% less time). All distances are squared.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import EnvironmentLacks
from harness.faiss_loader import faiss_shares_gpu, load_faiss
from harness.geometry import squared_distances
from harness.miners._members import Ints

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Squared distances [q, k], nearest first, and samples [q, k]; -1 where there is none."""

DEVICE_BYTES = 1 << 29
"""Of distances that an exact search on a GPU holds at a time."""


class Searcher(Protocol):
    """Neighbors of samples by their numbers; `effort` trades time for recall where the search is approximate."""

    exact: bool
    effort: int

    def find(self, samples: Ints, k: int) -> Found:
        """The k nearest of each sample, itself most often among them."""


def searcher(kind: str, rows: Tensor, effort: int | None, k: int) -> Searcher:
    """An index over rows [n, D] of finite float32; building it is the costly part of an approximate one.

    Raises RuntimeError or MemoryError when faiss cannot, EnvironmentLacks when it is not there.
    """
    if kind == "flat":
        return _ExactOnDevice(rows) if rows.is_cuda else _Exact(rows)
    makers: dict[str, Any] = {"hnsw": _Hnsw, "ivf": _Ivf, "cagra": _Cagra}
    made: Searcher = makers[kind](rows, effort, k)
    return made


def has_cagra() -> bool:
    """Whether faiss has the graph index of cuVS and a GPU that it can share with torch."""
    try:
        faiss = load_faiss()
    except EnvironmentLacks:
        return False
    return "CUVS" in faiss.get_compile_options() and faiss_shares_gpu()


class _Exact:
    """Brute force on the CPU, by faiss."""

    exact = True
    effort = 0

    def __init__(self, rows: Tensor) -> None:
        self.faiss = load_faiss()
        self.rows = as_array(rows)

    def find(self, samples: Ints, k: int) -> Found:
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        distances, found = self.faiss.knn(taken(self.rows, samples), self.rows, k)
        return distances, found


class _ExactOnDevice:
    """Brute force on the GPU, by torch: whatever build of faiss is installed."""

    exact = True
    effort = 0

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def find(self, samples: Ints, k: int) -> Found:
        chosen = torch.from_numpy(samples).to(self.rows.device)
        parts = []
        for some in torch.split(chosen, max(1, DEVICE_BYTES // (4 * len(self.rows)))):
            nearest = squared_distances(self.rows[some], self.rows).topk(k, largest=False)
            parts.append((nearest.values.cpu().numpy(), nearest.indices.cpu().numpy()))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


class _Hnsw:
    """HNSW, searched on its lowest level from the sample's own vertex.

    Built by several threads it is not the same bit by bit each time; with one thread it is.
    """

    exact = False

    def __init__(self, rows: Tensor, effort: int | None, k: int) -> None:
        self.faiss = load_faiss()
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        self.rows = as_array(rows)
        links = 32 if len(self.rows) <= 150_000 else 24
        self.index = self.faiss.IndexHNSWFlat(self.rows.shape[1], links)
        self.index.hnsw.efConstruction = 2 * links
        self.index.add(self.rows)
        self.effort = max(effort or 0, k + 1)

    def find(self, samples: Ints, k: int) -> Found:
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        queries, number = taken(self.rows, samples), len(samples)
        begin, nothing = samples.astype(np.int32), np.zeros(number, dtype=np.float32)
        distances = np.full((number, k), np.inf, dtype=np.float32)
        found = np.full((number, k), -1, dtype=np.int64)
        pointer = self.faiss.swig_ptr
        parameters = self.faiss.SearchParametersHNSW(efSearch=self.effort)
        self.index.search_level_0(
            number,
            pointer(queries),
            k,
            pointer(begin),
            pointer(nothing),
            pointer(distances),
            pointer(found),
            1,  # one starting point each
            1,  # which is searched by itself
            parameters,
        )
        return distances, found


class _Ivf:
    """Inverted lists: less memory and time than a graph, less recall; `effort` is how many lists are looked into."""

    exact = False

    def __init__(self, rows: Tensor, effort: int | None, k: int) -> None:
        self.faiss = load_faiss()
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        self.rows = as_array(rows)
        lists = 2 ** round(np.log2(2 * np.sqrt(len(self.rows))))
        self.coarse = self.faiss.IndexFlatL2(self.rows.shape[1])
        self.index = self.faiss.IndexIVFFlat(self.coarse, self.rows.shape[1], lists)
        self.index.cp.min_points_per_centroid = 1  # so few are no reason for a warning
        self.index.train(self.rows)
        self.index.add(self.rows)
        self.effort = effort or 64

    def find(self, samples: Ints, k: int) -> Found:
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        self.index.nprobe = min(self.effort, self.index.nlist)
        distances, found = self.index.search(taken(self.rows, samples), k)
        return distances, found


class _Cagra:
    """The graph index of cuVS on a GPU. ESTIMATE: for more than a million samples; not measured."""

    exact = False

    def __init__(self, rows: Tensor, effort: int | None, k: int) -> None:
        if not has_cagra():
            raise RuntimeError("faiss was built without cuVS, or cannot share the GPU; `index: auto` would be right")
        self.faiss = load_faiss()
        self.rows = as_array(rows)
        resources, config = self.faiss.StandardGpuResources(), self.faiss.GpuIndexCagraConfig()
        self.index = self.faiss.GpuIndexCagra(resources, self.rows.shape[1], self.faiss.METRIC_L2, config)
        self.resources = resources
        self.index.train(self.rows)
        self.effort = max(effort or 0, 32 * -(-(k + 1) // 32))

    def find(self, samples: Ints, k: int) -> Found:
        parameters = self.faiss.SearchParametersCagra(itopk_size=self.effort)
        distances, found = self.index.search(taken(self.rows, samples), k, params=parameters)
        return distances, found


def taken(rows: NDArray[np.float32], samples: Ints) -> NDArray[np.float32]:
    """The rows of some samples, without a copy where they follow one another."""
    if len(samples) and samples[-1] - samples[0] == len(samples) - 1 and bool((np.diff(samples) == 1).all()):
        return rows[samples[0] : samples[-1] + 1]
    return np.ascontiguousarray(rows[samples])


def as_array(rows: Tensor) -> NDArray[np.float32]:
    """A tensor as faiss wants it."""
    array: NDArray[np.float32] = np.ascontiguousarray(rows.cpu().numpy(), dtype=np.float32)
    return array
