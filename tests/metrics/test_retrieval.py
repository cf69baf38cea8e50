"""Retrieval against its definitions written as loops."""

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError, OptionError
from harness.metrics import _ranks
from harness.metrics.retrieval import Retrieval
from harness.registry import METRICS


def ranking(rows: list[list[float]], query: int) -> list[int]:
    """All other samples, nearest first, equal distances by index."""
    others = [i for i in range(len(rows)) if i != query]
    return sorted(others, key=lambda i: (sum((a - b) ** 2 for a, b in zip(rows[query], rows[i], strict=True)), i))


def average_precision(hits: list[bool], cutoff: int, divisor: int) -> float:
    total = 0.0
    for place in range(min(cutoff, len(hits))):
        if hits[place]:
            total += sum(hits[: place + 1]) / (place + 1)
    return total / divisor


def as_loops(rows: list[list[float]], labels: list[int], k: list[int]) -> dict[str, float]:
    """Every number of the family from its definition, for embeddings whose distances are exact."""
    scores: dict[str, list[float]] = {}
    for query, label in enumerate(labels):
        hits = [labels[i] == label for i in ranking(rows, query)]
        positives, size = sum(hits), sum(hits) + 1
        if positives == 0:
            continue
        numbers = {
            **{f"recall_at_{n}": float(any(hits[:n])) for n in k},
            "r_precision": sum(hits[:positives]) / positives,
            "map_at_r": average_precision(hits, positives, positives),
            "map_at_c": average_precision(hits, size, size),
            "map_at_1000": average_precision(hits, 1000, min(positives, 1000)),
            "map": average_precision(hits, len(hits), positives),
            "map_at_c_corrected": average_precision(hits, size, positives),
            "map_at_1000_published": average_precision(hits, 1000, size),
            "map_published": average_precision(hits, len(hits), size),
        }
        for name, value in numbers.items():
            scores.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    return means | {"queries_excluded": float(sum(labels.count(label) == 1 for label in labels))}


coordinates = st.integers(-2, 2).map(float)  # few values: many ties and duplicates, and exact in float32
samples = st.integers(2, 24).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(coordinates, min_size=2, max_size=2), min_size=n, max_size=n),
        st.lists(st.integers(-3, 5), min_size=n, max_size=n).filter(lambda labels: len(set(labels)) < len(labels)),
    )
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(samples, st.sampled_from([torch.float32, torch.float64]))
def test_all_numbers_agree_with_their_definitions_under_ties_duplicates_and_lone_classes(sample, dtype):
    rows, labels = sample
    measured = Retrieval(k=[1, 2, 3], both_divisors=True)(torch.tensor(rows, dtype=dtype), torch.tensor(labels), 0)
    assert measured.values == pytest.approx(as_loops(rows, labels, [1, 2, 3]), abs=1e-12)


def test_map_at_1000_cuts_and_divides_at_1000():
    # One dimension: the query 0 sees 600 others, then its 1500 positives one after the other.
    rows = torch.tensor([0.0, *range(10, 610), *range(1000, 2500)], dtype=torch.float64)[:, None]
    labels = torch.tensor([0] + [1] * 600 + [0] * 1500)
    ranks = next(b.ranks[b.queries == 0][0] for b in _ranks.full_ranks(rows, labels) if (b.queries == 0).any())
    assert ranks.tolist() == list(range(601, 2101))
    score = Retrieval(both_divisors=True)
    block = _ranks.RankBlock(torch.tensor([0]), ranks[None])
    numbers = dict(zip(score.names, (float(v) for v in score._scores(block)), strict=False))
    expected = sum(i / (600 + i) for i in range(1, 401))
    assert numbers["map_at_1000"] == pytest.approx(expected / 1000)
    assert numbers["map_at_1000_published"] == pytest.approx(expected / 1501)


