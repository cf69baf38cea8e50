"""What a plan is made of: cells, lists of runs on workers, and rehearsals that tell the truth."""

import dataclasses
import random
from statistics import median

import pytest

from harness.miners import smart
from harness.miners._neighbors import nearest
from harness.planning.cells import cells_of, evaluations
from harness.planning.pace import Pace
from harness.planning.rehearsal import rehearse
from harness.planning.schedule import Task, schedule
from harness.registry import MINERS, OBJECTIVES, SAMPLERS
from harness.specs import Evaluation, RunSpec
from harness.training.assemble import Context
from harness.training.execute import execute


def changed(spec: RunSpec, **training) -> RunSpec:
    return dataclasses.replace(spec, training=spec.training.model_copy(update=training))


def test_runs_that_take_equally_long_are_one_cell(mini_spec):
    betas = [mini_spec("margin", "distance_weighted", beta=beta, seed=seed) for beta in (0.6, 1.2) for seed in (0, 1)]
    slower = [mini_spec("margin", "distance_weighted", lr=0.1), mini_spec("margin", "random")]
    [first, second] = cells_of([*betas, *slower])
    assert first.specs == (*betas, slower[0])
    assert second.specs == (slower[1],)
    assert "distance_weighted" in first.label
    assert "random" in second.label


@pytest.mark.parametrize("training", [{"batch_size": 8}, {"precision": "bfloat16"}, {"augmentation": "none"}])
def test_what_changes_the_speed_makes_another_cell(mini_spec, training):
    spec = mini_spec()
    keys = {cell.key for cell in cells_of([spec, changed(spec, **training)])}
    assert len(keys) == 2


def test_whole_numbers_among_options_make_another_cell(mini_spec):
    spec = mini_spec("soft_triple", None)
    option = next(name for name, value in spec.objective.options.items() if type(value) is int)
    more = OBJECTIVES.check("soft_triple", {option: spec.objective.options[option] + 1})
    assert len({cell.key for cell in cells_of([spec, dataclasses.replace(spec, objective=more)])}) == 2


def test_longer_runs_are_a_cell_of_their_own_at_the_same_pace(mini_spec):
    short, long = cells_of([mini_spec(epochs=2), mini_spec(epochs=9)])
    assert short.key == long.key
    pace = Pace("measured", "cpu", 4, 1.0, 10.0, 2.0, 3.0, 0.5, 0.25)
    assert pace.run_seconds(short.spec) == pytest.approx(1 + 2 * (10 + 2 + 3 + 0.5 + 0.25))
    assert pace.run_seconds(long.spec) == pytest.approx(1 + 9 * (10 + 2 + 3 + 0.5 + 0.25))


@pytest.mark.parametrize(
    ("epochs", "every", "clustering", "expected"), [(10, 1, 1, (10, 10)), (10, 3, 1, (4, 4)), (10, 2, 4, (5, 3))]
)
def test_measured_epochs_are_counted_as_the_training_measures(mini_spec, epochs, every, clustering, expected):
    spec = mini_spec(epochs=epochs, evaluation=Evaluation(every=every, clustering_every=clustering))
    assert evaluations(spec) == expected


def naive(seconds, workers, start):
    """Wall-clock of workers that take the next run when they are free."""
    free = [float(start)] * min(workers, len(seconds))
    for length in seconds:
        first = min(range(len(free)), key=lambda worker: free[worker])
        free[first] += length
    return max(free), sum(free)


def test_workers_take_the_next_run_of_the_list_when_they_are_free():
    assert schedule([Task(3), Task(3), Task(4)], 2, 0.0).wall_seconds == 7  # and not (3 + 3 + 4) / 2
    chance = random.Random(0)
    for _ in range(50):
        seconds = [chance.uniform(1, 100) for _ in range(chance.randint(1, 20))]
        workers = chance.randint(1, 6)
        made = schedule([Task(length) for length in seconds], workers, 5.0)
        assert (made.wall_seconds, made.worker_seconds) == pytest.approx(naive(seconds, workers, 5.0))
        assert made.requeues == 0


def test_a_run_longer_than_its_job_goes_on_in_the_next_ones():
    made = schedule([Task(300, again_seconds=5)], 1, start_s=10, job_s=120)
    # 110 s of work, then 105 new ones in each further job, which begins with 10 s of its own
    assert made.requeues == 2
    assert made.wall_seconds == 10 + 110 + 10 + 110 + 10 + (300 - 105 - 105)
    short = schedule([Task(30)] * 8, 2, start_s=10, job_s=100)
    assert short.requeues == 2
    assert short.wall_seconds == 10 + 120 + 10


def test_a_run_that_no_job_brings_further_is_told():
    assert schedule([Task(300, again_seconds=120)], 1, start_s=10, job_s=120).requeues is None
    assert schedule([], 3, start_s=10).wall_seconds == 0


def test_a_rehearsal_foresees_a_run_within_a_factor_of_two(mini_spec, bank_cache, tmp_path):
    spec = mini_spec(epochs=8)
    execute(mini_spec(epochs=1), Context(tmp_path, bank_cache))  # libraries are loaded
    ratios = []
    for _ in range(3):  # turn by turn: others use the machine, too
        pace = rehearse(spec, tmp_path, bank_cache, "cpu", steps=20)
        done = execute(spec, Context(tmp_path, bank_cache, checkpoint=tmp_path / "checkpoint.pt"))
        ratios.append(pace.run_seconds(spec) / (done.cost["setup_seconds"] + done.cost["total_seconds"]))
        assert pace.steps == done.cost["steps"] / 8
    assert 0.5 < median(ratios) < 2, ratios


def test_a_rehearsal_of_a_sampler_that_plans_from_embeddings_counts_them(mini_spec, bank_cache, tmp_path):
    spec = dataclasses.replace(mini_spec(), sampler=SAMPLERS.check("greedy_coreset"))
    pace = rehearse(spec, tmp_path, bank_cache, "cpu", steps=3)
    assert pace.steps == 3
    assert pace.train_seconds > 0
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_of_a_planning_miner_counts_an_epoch_that_is_mined(mini_spec, bank_cache, tmp_path, monkeypatch):
    spec = changed(mini_spec("triplet_ratio", "random", epochs=4), batch_size=48)
    spec = dataclasses.replace(spec, miner=MINERS.check("smart", {}), sampler=None)
    searched = []
    monkeypatch.setattr(smart, "nearest", lambda *given: searched.append(given) or nearest(*given))
    pace = rehearse(spec, tmp_path, bank_cache, "cpu", steps=3)
    assert pace.steps == 3
    assert len(searched) > 0


def test_what_would_stop_a_run_is_the_answer_of_its_rehearsal(mini_spec, bank_cache, tmp_path):
    large = changed(mini_spec(), batch_size=64)
    assert "fewer than one batch of 64" in rehearse(large, tmp_path, bank_cache, "cpu", steps=3)
