"""What kappa the next epoch has: the adaptive controller of Smart Mining, and what it is compared with.

FOUND in a translation of the paper (equations 7 and 8): the training error e is the share of triplets with a gradient;
kappa = alpha e + beta with the least-squares alpha and beta over recent epochs; the next kappa is what this line says
of the wanted error. Kappa is set before an epoch is mined. RECONSTRUCTED, because the paper does not say it: the first
estimates, how many epochs are recent, their weights, limits, and what is done when the fit says nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Mode = Literal["fixed", "decay", "ls", "ls_anchored"]

GRID = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
"""Where coverage is looked at before the first mined epoch."""

SEED_WEIGHT, SEED_DECAY = 0.25, 0.5
LEAST_COVERAGE = 0.02
LEAST_SLOPE, LEAST_VARIANCE = -0.2, 1e-4
"""A slope above (larger kappa, more active triplets: the wrong sign, or nearly) or errors that hardly vary say
nothing."""
FIRST_SLOPE = -1.0
ANCHORED = (-3.0, -1.0)
DEAD_BAND = 0.02
STEP = 1.5
NEAR = 0.05
PINNED_EPOCHS = 3
"""So many epochs at a limit with an error that is wrong by more than NEAR are told of."""


@dataclass(frozen=True)
class Law:
    """How kappa is found.

    fixed        always `kappa`
    decay        from `kappa` by the factor `decay` an epoch, to 1
    ls           the paper's: the least-squares line at the wanted error. RECONSTRUCTED details; on a toy it keeps e
                 about 0.1 above the target, because the slope of a drifting e is too flat
    ls_anchored  from the last kappa along a slope within [-3, -1]. RECONSTRUCTED; the law to use for new work
    """

    mode: Mode = "ls"
    kappa: float = 2.0
    decay: float = 0.9
    share: float = 0.8
    window: int = 8
    forgetting: float = 0.8


@dataclass
class Controller:
    """The state of the law: plain values, so that a checkpoint holds it."""

    kappa: float | None = None
    kappa_max: float = GRID[-1]
    alpha: float | None = None
    beta: float | None = None
    mined: int = 0  # epochs
    history: list[list[float]] = field(default_factory=list)  # [error, kappa, which mined epoch]
    seeds: list[list[float]] = field(default_factory=list)  # [predicted error, kappa]
    low: int = 0  # epochs pinned at 1
    infeasible: bool = False

    def next_kappa(self, law: Law, target: float, coverage: Callable[[float], float], random_error: float) -> float:
        """Kappa of the next mined epoch: wanted error, the share of anchors with a smart negative under a kappa, and
        the share of random triplets that are active."""
        if law.mode == "fixed":
            self.kappa = law.kappa
        elif law.mode == "decay":
            self.kappa = max(1.0, law.kappa * law.decay**self.mined)
        else:
            self.infeasible = False
            before, first = self.kappa, not self.seeds
            if first:
                self._seed(law, target, coverage, random_error)
            raw = 1.0 if self.infeasible else self._raw(law, target)
            if before is not None:
                raw = min(max(raw, before / STEP), before * STEP)
            self.kappa = min(max(raw, 1.0), self.kappa_max)
        self.mined += 1
        return self.kappa

    def observe(self, error: float, target: float) -> set[str]:
        """The error of a mined epoch with the present kappa; gives flags of what cannot be reached."""
        assert self.kappa is not None
        self.history.append([error, self.kappa, float(self.mined)])
        # Below 1 nothing changes any more: what is nearer than the first of the own class is skipped anyway.
        self.low = self.low + 1 if self.kappa <= 1 and error < target - NEAR else 0
        flags = {"target_unreachable_high"} if self.low >= PINNED_EPOCHS else set()
        if self.kappa >= self.kappa_max and error > target + NEAR:
            flags.add("target_unreachable_low")
        return flags

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Controller:
        """The inverse of `state`."""
        values: dict[str, Any] = {name: copy.deepcopy(value) for name, value in state.items()}
        return cls(**values)

    def _seed(self, law: Law, target: float, coverage: Callable[[float], float], random_error: float) -> None:
        """Foresee the error under some kappas, as if every mined triplet were active and every other one a random
        one; INFERRED: more than that under kappa = 1 cannot be reached."""
        covered = {kappa: coverage(kappa) for kappa in GRID}
        self.seeds = [[foreseen(law.share, share, random_error), kappa] for kappa, share in covered.items()]
        self.kappa_max = next((kappa for kappa, share in covered.items() if share < LEAST_COVERAGE), GRID[-1])
        self.infeasible = target > self.seeds[0][0]

    def _raw(self, law: Law, target: float) -> float:
        recent = self.history[-law.window :]
        if self._fit(law, recent):
            raw = _line(self.alpha, self.beta, target)
        elif recent:
            self.alpha = FIRST_SLOPE if self.alpha is None else self.alpha
            self.beta = recent[-1][1] - self.alpha * recent[-1][0]
            raw = _line(self.alpha, self.beta, target)
        else:
            raw = min(self.seeds, key=lambda seed: abs(seed[0] - target))[1]
        if law.mode == "ls_anchored" and recent:
            error, kappa, _ = recent[-1]
            slope = min(max(FIRST_SLOPE if self.alpha is None else self.alpha, ANCHORED[0]), ANCHORED[1])
            raw = kappa if abs(error - target) < DEAD_BAND else kappa + slope * (target - error)
        return raw

    def _fit(self, law: Law, recent: list[list[float]]) -> bool:
        """Weighted least squares of kappa on the error; False, with nothing changed, where that says nothing."""
        newest = recent[-1][2] if recent else 0.0
        weights = [law.forgetting ** (newest - epoch) for _, _, epoch in recent]
        weights += [SEED_WEIGHT * SEED_DECAY**self.mined] * len(self.seeds)
        points = np.array([row[:2] for row in [*recent, *self.seeds]])
        share = np.array(weights) / sum(weights)
        error, kappa = share @ points
        centered = points - (error, kappa)
        variance, together = float(share @ centered[:, 0] ** 2), float(share @ (centered[:, 0] * centered[:, 1]))
        if variance < LEAST_VARIANCE or together / variance >= LEAST_SLOPE:
            return False
        self.alpha = together / variance
        self.beta = float(kappa) - self.alpha * float(error)
        return True


def foreseen(share: float, coverage: float, random_error: float) -> float:
    """The error that a share of mined triplets gives at most, of which `coverage` are there at all."""
    mined = share * coverage
    return mined + (1 - mined) * random_error


def _line(alpha: float | None, beta: float | None, error: float) -> float:
    assert alpha is not None
    assert beta is not None
    return alpha * error + beta