def test_a_perfect_ranking_scores_one_but_for_the_published_divisor():
    embeddings = torch.eye(3).repeat_interleave(4, 0)
    values = Retrieval(both_divisors=True)(embeddings, torch.arange(3).repeat_interleave(4), 0).values
    published = {"map_at_c", "map_at_1000_published", "map_published"}
    assert {name for name, value in values.items() if value == pytest.approx(0.75)} == published
    assert {name for name, value in values.items() if value == 1} == set(values) - published - {"queries_excluded"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_size_of_the_blocks_changes_nothing(dtype):
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randint(-3, 4, (90, 3), generator=generator).to(dtype)
    labels = torch.randint(0, 12, (90,), generator=generator)

    def ranks(block: int) -> list[tuple[int, list[int]]]:
        blocks = _ranks.full_ranks(embeddings, labels, block)
        return [(int(q), r.tolist()) for b in blocks for q, r in zip(b.queries, b.ranks, strict=True)]

    whole = ranks(10**6)
    assert ranks(1) == ranks(500) == whole
    assert sorted(query for query, _ in whole) == [i for i in range(90) if (labels == labels[i]).sum() > 1]


def test_ties_are_ranked_by_index():
    # The positive of sample 0 lies as far as both others; it is ranked between them.
    embeddings = torch.tensor([[0.0], [1.0], [-1.0], [1.0]])
    block = next(_ranks.full_ranks(embeddings, torch.tensor([7, 1, 7, 2])))
    assert block.queries.tolist() == [0, 2]
    assert block.ranks.tolist() == [[2], [1]]


def test_a_duplicate_is_a_neighbor_and_the_query_is_not():
    # The nearest neighbor of every sample is its copy in the other class: dropping the first hit would find it right.
    embeddings = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).repeat(2, 1)
    labels = torch.tensor([0] * 10 + [1] * 10)
    assert Retrieval()(embeddings, labels, 0).values["recall_at_1"] == 0


def test_a_collapsed_network_ranks_by_index():
    labels = [0, 0, 1, 1, 2, 2]
    values = Retrieval()(torch.ones(6, 3), torch.tensor(labels), 0).values
    loops = as_loops([[1.0] * 3] * 6, labels, [1, 2, 4, 8])
    assert values == pytest.approx({name: loops[name] for name in values})
    assert values["recall_at_1"] == pytest.approx(1 / 3)


