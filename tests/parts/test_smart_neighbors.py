"""Lists of nearest neighbors: exact, by indexes, and where an index fails or lies."""

import numpy as np
import pytest
import torch

from harness.miners import _neighbors
from harness.miners._members import Members
from harness.miners._neighbors import Wanted, chosen_kind, nearest, recall, without_self
from harness.miners._searchers import taken
from harness.miners._selection import RANDOM, select


def rows_of(n, dim=16, classes=20, seed=0, spread=0.5):
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes, dim, generator=generator)
    labels = torch.arange(n) % classes
    rows = centers[labels] + spread * torch.randn(n, dim, generator=generator)
    return torch.nn.functional.normalize(rows), labels.numpy()


def found(rows, kind, k=10, anchors=None, **wanted):
    anchors = np.arange(len(rows)) if anchors is None else anchors
    return nearest(rows, anchors, k, Wanted(kind, **wanted), torch.Generator().manual_seed(0))


def by_sorting(rows, k):
    distances = torch.cdist(rows.double(), rows.double()).square().fill_diagonal_(torch.inf)
    nearest = distances.topk(k, largest=False)
    return nearest.values.numpy(), nearest.indices.numpy()


def test_exact_lists_are_those_of_sorted_distances():
    rows, _ = rows_of(300)
    lists, search = found(rows, "flat")
    distances, neighbors = by_sorting(rows, 10)
    np.testing.assert_array_equal(lists.neighbors, neighbors)
    np.testing.assert_allclose(lists.distances, distances, atol=1e-5)
    assert (search.kind, search.recall_at_10, search.flags) == ("flat", 1.0, set())


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_index_gives_ascending_true_distances_and_tells_its_recall(kind):
    rows, _ = rows_of(2000)
    lists, search = found(rows, kind, min_recall=0.9)
    assert search.kind == kind
    assert (np.diff(lists.distances, axis=1) >= 0).all()
    own = (rows[:, None] - rows[torch.from_numpy(lists.neighbors).long()]).square().sum(2)
    np.testing.assert_allclose(lists.distances, own.numpy(), atol=1e-5)
    assert not (lists.neighbors == np.arange(2000)[:, None]).any()
    truth = by_sorting(rows, 10)[1]
    assert search.recall_at_10 == pytest.approx(recall(lists.neighbors, truth), abs=0.02)
    assert set(search.seconds) == {"index", "search", "probe"}


def test_some_anchors_alone_have_the_lists_they_have_among_all():
    rows, _ = rows_of(500)
    some = np.array([3, 4, 77, 401])
    for kind in ("flat", "hnsw"):
        np.testing.assert_array_equal(
            found(rows, kind, anchors=some)[0].neighbors, found(rows, kind)[0].neighbors[some]
        )


def test_the_plan_of_a_good_index_is_that_of_exact_lists():
    rows, labels = rows_of(3000, classes=150)
    members = Members.by(labels)
    exact, approximate = found(rows, "flat", k=60)[0], found(rows, "hnsw", k=60)
    assert approximate[1].recall_at_10 >= 0.98
    for kappa in (1.0, 1.3):
        one, other = (
            select(lists, members.anchors, members, kappa, 1, torch.Generator().manual_seed(0))
            for lists in (exact, approximate[0])
        )
        assert (one.kind != RANDOM).mean() > 0.2
        assert (one.negative == other.negative).mean() >= 0.98


def test_an_index_of_low_recall_tries_harder_and_then_searches_exactly():
    rows, _ = rows_of(2000, spread=5.0)
    poor, low = found(rows, "ivf", effort=1, min_recall=0.0)
    assert low.recall_at_10 < 0.7
    assert low.effort == 1
    lists, search = found(rows, "ivf", effort=1, min_recall=0.999)
    assert search.kind == "flat"
    assert search.flags == {"recall_too_low"}
    np.testing.assert_array_equal(lists.neighbors, found(rows, "flat")[0].neighbors)
    harder = found(rows, "ivf", effort=1, min_recall=low.recall_at_10 + 0.01)[1]
    assert (harder.kind, harder.effort) in (("ivf", 2), ("ivf", 4))
    assert recall(poor.neighbors, lists.neighbors) < 0.7


