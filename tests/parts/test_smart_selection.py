"""Algorithm 1 of Smart Mining: the worked example, a transcription in loops, and what must hold of any triplet."""

import numpy as np
import pytest
import torch

from harness.miners._members import Members
from harness.miners._selection import IN_LIST, OUT_OF_LIST, RANDOM, Lists, reach, select


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_lists(points, k):
    """Neighbors of all points in themselves, by sorting whole rows of distances in float64."""
    distances = ((points[:, None] - points[None]) ** 2).sum(2)
    np.fill_diagonal(distances, -1)
    order = np.argsort(distances, axis=1, kind="stable")[:, 1 : k + 1]
    return Lists(np.take_along_axis(distances, order, 1).astype(np.float32), order.astype(np.int32))


def cloud(n, classes, seed=0, dim=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    points = rng.standard_normal((classes, dim))[labels] + 0.8 * rng.standard_normal((n, dim))
    return points / np.linalg.norm(points, axis=1, keepdims=True), labels


def by_loops(distances, neighbors, labels, anchor, kappa, per_anchor):
    """Algorithm 1, entry by entry: (negative, positive or None for one from outside the list) per triplet."""
    negatives, positives, bound = [], [], None
    for distance, n in zip(distances, neighbors, strict=True):
        same = labels[n] == labels[anchor]
        if bound is None:
            if same and distance > 1e-8:
                bound = np.float32(kappa) * distance
            continue
        if distance < bound:
            continue
        if same:
            positives.append((n, len(negatives)))
        else:
            negatives.append(n)
    triplets = []
    for j in range(per_anchor):
        if j >= len(negatives):
            triplets.append(None)
        else:
            behind = [n for n, reach in positives if reach > j]
            triplets.append((negatives[j], behind[0] if behind else None))
    return triplets


N1, P1, N2, N3, P2, N4 = range(1, 7)
WORKED = {
    0.5: [(N2, P2), (N3, P2), (N4, "outside")],
    1.0: [(N2, P2), (N3, P2), (N4, "outside")],
    1.5: [(N3, P2), (N4, "outside"), None],
    2.0: [(N4, "outside"), None, None],
    4.0: [None, None, None],
}


@pytest.mark.parametrize("kappa", WORKED)
def test_the_worked_example_comes_out_for_every_kappa(kappa):
    labels = np.array([0, 1, 0, 1, 1, 0, 1, 0, 0])  # 7 and 8 are of the anchor's class, and in no list
    lists = Lists(
        np.array([[0.10, 0.20, 0.25, 0.35, 0.50, 0.60]], dtype=np.float32),
        np.array([[N1, P1, N2, N3, P2, N4]], dtype=np.int32),
    )
    chosen = select(lists, np.array([0]), Members.by(labels), kappa, 3, chance())
    found = []
    for negative, positive, kind in zip(chosen.negative[0], chosen.positive[0], chosen.kind[0], strict=True):
        outside = kind == OUT_OF_LIST
        assert outside == (positive in (7, 8))
        found.append(None if kind == RANDOM else (negative, "outside" if outside else positive))
    assert found == WORKED[kappa]


@pytest.mark.parametrize("kappa", [0.5, 1.0, 1.3, 2.0])
@pytest.mark.parametrize(("n", "classes", "k"), [(60, 4, 20), (90, 30, 12), (40, 12, 39)])
def test_it_equals_the_transcription_in_loops(kappa, n, classes, k):
    points, labels = cloud(n, classes)
    members, lists = Members.by(labels), exact_lists(points, k)
    anchors = members.anchors
    lists = Lists(lists.distances[anchors], lists.neighbors[anchors])
    lists.neighbors[::7, -3:] = -1
    chosen = select(lists, anchors, members, kappa, 3, chance())
    kinds = set()
    for row, anchor in enumerate(anchors):
        valid = lists.neighbors[row] >= 0
        wanted = by_loops(lists.distances[row][valid], lists.neighbors[row][valid], labels, anchor, kappa, 3)
        for j, triplet in enumerate(wanted):
            kind = chosen.kind[row, j]
            kinds.add(int(kind))
            assert (kind == RANDOM) == (triplet is None)
            if triplet is not None:
                assert chosen.negative[row, j] == triplet[0]
                assert (kind == OUT_OF_LIST) == (triplet[1] is None)
                if triplet[1] is not None:
                    assert chosen.positive[row, j] == triplet[1]
    assert len(kinds) > 1


def squared(points, one, other):
    return ((points[one] - points[other]) ** 2).sum(-1)


@pytest.mark.parametrize("kappa", [1.0, 1.5])
def test_mined_triplets_are_violations_with_positives_of_the_class_that_differ_from_the_anchor(kappa):
    points, labels = cloud(400, 8)  # no class fits into a list
    members, lists = Members.by(labels), exact_lists(points, 25)
    anchors = members.anchors
    chosen = select(Lists(lists.distances[anchors], lists.neighbors[anchors]), anchors, members, kappa, 4, chance())
    row, column = np.nonzero(chosen.kind != RANDOM)
    a, p, n = anchors[row], chosen.positive[row, column], chosen.negative[row, column]
    assert (labels[a] == labels[p]).all()
    assert (labels[a] != labels[n]).all()
    assert (a != p).all()
    assert (squared(points, a, n) <= squared(points, a, p) + 1e-6).all()  # also from outside, as lists are exact
    outside = chosen.kind[row, column] == OUT_OF_LIST
    assert 0 < outside.sum() < len(row)
    assert not (lists.neighbors[a[outside]] == p[outside, None]).any()
    pairs = list(zip(a, n, strict=True))
    assert len(set(pairs)) == len(pairs)


def test_kappa_below_1_is_kappa_1():
    points, labels = cloud(100, 8)
    members, lists = Members.by(labels), exact_lists(points, 30)
    small, one = (select(lists, members.anchors, members, kappa, 2, chance()) for kappa in (0.3, 1.0))
    np.testing.assert_array_equal(small.negative, one.negative)
    np.testing.assert_array_equal(small.positive, one.positive)


def test_a_neighbor_at_the_bound_itself_is_admitted():
    labels = np.array([0, 0, 1, 0, 1])
    lists = Lists(np.array([[0.25, 0.5, 0.75]], dtype=np.float32), np.array([[1, 2, 3]], dtype=np.int32))
    chosen = select(lists, np.array([0]), Members.by(labels), 2.0, 1, chance())
    assert (chosen.negative[0, 0], chosen.positive[0, 0], chosen.kind[0, 0]) == (2, 3, IN_LIST)


def test_far_first_takes_the_same_negatives_from_the_other_end():
    points, labels = cloud(120, 10)
    members, lists = Members.by(labels), exact_lists(points, 20)
    near = select(lists, members.anchors, members, 1.0, 20, chance())
    far = select(lists, members.anchors, members, 1.0, 20, chance(), far_first=True)
    for one, other in zip(near.negative, far.negative, strict=True):
        assert one[one >= 0].tolist() == other[other >= 0][::-1].tolist()


def test_a_class_that_is_listed_whole_gives_its_farthest_member():
    labels = np.array([0, 0, 0, 1, 1])
    lists = Lists(np.array([[0.1, 0.2, 0.3, 0.4]], dtype=np.float32), np.array([[1, 2, 3, 4]], dtype=np.int32))
    chosen = select(lists, np.array([0]), Members.by(labels), 1.0, 1, chance())
    assert (chosen.negative[0, 0], chosen.positive[0, 0], chosen.kind[0, 0]) == (3, 2, OUT_OF_LIST)
    assert chosen.counts["unbounded_positive"] == 1


def test_a_class_of_two_mines_its_only_positive():
    labels = np.array([0, 0, 1, 1])
    points = np.array([[0.0], [1.0], [3.0], [9.0]])
    members = Members.by(labels)
    chosen = select(exact_lists(points, 3), members.anchors, members, 1.0, 1, chance())
    assert chosen.positive[:2, 0].tolist() == [1, 0]
    assert chosen.counts["unbounded_positive"] >= 1


def test_a_copy_of_the_anchor_does_not_set_the_bound_and_is_counted():
    labels = np.array([0, 0, 1, 0, 1, 1, 0])
    lists = Lists(
        np.array([[0.0, 0.0, 0.2, 0.3, 0.5, 0.7]], dtype=np.float32), np.array([[1, 2, 3, 4, 5, 6]], dtype=np.int32)
    )
    chosen = select(lists, np.array([0]), Members.by(labels), 2.0, 1, chance())
    assert (chosen.negative[0, 0], chosen.positive[0, 0]) == (5, 6)  # the bound is 0.4 and not 0
    assert chosen.counts["zero_bound"] == 1
    assert chosen.counts["duplicates_across_classes"] == 1


def test_lists_without_own_or_without_other_class_are_counted_and_give_random_triplets():
    labels = np.array([0, 0, 0, 1, 1, 1])
    lists = Lists(np.array([[0.1, 0.2], [0.1, 0.2]], dtype=np.float32), np.array([[1, 2], [3, 4]], dtype=np.int32))
    chosen = select(lists, np.array([0, 1]), Members.by(labels), 1.0, 1, chance())
    assert (chosen.kind == RANDOM).all()
    assert (chosen.counts["no_negative"], chosen.counts["no_positive"]) == (1, 1)


def test_reach_is_the_kappa_at_which_the_last_smart_negative_goes():
    points, labels = cloud(150, 10)
    members, lists = Members.by(labels), exact_lists(points, 25)
    farthest = reach(lists, members.anchors, members)
    for kappa in (1.0, 1.2, 1.7, 2.5):
        chosen = select(lists, members.anchors, members, kappa, 1, chance())
        has = chosen.kind[:, 0] != RANDOM
        clear = np.abs(farthest - kappa) > 1e-5
        np.testing.assert_array_equal(has[clear], farthest[clear] >= kappa)


def test_positives_from_outside_are_uniform_over_what_is_left_of_the_class():
    labels = np.array([0] * 8 + [1] * 3)
    members = Members.by(labels)
    anchors = np.full(6000, 2)
    rows = np.repeat(np.arange(6000), 3)
    drawn = members.partners_but(anchors, rows, np.tile([7, 0, 4], 6000), chance())
    counts = np.bincount(drawn, minlength=11)
    assert counts[[0, 2, 4, 7, 8, 9, 10]].sum() == 0
    assert (abs(counts[[1, 3, 5, 6]] - 1500) < 200).all()
    nobody = members.partners_but(np.array([8]), np.array([0, 0]), np.array([9, 10]), chance())
    assert nobody.tolist() == [-1]


def test_random_partners_and_strangers_are_uniform():
    labels = np.array([3, 1, 3, 3, 1, 2])
    members = Members.by(labels)
    anchors = np.zeros(6000, dtype=np.int64)
    partners = np.bincount(members.partners(anchors, chance()), minlength=6)
    strangers = np.bincount(members.strangers(anchors, chance(1)), minlength=6)
    assert partners[[0, 1, 4, 5]].sum() == strangers[[0, 2, 3]].sum() == 0
    assert (abs(partners[[2, 3]] - 3000) < 250).all()
    assert (abs(strangers[[1, 4, 5]] - 2000) < 250).all()
    assert members.anchors.tolist() == [0, 1, 2, 3, 4]
