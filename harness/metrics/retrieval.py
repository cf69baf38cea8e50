"""Retrieval: how well the nearest neighbors of a sample are of its own class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.errors import DataError
from harness.geometry import normalized
from harness.measured import Measured, checked, classes_of
from harness.metrics._gallery import gallery_ranks
from harness.metrics._neighbors import near_ranks
from harness.metrics._ranks import RankBlock, full_ranks
from harness.registry import METRICS

AtLeastOne = Annotated[int, Field(ge=1)]


@METRICS.register("retrieval")
class Retrieval:
    """Means over all queries; a query ranks all other samples by distance, equal distances by index.

    With f samples in the query's class, R = f - 1 positives and the i-th positive found at rank r_i, the precision
    there is i / r_i, and

    recall_at_k   1 if r_1 <= k else 0                               (Jegou et al., 2011)
    r_precision   number of r_i <= R, / R
    map_at_r      sum of i / r_i over r_i <= R, / R                  (Musgrave et al., 2020)
    map_at_c      sum of i / r_i over r_i <= f, / f                  (Roth et al., 2020, their "mAP")
    map_at_1000   sum of i / r_i over r_i <= 1000, / min(R, 1000)
    map           sum of i / r_i over all i, / R

    map_at_c is as published: the class size counts the query itself, so that a perfect ranking scores R / f, not 1.
    The published code divides map_at_1000 and map by f, too; ours score 1 for a perfect ranking. `both_divisors` adds
    map_at_c_corrected (divisor R), map_at_1000_published and map_published (divisor f).
    map needs the whole ranking and is given for sets of at most `full_ranking_up_to` samples.
    A sample that is the only one of its class has no positive: it is no query (the published code counts it as a
    miss) and is counted in queries_excluded, but stays in the rankings of the others.

    Worked by hand, four samples on a line: A at 0, B at 1, A at 3 and A at 4. B is alone and no query; for A, f = 3
    and R = 2.

    query    ranking    r_i    recall_at_1  r_precision  map_at_r         map_at_c              map
    A at 0   B A A      2, 3   0            1/2          (1/2) / 2        (1/2 + 2/3) / 3       (1/2 + 2/3) / 2
    A at 3   A B A      1, 3   1            1/2          (1/1) / 2        (1/1 + 2/3) / 3       (1/1 + 2/3) / 2
    A at 4   A B A      1, 3   1            1/2          (1/1) / 2        (1/1 + 2/3) / 3       (1/1 + 2/3) / 2
    mean                       2/3          1/2          5/12             1/2                   3/4

    mean_average_precision_at_r of pytorch-metric-learning is map_at_r, 5/12. The published code, which counts B as a
    query with 0, reports 3/4 of our map_at_c, 3/8, as "mAP@C".
    """

    revision = 1
    definitions: ClassVar[dict[str, str]] = {
        "recall_at_<k>": "share of queries with r_1 <= k, r_i the rank of the i-th of a query's R positives; "
        "Jegou et al., 2011",
        "r_precision": "mean of (number of r_i <= R) / R; Manning et al., 2008, section 8.4",
        "map_at_r": "mean of (sum of i / r_i over r_i <= R) / R; Musgrave et al., 2020",
        "map_at_c": 'mean of (sum of i / r_i over r_i <= f) / f, f = R + 1; Roth et al., 2020, their "mAP"',
        "map_at_1000": "mean of (sum of i / r_i over r_i <= 1000) / min(R, 1000); the code of Roth et al., 2020, "
        "with the divisor that gives 1 for a perfect ranking",
        "map": "mean of (sum of i / r_i over all i) / R, in sets of at most full_ranking_up_to; "
        "Manning et al., 2008, section 8.4",
        "map_at_c_corrected": "mean of (sum of i / r_i over r_i <= f) / R, f = R + 1; map_at_c, but 1 for a perfect "
        "ranking",
        "map_at_1000_published": "mean of (sum of i / r_i over r_i <= 1000) / f, f = R + 1; the code of "
        "Roth et al., 2020",
        "map_published": "mean of (sum of i / r_i over all i) / f, f = R + 1, in sets of at most full_ranking_up_to; "
        "the code of Roth et al., 2020",
        "queries_excluded": "number of samples that are alone in their class (R = 0) and no query; our count",
    }

    def __init__(
        self,
        *,
        k: list[AtLeastOne] = [1, 2, 4, 8],  # noqa: B006 - the signature is the schema; never changed
        distance: Literal["euclidean", "cosine"] = "euclidean",
        both_divisors: bool = False,
        full_ranking_up_to: int = 10_000,
    ) -> None:
        self.k = sorted(set(k) | {1})
        self.distance = distance
        self.both_divisors = both_divisors
        self.full_ranking_up_to = full_ranking_up_to
        extra = ("map_at_c_corrected", "map_at_1000_published", "map_published") if both_divisors else ()
        recalls = tuple(f"recall_at_{k}" for k in self.k)
        self._means = (*recalls, "r_precision", "map_at_r", "map_at_c", "map_at_1000", "map", *extra)
        self.names = (*self._means, "queries_excluded")

    def __call__(self, embeddings: Tensor, labels: Tensor, seed: int) -> Measured:
        """Measures embeddings [N, D] with labels int64 [N]; the seed plays no part."""
        embeddings, labels = checked(embeddings, labels)
        if self.distance == "cosine":
            embeddings = normalized(embeddings)
        whole = len(labels) <= self.full_ranking_up_to
        blocks = full_ranks(embeddings, labels) if whole else near_ranks(embeddings, labels, max(1000, *self.k))
        return self._summary(self._all_scores(blocks, labels), labels, whole)

    def between(
        self,
        queries: Tensor,
        query_labels: Tensor,
        gallery: Tensor,
        gallery_labels: Tensor,
        ids: tuple[Tensor, Tensor] | None = None,
    ) -> Measured:
        """Queries [Q, D] that rank a gallery [G, D], as in In-Shop; f counts the query and its positives there.

        `ids`, int64 [Q] and [G], tell which samples are in both; a query never finds itself.
        """
        queries, query_labels = checked(queries, query_labels)
        gallery, gallery_labels = checked(gallery, gallery_labels)
        if self.distance == "cosine":
            queries, gallery = normalized(queries), normalized(gallery)
        itself = torch.full_like(query_labels, -1) if ids is None else places(*ids).to(query_labels.device)
        blocks = gallery_ranks(queries, query_labels, gallery, gallery_labels, itself)
        return self._summary(self._all_scores(blocks, query_labels), query_labels, whole=True)

    def _all_scores(self, blocks: Iterable[RankBlock], labels: Tensor) -> Tensor:
        """All values of all queries, [metrics, N]; nan for what is no query."""
        scores = torch.full((len(self._means), len(labels)), torch.nan, dtype=torch.float64, device=labels.device)
        for block in blocks:
            scores[:, block.queries] = torch.stack(list(self._scores(block)))
        return scores

    def _scores(self, block: RankBlock) -> Iterator[Tensor]:
        """One value a query, [b] each, in the order of the names."""
        ranks = block.ranks
        positives = ranks.shape[1]
        precision = torch.arange(1, positives + 1, dtype=torch.float64, device=ranks.device) / ranks
        for k in self.k:
            yield (ranks[:, 0] <= k).double()
        yield (ranks <= positives).double().mean(1)
        at_r, at_c, at_1000, at_all = (
            torch.where(ranks <= cutoff, precision, 0).sum(1)
            for cutoff in (positives, positives + 1, 1000, torch.iinfo(ranks.dtype).max)
        )
        published = positives + 1
        yield at_r / positives
        yield at_c / published
        yield at_1000 / min(positives, 1000)
        yield at_all / positives
        if self.both_divisors:
            yield at_c / positives
            yield at_1000 / published
            yield at_all / published

    def _summary(self, scores: Tensor, labels: Tensor, whole: bool) -> Measured:
        queries = ~scores[0].isnan()
        if not bool(queries.any()):
            raise DataError("retrieval needs a class with two samples; no query has a positive")
        means = dict(zip(self._means, scores[:, queries].mean(1).tolist(), strict=True))
        if not whole:
            means = {name: value for name, value in means.items() if name not in ("map", "map_published")}
        kept = {name: scores[self._means.index(name)] for name in ("recall_at_1", "map_at_r")}
        return Measured(
            means | {"queries_excluded": float((~queries).sum())},
            per_class={name: class_means(score[queries], labels[queries]) for name, score in kept.items()},
            per_query={name: score.half().cpu().numpy() for name, score in kept.items()},
        )


def places(wanted: Tensor, ids: Tensor) -> Tensor:
    """Where each wanted id [Q] stands among unique ids [G]; -1 where it does not: int64 [Q]."""
    order = ids.argsort()
    found = order[torch.searchsorted(ids[order], wanted).clamp_max(len(ids) - 1)]
    return torch.where(ids[found] == wanted, found, -1)


def class_means(scores: Tensor, labels: Tensor) -> dict[int, float]:
    """Label -> mean of the scores [n] with that label [n]."""
    classes, index, counts = classes_of(labels)
    sums = torch.zeros(len(classes), dtype=scores.dtype, device=scores.device).index_add_(0, index, scores)
    return dict(zip(classes.tolist(), (sums / counts).tolist(), strict=True))
