"""Density, alignment and uniformity against loops over pairs."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import normalize

from harness.errors import DataError
from harness.metrics import density as density_module
from harness.metrics.density import Density


def sample(n: int = 50, classes: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    labels[:3] = torch.tensor([40, -1, -1])  # a class of one, and one of two
    return torch.randn(n, 4, generator=generator, dtype=torch.float64), labels


def as_loops(embeddings: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    units = normalize(embeddings, dim=1)
    by_class: dict[int, list[int]] = {}
    for i, label in enumerate(labels.tolist()):
        by_class.setdefault(label, []).append(i)
    distances = {
        label: [1 - float(units[i] @ units[j]) for i, j in itertools.permutations(members, 2)]
        for label, members in by_class.items()
        if len(members) > 1
    }
    means = {label: normalize(embeddings[members].mean(0), dim=0) for label, members in by_class.items()}
    between = [1 - float(a @ b) for a, b in itertools.permutations(means.values(), 2)]
    intra = [sum(d) / len(d) for d in distances.values()]
    within = [2 * d for pairs in distances.values() for d in pairs]
    potentials = [math.exp(-2 * float((a - b).square().sum())) for a, b in itertools.permutations(units, 2)]
    pi_intra, pi_inter = sum(intra) / len(intra), sum(between) / len(between)
    return {
        "pi_intra": pi_intra,
        "pi_inter": pi_inter,
        "density": pi_intra / pi_inter,
        "alignment": sum(within) / len(within),
        "uniformity": math.log(sum(potentials) / len(potentials)),
    }


@pytest.mark.parametrize("tile", [16, 50, 512])
def test_all_numbers_agree_with_loops_over_pairs(tile, monkeypatch):
    monkeypatch.setattr(density_module, "TILE", tile)
    monkeypatch.setattr(density_module, "ROWS", tile)
    embeddings, labels = sample()
    assert Density()(embeddings, labels, 0).values == pytest.approx(as_loops(embeddings, labels), abs=1e-12)


def test_float32_agrees_with_float64():
    embeddings, labels = sample(600)
    exact = Density()(embeddings, labels, 0).values
    assert Density()(embeddings.float(), labels, 0).values == pytest.approx(exact, abs=1e-6)


def test_lone_classes_have_no_pi_intra_but_a_mean():
    embeddings, labels = sample()
    measured = Density()(embeddings, labels, 0)
    assert 40 not in measured.per_class["pi_intra"]
    assert -1 in measured.per_class["pi_intra"]
    assert measured.values["pi_inter"] != Density()(embeddings[1:], labels[1:], 0).values["pi_inter"]


def test_only_lengths_of_class_means_feel_the_lengths_of_embeddings():
    embeddings, labels = sample()
    longer = embeddings * torch.linspace(0.1, 3, len(embeddings), dtype=torch.float64)[:, None]
    before, after = Density()(embeddings, labels, 0).values, Density()(longer, labels, 0).values
    for name in ("pi_intra", "alignment", "uniformity"):
        assert after[name] == pytest.approx(before[name])
    assert after["pi_inter"] != pytest.approx(before["pi_inter"])


def test_points_that_are_one_have_density_zero_and_no_uniformity():
    values = Density()(torch.ones(6, 3, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 1]), 0).values
    assert values == pytest.approx(dict.fromkeys(Density.names, 0), abs=1e-7)


def test_an_embedding_of_zero_is_at_distance_one_of_all():
    embeddings = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert Density()(embeddings, torch.tensor([0, 0, 1]), 0).values["pi_intra"] == pytest.approx(1)


def test_one_class_has_no_distance_between_classes():
    values = Density()(torch.eye(3), torch.zeros(3, dtype=torch.int64), 0).values
    assert math.isnan(values["pi_inter"])
    assert math.isnan(values["density"])
    assert values["pi_intra"] == pytest.approx(1)


def test_uniformity_of_a_sample_depends_on_the_seed_alone_and_is_near_the_whole():
    embeddings, labels = sample(3000)
    whole = Density()(embeddings, labels, 0).values["uniformity"]
    family = Density(uniformity_rows=1000)
    torch.manual_seed(1)
    first = family(embeddings, labels, 5).values["uniformity"]
    torch.manual_seed(2)
    assert family(embeddings, labels, 5).values["uniformity"] == first
    assert family(embeddings, labels, 6).values["uniformity"] != first
    assert first == pytest.approx(whole, abs=0.02)
    assert first != whole
    assert Density(uniformity_rows=0)(embeddings, labels, 5).values["uniformity"] == whole


def test_structure_adds_concentration_per_class_and_the_potential_without_the_logarithm():
    embeddings, labels = sample()
    family = Density(structure=True)
    measured = family(embeddings, labels, 0)
    assert tuple(measured.values) == family.names
    assert measured.values["gaussian_potential"] == pytest.approx(math.exp(measured.values["uniformity"]))
    expected = {}
    for label in sorted(set(labels.tolist()) - {40}):
        r = float(normalize(embeddings[labels == label], dim=1).mean(0).norm())
        expected[label] = r * (4 - r**2) / (1 - r**2)
    assert measured.per_class["concentration"] == pytest.approx(expected)
    values = torch.tensor(list(expected.values()))
    assert measured.values["concentration"] == pytest.approx(float(values.mean()))
    assert measured.values["concentration_variance"] == pytest.approx(float(values.var(unbiased=False)))


def test_without_a_pair_there_is_no_density():
    with pytest.raises(DataError, match="every class has only one"):
        Density()(torch.eye(4), torch.arange(4), 0)
