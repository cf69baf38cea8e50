"""The parts of the toy experiment: points on lines, a perceptron, all triplets, angles on the circle."""

import itertools
import math

import numpy as np
import pytest
import torch

from harness.datasets.toy_lines import TRAIN_LINES, UNIT, drawn
from harness.errors import DataError
from harness.images import checked
from harness.registry import DATASETS, METRICS, MINERS, build


def toy(**options):
    return DATASETS.build(DATASETS.check("toy_lines", options), data_root=None)


def test_training_points_lie_on_the_diagonal_and_test_points_on_upright_and_level_lines():
    points, labels = drawn(15, 0)
    x, y = (points / UNIT).T
    for label, ((start, _), (end, _)) in enumerate(TRAIN_LINES):
        mine = labels == label
        assert mine.sum() == 15
        assert (x[mine] == y[mine]).all()
        assert (x[mine].min() >= start - 1e-9) & (x[mine].max() <= end + 1e-9)
    assert (x[(labels == 4) | (labels == 5)] == 0.2).all()
    assert (y[(labels == 6) | (labels == 7)] == 0.2).all()
    assert y[labels == 5].min() >= 0.55
    assert x[labels == 7].max() <= 0.9


def test_the_points_of_a_line_are_distinct_and_another_draw_takes_others():
    points, labels = drawn(15, 0)
    assert len({(label, *point) for label, point in zip(labels.tolist(), points.tolist(), strict=True)}) == 120
    assert (drawn(15, 0)[0] == points).all()
    assert (drawn(15, 1)[0] != points).any()
    assert (drawn(41, 0)[0][:41, 0] == np.arange(20, 61)).all()  # all there are


def test_a_pixel_of_the_source_is_the_point_and_classes_are_disjoint():
    source = checked(toy(points=3).source())
    assert source.names[3 * 4].startswith("line 4 at 0.2, ")
    assert source.read(0).tolist() == [[[*drawn(3, 0)[0][0].tolist(), 0]]]
    assert set(source.labels[source.is_train]) == {0, 1, 2, 3}
    assert set(source.labels[~source.is_train]) == {4, 5, 6, 7}
    assert source.digest != toy(points=3, draw=1).source().digest


def test_the_perceptron_is_its_layers_on_the_averaged_pixels():
    torch.manual_seed(0)
    network = build("backbone", "mlp", side=1, hidden=[5, 4], scale=2.0)
    images = torch.rand(6, 3, 4, 4)
    first, _, second, _ = network.layers
    expected = second((first(2 * images.mean((2, 3)))).relu()).relu()
    assert torch.allclose(network(images), expected, atol=1e-6)
    assert network.features == 4


def test_all_triplets_are_those_of_three_loops():
    labels = torch.tensor([0, 0, 1, 2, 1, 1])
    expected = [
        (a, p, n)
        for a, p, n in itertools.product(range(6), repeat=3)
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]
    found = MINERS.build(MINERS.check("all_triplets"))(torch.rand(6, 2), labels)
    assert list(zip(*(one.tolist() for one in found), strict=True)) == expected


@pytest.mark.parametrize(
    ("degrees", "arc"), [([0, 10, 350], 20), ([0, 120, 240], 240), ([90, 90], 0), ([179, -179], 2)]
)
def test_the_arc_is_the_shortest_that_holds_all_directions(degrees, arc):
    angles = torch.tensor(degrees).double().deg2rad()
    family = METRICS.build(METRICS.check("angles", {"count": len(degrees)}))
    values = family(torch.stack([angles.cos(), angles.sin()], 1) * 3, torch.arange(len(degrees)), 0).values
    assert values["arc"] == pytest.approx(math.radians(arc), abs=1e-9)
    told = [values[f"angle_{k}"] for k in range(len(degrees))]
    assert np.allclose(np.exp(1j * np.array(told)), np.exp(1j * angles.numpy()))


def test_angles_of_more_samples_than_there_are_are_refused():
    with pytest.raises(DataError, match="7 samples"):
        METRICS.build(METRICS.check("angles", {"count": 7}))(torch.rand(6, 2), torch.arange(6), 0)
    with pytest.raises(DataError, match="two dimensions"):
        METRICS.build(METRICS.check("angles"))(torch.rand(6, 1), torch.arange(6), 0)
