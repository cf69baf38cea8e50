"""The search among the nearest neighbors against sorting whole rows."""

import numpy as np
import pytest
import torch

from harness.metrics import _neighbors
from harness.metrics._candidates import INDEX_BITS, QUERY_BITS, Candidates
from harness.metrics._neighbors import near_ranks, places_of_true, planned
from harness.metrics._parallel import in_turn
from harness.metrics._positives import FAR, Positives
from harness.metrics._ranks import full_ranks
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
    hopeless = _neighbors.Plan(plan.depth, plan.sample, place=1)
    search = _neighbors.Search(embeddings, labels, hopeless)
    search.run()
    assert 0 < search.positives.complete.sum() < 500
    monkeypatch.setattr(_neighbors, "planned", lambda *_: hopeless)
    assert by_query(near_ranks(embeddings, labels, depth), depth) == by_query(full_ranks(embeddings, labels), depth)


def test_the_sample_is_made_of_whole_tiles_from_the_smallest_set_on(small_tiles):
    samples = {}
    for number in range(20, 1500):
        plan = planned(torch.zeros(number, 2), torch.arange(number) // 2, 4)
        if plan is not None:
            samples[number] = plan.sample
            assert isinstance(plan.sample, int)
            assert 0 < plan.place <= plan.sample < number
    assert min(samples) < 100
    assert sorted(set(samples.values())) == [16, 32, 64, 128]


def test_few_queries_have_bad_luck(small_tiles):
    embeddings, labels = clustered(1000, 20)
    search = _neighbors.Search(embeddings, labels, planned(embeddings, labels, 50))
    search.run()
    assert (~search.positives.complete).mean() < 0.03


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


def test_the_same_ranks_come_again_from_any_number_of_threads(small_tiles):
    embeddings, labels = clustered(700, 40)
    before = torch.get_num_threads()
    answers = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            answers.append(by_query(near_ranks(embeddings, labels, 12), int(FAR)))
        finally:
            torch.set_num_threads(before)
    assert answers[0] == answers[1] == answers[2]


def test_queries_with_many_neighbors_at_one_distance_are_given_up_and_ranked_again(small_tiles):
    embeddings, labels = clustered(600, 60)
    embeddings[::3] = embeddings[0]  # as a network gives for images that it cannot tell apart
    search = _neighbors.Search(embeddings, labels, planned(embeddings, labels, 20))
    search.run()
    assert not search.positives.complete[::3].any()
    assert search.positives.complete.mean() > 0.5
    assert by_query(near_ranks(embeddings, labels, 20), 20) == by_query(full_ranks(embeddings, labels), 20)


def test_blocks_give_up_their_candidates_when_they_are_ranked(small_tiles):
    embeddings, labels = clustered(400, 40)
    search = _neighbors.Search(embeddings, labels, planned(embeddings, labels, 12))
    search.run()
    assert not any(search.candidates.parts)


def test_candidates_are_ranked_by_query_then_distance_then_index():
    random = np.random.default_rng(0)
    query, index = random.integers(0, 1 << QUERY_BITS, 5000), random.permutation((1 << INDEX_BITS) - 1)[:5000]
    query[:2], index[0] = (0, (1 << QUERY_BITS) - 1), (1 << INDEX_BITS) - 1
    distance = random.choice(np.array([-np.inf, -1.5, -0.0, 0.0, 1e-38, 2, 3e38], dtype=np.float32), 5000)
    candidates = Candidates(2)
    for part in np.array_split(np.arange(5000), 7):
        candidates.keep(1, query[part], distance[part], index[part])
    neighbors, starts = candidates.taken(1, 1 << QUERY_BITS)
    np.testing.assert_array_equal(neighbors, index[np.lexsort((index, distance, query))])
    np.testing.assert_array_equal(np.diff(starts), np.bincount(query, minlength=1 << QUERY_BITS))
    assert len(candidates.taken(1, 5)[0]) == len(candidates.taken(0, 5)[0]) == 0


def test_positives_take_their_ranks_from_rankings():
    positives = Positives(torch.tensor([7, 7, 5, 7, 5, 9]))
    # Query 3 ranks 4, 1, 5, 0; query 2 ranks 0, 1; query 0 ranks nothing.
    positives.fill(np.array([3, 2, 0]), np.array([4, 1, 5, 0, 0, 1]), np.array([0, 4, 6, 6]), depth=2)
    positives.fill(np.array([1]), np.array([0]), np.array([0, 1]), depth=2)
    assert positives.complete.tolist() == [False, False, True, True, False, False]
    assert by_query(positives.blocks(), int(FAR)) == {2: [FAR], 3: [2, 4]}


@pytest.mark.parametrize("number", [64, 61])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_places_of_true_are_those_of_numpy(number, share):
    passed = np.random.default_rng(0).random(number) < share
    np.testing.assert_array_equal(places_of_true(passed), np.flatnonzero(passed))


@pytest.mark.parametrize("threads", [1, 2])
def test_results_come_in_the_order_of_the_items(threads):
    assert list(in_turn(lambda item: item * item, range(20), threads)) == [item * item for item in range(20)]
