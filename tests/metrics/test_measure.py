"""Measuring: all families at once, and what cannot be measured."""

import numpy as np
import pytest
import torch

from harness.errors import DataError, OptionError
from harness.measured import Measured, merged
from harness.registry import METRICS
from harness.training.measure import measure, measure_all


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 5, generator=generator), torch.arange(60) % 6


@pytest.mark.parametrize("name", METRICS.names())
def test_every_family_gives_the_numbers_that_it_names(name):
    family = METRICS.build(METRICS.check(name))
    assert tuple(family(*sample(), 0).values) == tuple(family.names)


def test_all_families_are_measured_at_once():
    names = METRICS.names()
    families = [METRICS.build(METRICS.check(name)) for name in names]
    measured = measure_all(*sample(), families, 3)
    assert list(measured.values) == [metric for family in families for metric in family.names]
    assert measured.values == measure(*sample(), metrics=names, seed=3)
    assert set(measured.per_class) >= {"recall_at_1", "map_at_r"}
    assert measured.spectrum is not None
    assert len(measured.spectrum) == 5


def test_by_default_the_four_families_of_the_papers_are_measured():
    assert set(measure(*sample())) >= {"recall_at_1", "map_at_c", "nmi", "f1", "density", "rho"}


def test_arrays_lists_and_short_integers_give_the_same_numbers_as_tensors():
    embeddings, labels = sample()
    expected = measure(embeddings, labels)
    assert measure(embeddings.numpy(), labels.numpy()) == expected
    assert measure(embeddings.numpy(), labels.to(torch.int16)) == expected
    assert measure(embeddings.double().tolist(), labels.tolist()) == pytest.approx(expected, abs=1e-5)
    assert measure(embeddings.clone().requires_grad_(), labels) == expected


def test_half_precision_is_measured_in_single():
    embeddings, labels = sample()
    half = embeddings.to(torch.bfloat16)
    assert measure(half, labels) == measure(half.float(), labels)


def test_rows_that_are_not_finite_are_counted_and_refused():
    embeddings, labels = sample()
    embeddings[3, 1], embeddings[3, 2], embeddings[17, 0] = torch.nan, torch.inf, -torch.inf
    with pytest.raises(DataError, match=r"^2 of 60 embeddings hold nan or infinite"):
        measure(embeddings, labels)
    for name in METRICS.names():
        with pytest.raises(DataError, match="2 of 60"):
            METRICS.build(METRICS.check(name))(embeddings, labels, 0)


@pytest.mark.parametrize(
    ("embeddings", "labels", "told"),
    [
        (torch.ones(3, 2), torch.zeros(4, dtype=torch.int64), r"\[N, D\] with \[N\]"),
        (torch.ones(3), torch.zeros(3, dtype=torch.int64), r"\[N, D\] with \[N\]"),
        (torch.ones(1, 2), torch.zeros(1, dtype=torch.int64), "two samples"),
        (torch.ones(0, 2), torch.zeros(0, dtype=torch.int64), "two samples"),
        (torch.ones(3, 0), torch.zeros(3, dtype=torch.int64), "cannot be measured"),
        (torch.ones(3, 2, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), "floating-point embeddings"),
        (torch.ones(3, 2), torch.zeros(3), "integer labels"),
        (torch.ones(3, 2), np.array(["a", "b", "c"]), "right would be numbers"),
    ],
)
def test_what_cannot_be_measured_is_told(embeddings, labels, told):
    with pytest.raises(DataError, match=told):
        measure(embeddings, labels)


def test_a_family_that_is_not_known_is_told_with_a_suggestion():
    with pytest.raises(OptionError, match="did you mean 'retrieval'"):
        measure(*sample(), metrics=["retreival"])


def test_merging_keeps_what_each_part_has():
    parts = [Measured({"a": 1.0}, {"a": {0: 1.0}}, spectrum=[1.0]), Measured({"b": 2.0}, {"b": {0: 2.0}})]
    assert merged(parts) == Measured({"a": 1.0, "b": 2.0}, {"a": {0: 1.0}, "b": {0: 2.0}}, spectrum=[1.0])
