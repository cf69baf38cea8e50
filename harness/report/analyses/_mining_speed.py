"""Whether the controller makes runs converge sooner than a fixed bound, in words with an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.report.names import number
from harness.report.statistics import paired_difference

CLAIM = "The paper claims 4 epochs with the controller and 20 without."


def speed_up(runs: pd.DataFrame) -> list[str]:
    """One sentence a setting and regularizer: epochs to converge of adaptive against fixed mining, paired by seed; then
    what the paper claims."""
    own = runs[runs["arm"].isin(["fixed", "adaptive"])]
    told = [
        _sentence(str(setting), str(regularizer), group)
        for (setting, regularizer), group in own.groupby(["setting", "regularizer"], sort=False)
        if group["arm"].nunique() == 2
    ]
    return [*told, CLAIM] if told else [f"There are not both adaptive and fixed runs yet. {CLAIM}"]


def _sentence(setting: str, regularizer: str, runs: pd.DataFrame) -> str:
    place = f"{setting}, {'without regularizer' if regularizer == 'none' else 'with ' + regularizer}"
    epochs = {arm: _by_seed(group) for arm, group in runs.groupby("arm")}
    difference = paired_difference(epochs["adaptive"], epochs["fixed"])
    rising = int(runs["converged_epoch"].isna().sum())
    rest = f" {rising} of {len(runs)} runs had not converged and are left out." if rising else ""
    if not difference.n:
        return f"{place}: no seed has both an adaptive and a fixed run that had converged.{rest}"
    if difference.low is None or difference.high is None:
        return f"{place}: one seed has both, {number(difference.mean)} epochs apart; that says nothing yet.{rest}"
    count = "fewer" if difference.high < 0 else "more" if difference.low > 0 else "no different number of"
    logs = {arm: {seed: float(np.log(value)) for seed, value in own.items()} for arm, own in epochs.items()}
    factor = paired_difference(logs["fixed"], logs["adaptive"])
    assert factor.low is not None
    assert factor.high is not None
    low, high = np.exp(factor.low), np.exp(factor.high)
    return (
        f"{place}: adaptive mining converges in {count} epochs than fixed: difference {number(difference.mean)}, 95% "
        f"interval {number(difference.low)} to {number(difference.high)}, paired by seed, n={difference.n}; a factor "
        f"of {np.exp(factor.mean):.2f} ({low:.2f} to {high:.2f}), where above 1 is sooner.{rest}"
    )


def _by_seed(runs: pd.DataFrame) -> dict[int, float]:
    known = runs.dropna(subset=["converged_epoch"])
    return {int(seed): float(value) for seed, value in known.groupby("seed")["converged_epoch"].min().items()}  # type: ignore[call-overload]
