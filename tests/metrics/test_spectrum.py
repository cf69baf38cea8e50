"""Spectral decay on spectra that are known."""

import math

import pytest
import torch

from harness.errors import OptionError
from harness.metrics import spectrum as spectrum_module
from harness.metrics.spectrum import Spectrum, effective_rank, singular_values, spectral_decay
from harness.registry import METRICS


def with_spectrum(singular: list[float], n: int = 40, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(n, len(singular), generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(len(singular), len(singular), generator=generator, dtype=torch.float64))[0]
    return left @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ right


def measured(embeddings: torch.Tensor) -> dict[str, float]:
    return Spectrum()(embeddings, torch.zeros(len(embeddings), dtype=torch.int64), 0).values


def test_rho_is_the_divergence_from_uniform_without_the_largest_singular_value():
    q = [4 / 7, 2 / 7, 1 / 7]
    expected = sum((1 / 3) * math.log((1 / 3) / p) for p in q)
    assert measured(with_spectrum([9, 4, 2, 1]))["rho"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mode", "q", "reverse"),
    [(1, [0.4, 0.3, 0.2, 0.1], False), (-1, [0.4, 0.3, 0.2, 0.1], True), (-3, [2 / 3, 1 / 3], True)],
)
def test_the_other_published_modes_follow_their_definitions(mode, q, reverse):
    uniform = [1 / len(q)] * len(q)
    first, second = (q, uniform) if reverse else (uniform, q)
    expected = sum(a * math.log(a / b) for a, b in zip(first, second, strict=True))
    singular = torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    assert spectral_decay(singular, mode) == pytest.approx(expected)


def test_modes_that_are_asked_for_are_given():
    family = METRICS.build(METRICS.check("spectrum", {"modes": [1, -2]}))
    embeddings = with_spectrum([9, 4, 2, 1])
    values = family(embeddings, torch.zeros(40, dtype=torch.int64), 0).values
    assert tuple(values) == family.names == ("rho", "effective_rank", "rho_mode_1", "rho_mode_minus_2")
    assert values["rho_mode_1"] == pytest.approx(spectral_decay(singular_values(embeddings), 1))
    assert values["rho_mode_minus_2"] == pytest.approx(spectral_decay(singular_values(embeddings), -2))
    with pytest.raises(OptionError, match="mode 0"):
        Spectrum(modes=[0])


def test_a_flat_spectrum_has_no_decay_and_full_rank():
    values = measured(with_spectrum([3, 3, 3, 3, 3]))
    assert values["rho"] == pytest.approx(0, abs=1e-12)
    assert values["effective_rank"] == pytest.approx(5)


def test_the_spectrum_is_complete_normalized_and_sorted():
    spectrum = Spectrum()(with_spectrum([4, 3, 2, 1]), torch.zeros(40, dtype=torch.int64), 0).spectrum
    assert spectrum == pytest.approx([0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("smallest", [1e-3, 1e-4, 1e-6, 1e-9])
def test_small_singular_values_are_right_to_a_millionth(smallest):
    singular = [1.0, 0.7, 0.3, smallest]
    assert singular_values(with_spectrum(singular)).tolist() == pytest.approx(singular, rel=1e-6)


def test_rows_are_taken_in_parts(monkeypatch):
    embeddings = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    monkeypatch.setattr(spectrum_module, "ROWS", 7)
    assert singular_values(embeddings).tolist() == pytest.approx(torch.linalg.svdvals(embeddings).tolist())


def test_fewer_samples_than_dimensions_have_as_many_values_as_samples():
    embeddings = torch.randn(5, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert singular_values(embeddings).tolist() == pytest.approx(torch.linalg.svdvals(embeddings).tolist())


def test_a_dead_direction_makes_rho_infinite_and_lowers_the_rank():
    embeddings = with_spectrum([3, 3, 3, 3])
    embeddings = torch.cat([embeddings, torch.zeros(len(embeddings), 1)], dim=1)
    values = measured(embeddings.float())
    assert values["rho"] == math.inf
    assert values["effective_rank"] == pytest.approx(4)


def test_embeddings_of_zero_have_no_spectrum_to_speak_of():
    values = measured(torch.zeros(4, 3))
    assert math.isnan(values["rho"])
    assert math.isnan(values["effective_rank"])


def test_effective_rank_is_the_exponential_of_the_entropy():
    q = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    assert effective_rank(q * 8) == pytest.approx(2**1.5)
