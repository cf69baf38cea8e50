"""Exact ranks of all positives in the ranking of each query, from which every number about retrieval follows.

A query ranks all other samples by distance; the rank of a positive is 1 + the number of samples that are closer. Equal
distances are ranked by index, so that the answer never depends on how the work is cut. Queries of classes of one size
have equally many positives; they form rectangles, and nothing here is ragged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.measured import classes_of

BLOCK = 1 << 20
"""Distances held at a time on the CPU: in float32 4 MiB, which stay in the cache between the steps."""

GPU_BLOCK = 1 << 24
"""Distances held at a time elsewhere: rows enough to occupy a GPU, and with what sorts them well below 1 GiB."""


@dataclass(frozen=True)
class RankBlock:
    """Some queries of classes of one size: positions [b] and the ascending 1-based ranks [b, R] of their positives."""

    queries: Tensor
    ranks: Tensor


def full_ranks(
    embeddings: Tensor, labels: Tensor, block: int | None = None, queries: Tensor | None = None
) -> Iterator[RankBlock]:
    """Ranks of all positives of all queries that have one, or of those in the mask `queries` [N].

    Embeddings [N, D], labels [N]. Sorts whole rows of the distance matrix, `block` distances at a time (by default
    as many as suit the device).
    """
    embeddings = scaled(embeddings)
    half = half_norms(embeddings)
    rows = rows_in_block(embeddings, len(embeddings), block)
    # Memory that is used again and again: fresh pages for every block would cost more than the products.
    distances, ordered = embeddings.new_empty(2, rows, len(embeddings))
    for members in classes_by_size(labels):
        for chosen, positives in rectangles(members, rows, queries):
            # Half the squared distance without the query's own norm, which is the same for its whole row.
            strip = distances[: len(chosen)]
            torch.addmm(half, embeddings[chosen], embeddings.T, alpha=-1, out=strip)
            yield RankBlock(chosen, ranks_in_rows(strip, chosen, positives, ordered[: len(chosen)]))


def rows_in_block(queries: Tensor, columns: int, block: int | None = None) -> int:
    """How many rows of so many distances make a block; at least one, and no more than there are queries [Q, D]."""
    block = block or (BLOCK if queries.device.type == "cpu" else GPU_BLOCK)
    return min(max(1, block // columns), len(queries))


def scaled(embeddings: Tensor) -> Tensor:
    """The embeddings or, if they are huge or tiny, the embeddings times a power of two.

    That is exact, and no square overflows or vanishes.
    """
    smallest, largest = embeddings.aminmax()
    _, exponent = torch.frexp(torch.maximum(-smallest, largest))
    return embeddings if abs(int(exponent)) < 32 else torch.ldexp(embeddings, -exponent)


def half_norms(embeddings: Tensor) -> Tensor:
    """Half the squared norm of each row: [N, D] -> [N]. In parts, because the squares need as much memory again."""
    return torch.cat([rows.square().sum(1) / 2 for rows in embeddings.split(8192)])  # type: ignore[no-untyped-call]


def classes_by_size(labels: Tensor) -> Iterator[Tensor]:
    """Positions of the samples of classes with two samples or more: for each size f an int64 tensor [classes, f]."""
    _, index, counts = classes_of(labels)
    by_class = index.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    for size in sorted(set(counts.tolist())):
        if size > 1:
            first = starts[counts == size]
            yield by_class[first[:, None] + torch.arange(size, device=labels.device)]


def rectangles(members: Tensor, rows: int, queries: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Queries [b], b <= rows, with the positions [b, f - 1] of their positives: members [classes, f], mask [N]."""
    size = members.shape[1]
    others = torch.arange(size - 1, device=members.device)
    numbers = torch.arange(members.numel(), device=members.device)
    if queries is not None:
        numbers = numbers[queries[members.flatten()]]
    for start in range(0, len(numbers), rows):
        number = numbers[start : start + rows]
        of_class, place = number // size, number % size
        # The others of a class are all its places but the query's own.
        positives = members[of_class[:, None], others + (others >= place[:, None])]
        yield members[of_class, place], positives


def ranks_in_rows(distances: Tensor, queries: Tensor, positives: Tensor, ordered: Tensor) -> Tensor:
    """Ascending ranks of the positives [b, R] in rows of distances [b, N], without the query itself; -> int64 [b, R].

    `ordered` [b, N] is memory to sort in.
    """
    distances.scatter_(1, queries[:, None], torch.inf)
    if distances.device.type != "cpu" or distances.dtype != torch.float32:
        return ranks_by_index(distances, positives)
    wanted = distances.gather(1, positives).sort(1).values
    ordered.copy_(distances).numpy().sort(axis=1)
    below = torch.searchsorted(ordered, wanted)
    # The query's own infinity stands last, so there is always a next one.
    tied = (ordered.gather(1, below + 1) == wanted).any(1)
    ranks = below + 1
    if bool(tied.any()):
        ranks[tied] = ranks_by_key(distances[tied], positives[tied])
    return ranks


def ranks_by_index(distances: Tensor, positives: Tensor) -> Tensor:
    """As `ranks_in_rows`, by a stable argsort: slower, for any device and type."""
    order = distances.argsort(dim=1, stable=True)
    places = torch.empty_like(order)
    places.scatter_(1, order, torch.arange(1, order.shape[1] + 1, device=order.device).expand_as(order))
    return places.gather(1, positives).sort(1).values


def ranks_by_key(distances: Tensor, positives: Tensor) -> Tensor:
    """As `ranks_in_rows`, for float32 rows with ties: sorts integers made of the distance and, below it, the index."""
    keys = ordered_bits(distances.numpy()).astype(np.int64) << 32
    keys |= np.arange(keys.shape[1])
    all_keys = torch.from_numpy(keys)
    wanted = all_keys.gather(1, positives).sort(1).values
    return torch.searchsorted(torch.from_numpy(np.sort(keys, axis=1)), wanted) + 1


def ordered_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Integers in the order of float32 values: the bits as they are, but those of negative numbers reversed."""
    # Adding zero turns -0.0, which equals 0.0 but has other bits, into 0.0.
    bits = (values + np.float32(0)).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
