"""Exact ranks of positives where queries look into a gallery of other samples (In-Shop Clothes Retrieval)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.metrics._ranks import RankBlock, ranks_in_rows, rows_in_block, scaled


def gallery_ranks(
    queries: Tensor,
    query_labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    itself: Tensor,
    block: int | None = None,
) -> Iterator[RankBlock]:
    """Ranks of the positives in the gallery of all queries that have one there.

    Queries [Q, D], gallery [G, D], their labels [Q] and [G]; `itself` [Q] is the place of the query itself in the
    gallery, which is left out of its ranking, or -1.
    """
    both = scaled(torch.cat([queries, gallery]))
    queries = both[: len(queries)]
    # One more sample, infinitely far from all: what a query that is not in the gallery leaves out instead of itself.
    gallery = torch.cat([both[len(queries) :], both.new_zeros(1, both.shape[1])])
    half = gallery.square().sum(1) / 2
    half[-1] = torch.inf
    itself = torch.where(itself < 0, len(gallery) - 1, itself)
    rows = rows_in_block(queries, len(gallery), block)
    memory = gallery.new_empty(2, rows, len(gallery))
    for chosen, positives in positives_in(gallery_labels, query_labels, itself, rows):
        distances, ordered = memory[:, : len(chosen)]
        torch.addmm(half, queries[chosen], gallery.T, alpha=-1, out=distances)
        yield RankBlock(chosen, ranks_in_rows(distances, itself[chosen], positives, ordered))


def positives_in(
    gallery_labels: Tensor, query_labels: Tensor, itself: Tensor, rows: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Queries [b], b <= rows, that have equally many positives, with the places [b, R] of these in the gallery."""
    by_class = gallery_labels.argsort(stable=True)
    ordered = gallery_labels[by_class]
    start = torch.searchsorted(ordered, query_labels)
    count = torch.searchsorted(ordered, query_labels, right=True) - start
    place = torch.full((len(by_class) + 1,), len(by_class), device=by_class.device)
    place[by_class] = torch.arange(len(by_class), device=by_class.device)
    skipped = place[itself] - start
    inside = (skipped >= 0) & (skipped < count)
    number = count - inside.long()
    for positives in sorted(set(number.tolist()) - {0}):
        others = torch.arange(positives, device=by_class.device)
        for chosen in (number == positives).nonzero().squeeze(1).split(rows):
            step = inside[chosen, None] & (others >= skipped[chosen, None])
            yield chosen, by_class[start[chosen, None] + others + step]
