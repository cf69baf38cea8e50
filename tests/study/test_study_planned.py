"""Miners that plan the batches in a study: such runs have no sampler, and all others need one."""

import pytest

from harness.registry import MINERS


class Planner:
    plans = True

    def __init__(self, labels: object, batch_size: int, *, share: float = 0.8) -> None:
        pass


@pytest.fixture(autouse=True)
def _planner(monkeypatch):
    monkeypatch.setitem(MINERS._parts, "planner", Planner)


PLANNED = "  objective: pull\n  miner: planner\n  training: {batch_size: 30}\n"


def test_a_run_whose_miner_plans_the_batches_has_no_sampler(load):
    [run] = load(PLANNED + "grid: [{sampler: none}]").runs()
    assert run.sampler is None
    assert run.flat()["sampler"] == "none"
    assert type(run).from_dict(run.to_dict()) == run


def test_where_nobody_names_a_sampler_each_miner_has_what_it_needs(load):
    head = "schema: 1\nname: small\nrun: {dataset: dots, backbone: tiny, objective: pull, training.batch_size: 30}\n"
    runs = load("grid: [{miner: [planner, anyone]}]", head=head).runs()
    assert [run.sampler and run.sampler.name for run in runs] == [None, "class_balanced"]


def test_a_sampler_beside_a_miner_that_plans_is_told(refused):
    told = refused(PLANNED)
    assert "miner 'planner' plans the batches itself and has no use for sampler 'pairs'" in told
    assert "right would be `sampler: none`" in told


def test_a_run_without_any_batches_is_told(refused):
    told = refused("  objective: pull\n  miner: anyone\ngrid: [{sampler: none}]")
    assert "8" not in told.splitlines()[0]
    assert "these runs have no sampler, and no miner that plans its batches; name one (known: " in told


def test_a_batch_that_is_not_whole_triplets_is_told(refused):
    told = refused(PLANNED.replace("30", "112") + "grid: [{sampler: none}]")
    assert "a batch of 112 images is not whole triplets, of which miner 'planner' plans it; 111 or 114 could be" in told


def test_a_target_that_cannot_be_held_is_told_when_the_study_is_read(refused):
    miner = "  objective: pull\n  miner: {name: smart, share: 0.5, target: 0.9}\n  training: {batch_size: 30}\n"
    told = refused(miner + "grid: [{sampler: none}]")
    assert "a target of 0.9 cannot be held with a share of 0.5 mined triplets" in told
    assert "9:" in told
