"""The controller of Smart Mining on plants that are known, and what it does when it cannot."""

import numpy as np
import pytest

from harness.errors import OptionError
from harness.miners._controller import Controller, Law, foreseen
from harness.miners.smart import refuse_target


def full(kappa):
    return float(np.clip(1.2 - 0.4 * (kappa - 1), 0, 1))


def plant(kappa, rng):
    return 0.95 - 0.35 * (kappa - 1) + 0.02 * rng.standard_normal()


def driven(mode, target, epochs, seed=0, plant=plant, coverage=full, random_error=0.2):
    rng, controller, told = np.random.default_rng(seed), Controller(), []
    for _ in range(epochs):
        kappa = controller.next_kappa(Law(mode), target, coverage, random_error)
        error = plant(kappa, rng)
        told.append((kappa, error, controller.observe(error, target)))
    return controller, told


@pytest.mark.parametrize("target", [0.5, 0.6, 0.75])
def test_the_anchored_law_is_near_its_target_within_six_epochs(target):
    # What the noise of the last epoch does is left out: where the kappa is right, the error is met on the average.
    ends = [abs(driven("ls_anchored", target, 6, seed)[1][-1][0] - (1 + (0.95 - target) / 0.35)) for seed in range(20)]
    assert np.median(ends) * 0.35 < 0.03
    assert max(ends) * 0.35 < 0.05


@pytest.mark.parametrize("target", [0.5, 0.6, 0.75])
def test_the_law_of_the_paper_settles_where_the_error_does_not_drift(target):
    ends = [driven("ls", target, 12, seed)[1][-1][1] for seed in range(10)]
    assert abs(np.mean(ends) - target) < 0.03


def test_kappa_is_the_least_squares_line_at_the_target():
    controller = Controller(kappa=2.0, mined=4, seeds=[[0.0, 9.0]])
    controller.history = [[0.8, 1.5, 3.0], [0.5, 2.0, 4.0]]
    law = Law("ls", forgetting=0.5)
    weights = np.array([0.5, 1.0, 0.25 * 0.5**4])
    points = np.array([[0.8, 1.5], [0.5, 2.0], [0.0, 9.0]])
    slope, intercept = np.polyfit(points[:, 0], points[:, 1], 1, w=np.sqrt(weights))
    assert controller.next_kappa(law, 0.55, full, 0.2) == pytest.approx(slope * 0.55 + intercept)
    assert (controller.alpha, controller.beta) == (pytest.approx(slope), pytest.approx(intercept))


def test_only_the_window_counts():
    one, other = (Controller(kappa=2.0, mined=9, seeds=[[0.4, 2.2]]) for _ in range(2))
    recent = [[0.8, 1.5, 8.0], [0.6, 2.0, 9.0]]
    one.history, other.history = recent, [[0.1, 1.0, 1.0], *recent]
    law = Law("ls", window=2)
    assert one.next_kappa(law, 0.7, full, 0.2) == other.next_kappa(law, 0.7, full, 0.2)


@pytest.mark.parametrize("history", [[[0.6, 2.0, 1.0], [0.6, 2.1, 2.0]], [[0.6, 1.8, 1.0], [0.9, 2.5, 2.0]]])
def test_where_the_fit_says_nothing_the_last_slope_is_anchored_at_the_last_epoch(history):
    error, kappa, _ = history[-1]
    controller = Controller(kappa=kappa, alpha=-2.0, beta=9.0, mined=40, seeds=[[error, kappa]], history=history)
    wanted = kappa - 2.0 * (0.7 - error)
    assert controller.next_kappa(Law("ls"), 0.7, full, 0.2) == pytest.approx(np.clip(wanted, kappa / 1.5, kappa * 1.5))
    assert controller.alpha == -2.0


def test_the_anchored_law_stays_where_it_is_near_enough():
    controller = Controller(kappa=1.7, mined=5, seeds=[[0.5, 2.0], [0.9, 1.0]], history=[[0.61, 1.7, 5.0]])
    assert controller.next_kappa(Law("ls_anchored"), 0.6, full, 0.2) == 1.7


def test_kappa_moves_by_at_most_half_and_stays_within_its_range():
    kappas = [kappa for kappa, _, _ in driven("ls", 0.55, 8, plant=lambda kappa, rng: 0.99)[1]]
    steps = np.array(kappas[1:]) / kappas[:-1]
    assert (steps <= 1.5 + 1e-9).all()
    assert (steps >= 1 / 1.5 - 1e-9).all()
    low = driven("ls_anchored", 0.6, 20, plant=lambda kappa, rng: 0.1)[1]
    assert min(kappa for kappa, _, _ in low) == 1.0


def test_the_largest_kappa_is_where_next_to_no_anchor_has_a_smart_negative():
    controller = driven("ls", 0.6, 1, coverage=lambda kappa: 1.0 if kappa < 1.7 else 0.01)[0]
    assert controller.kappa_max == 1.75
    assert driven("ls", 0.6, 1, coverage=lambda kappa: 1.0)[0].kappa_max == 8.0


def test_limits_that_cannot_be_passed_are_told():
    low = driven("ls_anchored", 0.6, 10, plant=lambda kappa, rng: 0.1)[1]
    pinned = [flags for kappa, _, flags in low if kappa == 1]
    assert pinned[:2] == [set(), set()]
    assert pinned[2] == {"target_unreachable_high"}
    high = driven("ls_anchored", 0.6, 20, plant=lambda kappa, rng: 0.95, coverage=lambda kappa: 1.0)[1]
    assert high[-1][0] == 8.0
    assert high[-1][2] == {"target_unreachable_low"}


def test_a_target_beyond_what_mining_could_give_begins_at_kappa_1():
    controller, told = driven("ls", 0.75, 1, coverage=lambda kappa: 0.3 if kappa < 3 else 0.0)
    assert controller.infeasible
    assert told[0][0] == 1.0
    assert foreseen(0.8, 0.3, 0.2) == pytest.approx(0.24 + 0.76 * 0.2)


@pytest.mark.parametrize("mode", ["fixed", "decay"])
def test_fixed_and_decaying_kappas_know_no_error(mode):
    kappas = [kappa for kappa, _, _ in driven(mode, 0.6, 9)[1]]
    assert kappas == pytest.approx([2.0] * 9 if mode == "fixed" else [max(1, 2 * 0.9**n) for n in range(9)])


def test_a_controller_goes_on_from_its_state():
    whole = driven("ls", 0.6, 8)[1]
    rng, controller = np.random.default_rng(0), Controller()
    for epoch in range(8):
        controller = Controller.from_state(controller.state())
        kappa = controller.next_kappa(Law("ls"), 0.6, full, 0.2)
        error = plant(kappa, rng)
        controller.observe(error, 0.6)
        assert (kappa, error) == whole[epoch][:2]


def test_a_target_that_the_share_cannot_hold_is_refused():
    refuse_target("ls", 0.75, 0.5)
    refuse_target("fixed", 0.9, 0.1)
    refuse_target("ls", "val", 0.02)
    with pytest.raises(OptionError, match=r"target of 0\.76 cannot be held with a share of 0\.5 .* at most 0\.75"):
        refuse_target("ls", 0.76, 0.5)