def test_where_exact_search_costs_too_much_low_recall_is_only_told(monkeypatch):
    monkeypatch.setattr(_neighbors, "FALL_BACK_TO", 100)
    search = found(rows_of(2000, spread=5.0)[0], "ivf", effort=1, min_recall=0.999)[1]
    assert search.kind == "ivf"
    assert "recall_too_low" in search.flags


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), MemoryError()])
def test_an_index_that_fails_is_replaced_by_exact_search(monkeypatch, error):
    rows, _ = rows_of(400)
    plain = _neighbors.searcher

    def refusing(kind, *arguments):
        if kind == "hnsw":
            raise error
        return plain(kind, *arguments)

    monkeypatch.setattr(_neighbors, "searcher", refusing)
    lists, search = found(rows, "hnsw")
    assert search.flags == {"index_failed"}
    np.testing.assert_array_equal(lists.neighbors, found(rows, "flat")[0].neighbors)


def test_lists_with_holes_are_searched_exactly(monkeypatch):
    rows, _ = rows_of(400)
    plain = _neighbors.searcher

    def with_holes(kind, *arguments):
        index = plain(kind, *arguments)
        if kind != "flat":
            find = index.find
            index.find = lambda samples, k: (
                find(samples, k)[0],
                np.where(samples[:, None] % 40, find(samples, k)[1], -1),
            )
        return index

    monkeypatch.setattr(_neighbors, "searcher", with_holes)
    lists, search = found(rows, "hnsw")
    assert search.flags == {"index_incomplete"}
    np.testing.assert_array_equal(lists.neighbors, found(rows, "flat")[0].neighbors)


def test_embeddings_that_all_coincide_have_lists_without_the_sample_itself():
    lists, _ = found(torch.ones(300, 4), "flat", k=50)
    assert not (lists.neighbors == np.arange(300)[:, None]).any()
    assert (lists.distances == 0).all()


def test_cagra_without_its_build_falls_back():
    from harness.miners._searchers import has_cagra

    if has_cagra():
        pytest.skip("this faiss has CAGRA and a GPU for it")
    assert found(rows_of(400)[0], "cagra")[1].flags == {"index_failed"}


def test_few_samples_are_searched_exactly_and_many_by_an_index():
    assert [chosen_kind("auto", n, "cpu") for n in (5, 80_000, 80_001)] == ["flat", "flat", "hnsw"]
    assert [chosen_kind("hnsw", n, "cpu") for n in (199, 200)] == ["flat", "hnsw"]
    assert chosen_kind("auto", 1_000_000, "cuda") == "flat"


def test_a_sample_is_dropped_from_its_list_by_number_and_else_the_last():
    distances = np.array([[0, 1, 2], [0, 1, 2], [-1e-9, 0, 3.4e38]], dtype=np.float32)
    neighbors = np.array([[0, 5, 6], [7, 1, 8], [9, 4, -1]])
    kept, own = without_self(distances, neighbors, np.array([0, 1, 2]))
    assert own.tolist() == [[5, 6], [7, 8], [9, 4]]
    assert kept.tolist() == [[1, 2], [0, 2], [0, 0]]
    assert np.isinf(without_self(distances, np.array([[0, 5, 6], [7, 1, 8], [2, 4, -1]]), np.arange(3))[0][2, 1])


def test_rows_in_sequence_are_taken_without_a_copy():
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    assert np.shares_memory(taken(rows, np.array([2, 3, 4])), rows)
    np.testing.assert_array_equal(taken(rows, np.array([4, 2, 3])), rows[[4, 2, 3]])
    np.testing.assert_array_equal(taken(rows, np.array([1, 3, 3])), rows[[1, 3, 3]])


def test_a_gpu_finds_the_neighbors_that_the_cpu_finds():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    rows, _ = rows_of(1500)
    there = found(rows.cuda(), "flat")[0]
    here = found(rows, "flat")[0]
    assert recall(there.neighbors, here.neighbors) > 0.999
    np.testing.assert_allclose(there.distances, here.distances, atol=1e-4)