def test_huge_and_tiny_embeddings_rank_as_ordinary_ones():
    embeddings = torch.randn(40, 5, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(40) % 5
    expected = Retrieval()(embeddings, labels, 0).values
    for power in (100, -100):
        assert Retrieval()(embeddings * 2.0**power, labels, 0).values == expected


def test_cosine_ignores_lengths_and_euclidean_does_not():
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    labels = torch.arange(60) % 6
    stretched = embeddings * torch.rand(60, 1, generator=generator, dtype=torch.float64).add(0.1)
    cosine = Retrieval(distance="cosine")
    assert cosine(stretched, labels, 0).values == pytest.approx(cosine(embeddings, labels, 0).values)
    assert Retrieval()(stretched, labels, 0).values != pytest.approx(Retrieval()(embeddings, labels, 0).values)


def test_values_of_classes_and_queries_are_parts_of_the_mean():
    generator = torch.Generator().manual_seed(4)
    embeddings = torch.randn(30, 3, generator=generator)
    labels = torch.tensor([5] * 12 + [-2] * 17 + [9])
    measured = Retrieval()(embeddings, labels, 0)
    for name in ("recall_at_1", "map_at_r"):
        by_class, by_query = measured.per_class[name], measured.per_query[name]
        assert set(by_class) == {5, -2}
        assert (12 * by_class[5] + 17 * by_class[-2]) / 29 == pytest.approx(measured.values[name])
        assert np.isnan(by_query[29])
        assert by_query[:12].mean() == pytest.approx(by_class[5], abs=1e-3)
    assert measured.values["queries_excluded"] == 1


def test_the_example_of_the_docstring_is_right():
    values = Retrieval()(torch.tensor([[0.0], [1.0], [3.0], [4.0]]), torch.tensor([0, 1, 0, 0]), 0).values
    table = [line.split() for line in Retrieval.__doc__.splitlines() if re.match(r" +(query|mean) ", line)]
    names, means = table[0][3:], [Fraction(mean) for mean in table[1][1:]]
    worked = {name: float(mean) for name, mean in zip(names, means, strict=True)}
    assert len(worked) == 5
    assert {name: values[name] for name in worked} == pytest.approx(worked)
    assert values["queries_excluded"] == 1


def test_a_gallery_of_all_samples_is_the_set_itself():
    generator = torch.Generator().manual_seed(5)
    embeddings = torch.randint(-2, 3, (80, 3), generator=generator).float()
    labels = torch.randint(0, 30, (80,), generator=generator)
    shuffled = torch.randperm(80, generator=generator)
    family = Retrieval(both_divisors=True)
    expected = family(embeddings, labels, 0).values
    ids = torch.arange(80) * 7
    assert family.between(embeddings, labels, embeddings, labels, ids=(ids, ids)).values == expected
    # Queries in another order find themselves by id, not by position.
    measured = family.between(embeddings[shuffled], labels[shuffled], embeddings, labels, ids=(ids[shuffled], ids))
    assert measured.values == pytest.approx(expected)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_gallery_apart_agrees_with_its_definition_written_as_a_loop(distance):
    generator = torch.Generator().manual_seed(6)
    queries, gallery = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (20, 50))
    query_labels, gallery_labels = (torch.randint(0, 9, (n,), generator=generator) for n in (20, 50))
    query_labels[0] = 99  # not in the gallery
    values = Retrieval(k=[1, 5], distance=distance).between(queries, query_labels, gallery, gallery_labels).values
    if distance == "cosine":
        queries, gallery = (rows / rows.norm(dim=1, keepdim=True) for rows in (queries, gallery))
    hits = [
        [bool(gallery_labels[i] == label) for i in (gallery - query).norm(dim=1).argsort()]
        for query, label in zip(queries[1:], query_labels[1:], strict=True)
    ]
    assert values["queries_excluded"] == 1
    for k in (1, 5):
        assert values[f"recall_at_{k}"] == pytest.approx(np.mean([any(hit[:k]) for hit in hits]))
    assert values["map_at_r"] == pytest.approx(np.mean([average_precision(hit, sum(hit), sum(hit)) for hit in hits]))
    assert values["map"] == pytest.approx(np.mean([average_precision(hit, 50, sum(hit)) for hit in hits]))


def test_without_a_positive_there_is_nothing_to_retrieve():
    with pytest.raises(DataError, match="no query has a positive"):
        Retrieval()(torch.eye(4), torch.arange(4), 0)


def test_the_names_are_those_of_the_values():
    embeddings, labels = torch.randn(8, 2), torch.arange(8) % 2
    for options in ({}, {"k": [10, 1, 100]}, {"both_divisors": True}):
        family = METRICS.build(METRICS.check("retrieval", options))
        assert tuple(family(embeddings, labels, 0).values) == family.names
    assert "recall_at_100" in Retrieval(k=[100]).names


@pytest.mark.parametrize("options", [{"k": [0]}, {"k": "1"}, {"distance": "manhattan"}, {"K": [1]}])
def test_wrong_options_are_refused(options):
    with pytest.raises(OptionError):
        METRICS.check("retrieval", options)


def test_integer_keys_keep_the_order_of_floats():
    values = np.array([-np.inf, -2.5, -1e-40, -0.0, 0.0, 1e-40, 1.0, np.inf], dtype=np.float32)
    keys = _ranks.ordered_bits(values)
    for (a, x), (b, y) in itertools.combinations(zip(values, keys, strict=True), 2):
        assert (a < b) == (x < y)
