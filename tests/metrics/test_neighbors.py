"""The search among the nearest neighbors against sorting whole rows."""

import numpy as np
import pytest
import torch

from harness.metrics import _neighbors
from harness.metrics._candidates import Candidates
from harness.metrics._neighbors import FAR, near_ranks, places_of_true, planned
from harness.metrics._parallel import in_turn
from harness.metrics._ranks import full_ranks, ordered_bits
from harness.metrics.retrieval import Retrieval


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles so small that a few hundred samples need many of them."""
    monkeypatch.setattr(_neighbors, "TILE", 16)


def clustered(number: int, classes: int, seed: int = 0, dimensions: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (number,), generator=generator)
    centers = torch.randn(classes, dimensions, generator=generator)
    return centers[labels] + torch.randn(number, dimensions, generator=generator), labels


def by_query(blocks, depth: int) -> dict[int, list[int]]:
    """Query -> ranks of its positives up to the depth; every query once."""
    ranks = [
        (int(q), r[r <= depth].tolist()) for block in blocks for q, r in zip(block.queries, block.ranks, strict=True)
    ]
    assert len(dict(ranks)) == len(ranks)
    return dict(ranks)


@pytest.mark.parametrize("classes", [3, 40, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_ranks_up_to_the_depth_are_those_of_whole_rows(small_tiles, classes, threads):
    before = torch.get_num_threads()
    embeddings, labels = clustered(700, classes)
    depth = 12 if classes > 3 else 30
    if classes == 3:
        labels[80:] = torch.arange(620) + 10  # few queries, in classes of about 27
    assert planned(embeddings, labels, depth) is not None
    torch.set_num_threads(threads)
    try:
        near = by_query(near_ranks(embeddings, labels, depth), depth)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert near == by_query(full_ranks(embeddings, labels), depth)
    assert any(near.values())


def test_ties_and_duplicates_are_ranked_as_in_whole_rows(small_tiles):
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randint(-2, 3, (600, 3), generator=generator).float()
    labels = torch.randint(0, 200, (600,), generator=generator)
    near = by_query(near_ranks(embeddings, labels, 10), 10)
    assert near == by_query(full_ranks(embeddings, labels), 10)


def test_a_collapsed_network_is_ranked_by_index(small_tiles):
    labels = torch.arange(400) % 100
    near = by_query(near_ranks(torch.ones(400, 3), labels, 10), 10)
    assert near == by_query(full_ranks(torch.ones(400, 3), labels), 10)
    assert near[399] == []


def test_queries_that_had_bad_luck_are_ranked_again(small_tiles, monkeypatch):
    embeddings, labels = clustered(500, 50)
    depth = 15
    plan = planned(embeddings, labels, depth)
    hopeless = _neighbors.Plan(plan.depth, plan.room, plan.sample, place=1)
    search = _neighbors.Search(embeddings, labels, hopeless)
    search.run()
    complete = torch.cat([complete for _, complete in search.blocks()])
    assert 0 < complete.sum() < len(complete)
    monkeypatch.setattr(_neighbors, "planned", lambda *_: hopeless)
    assert by_query(near_ranks(embeddings, labels, depth), depth) == by_query(full_ranks(embeddings, labels), depth)


def test_few_queries_have_bad_luck(small_tiles):
    embeddings, labels = clustered(1000, 20)
    search = _neighbors.Search(embeddings, labels, planned(embeddings, labels, 50))
    search.run()
    complete = torch.cat([complete for _, complete in search.blocks()])
    assert (~complete).float().mean() < 0.03


def test_a_positive_that_is_not_near_is_far(small_tiles):
    embeddings, labels = clustered(400, 100)
    ranks = torch.cat([block.ranks.flatten() for block in near_ranks(embeddings, labels, 5)])
    assert (ranks == FAR).any()


@pytest.mark.parametrize("change", ["double", "small", "one class"])
def test_what_gains_nothing_is_ranked_by_whole_rows(small_tiles, change):
    embeddings, labels = clustered(400, 50)
    if change == "double":
        embeddings = embeddings.double()
    elif change == "small":
        embeddings, labels = embeddings[:30], labels[:30]
    else:
        labels = torch.zeros_like(labels)
    assert planned(embeddings, labels, 5) is None
    assert by_query(near_ranks(embeddings, labels, 5), 5) == by_query(full_ranks(embeddings, labels), 5)


def test_the_numbers_do_not_depend_on_the_way_they_are_found():
    embeddings, labels = clustered(9000, 300)
    whole = Retrieval(k=[1, 10, 1000], both_divisors=True)(embeddings, labels, 0)
    near = Retrieval(k=[1, 10, 1000], both_divisors=True, full_ranking_up_to=100)(embeddings, labels, 0)
    assert set(whole.values) - set(near.values) == {"map", "map_published"}
    # Products of matrices of other shapes are rounded otherwise, so neighbors at nearly one distance may change places.
    assert near.values == pytest.approx({name: whole.values[name] for name in near.values}, abs=1e-6)
    for name, scores in near.per_class.items():
        assert scores == pytest.approx(whole.per_class[name], abs=1e-6, nan_ok=True)
    for name, values in near.per_query.items():
        assert np.isclose(values, whole.per_query[name], rtol=0, atol=1e-6, equal_nan=True).mean() > 0.999


@pytest.mark.parametrize(("queries", "first"), [(3, 65_000), (70_000, 69_000)])
def test_candidates_keep_the_nearest_when_room_is_short(queries, first):
    random = np.random.default_rng(0)
    candidates = Candidates(np.full(queries, np.inf, dtype=np.float32), depth=5, room=9)
    offered = []
    for start in range(first, first + 40, 4):
        distance = random.standard_normal(4).astype(np.float32)
        candidates.keep(1, np.array([4]), np.arange(start, start + 4), ordered_bits(distance))
        offered += [(float(d), start + i) for i, d in enumerate(distance)]
    keys = candidates.sorted(np.array([1]))[0]
    assert [int(key) & 0x7FFFFFFF for key in keys[:5]] == [index for _, index in sorted(offered)[:5]]
    assert candidates.found[1] <= 9
    assert candidates.thresholds[1] >= sorted(offered)[4][0]
    assert candidates.thresholds[0] == np.inf


def test_candidates_that_find_no_room_are_told():
    candidates = Candidates(np.full(1, np.inf, dtype=np.float32), depth=5, room=9)
    candidates.keep(0, np.array([12]), np.arange(12), ordered_bits(np.arange(12, dtype=np.float32)))
    assert candidates.found[0] > 9


@pytest.mark.parametrize("number", [64, 61])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_places_of_true_are_those_of_numpy(number, share):
    passed = np.random.default_rng(0).random(number) < share
    np.testing.assert_array_equal(places_of_true(passed), np.flatnonzero(passed))


@pytest.mark.parametrize("threads", [1, 2])
def test_results_come_in_the_order_of_the_items(threads):
    assert list(in_turn(lambda item: item * item, range(20), threads)) == [item * item for item in range(20)]
