"""Miniature runs with other settings than the default ones."""

import dataclasses

import pytest


@pytest.fixture
def spec_with(mini_spec):
    """`mini_spec` with changed fields of its sections: `spec_with("margin", None, training={"ema": 0.9})`.

    `dataset` changes options of the data set.
    """

    def make(*parts, training=None, optimizer=None, dataset=None, **options):
        spec = mini_spec(*parts, **options)
        return dataclasses.replace(
            spec,
            dataset=dataclasses.replace(spec.dataset, options={**spec.dataset.options, **(dataset or {})}),
            training=type(spec.training)(**spec.training.model_dump() | (training or {})),
            optimizer=type(spec.optimizer)(**spec.optimizer.model_dump() | (optimizer or {})),
        )

    return make
