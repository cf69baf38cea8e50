"""Does a correlation over methods rest on one family of objectives, or on one method?

Objectives of one family resemble each other in density as in quality, so that a coefficient over all methods may say no
more than that families differ; and with twenty points a single one can carry it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.report import published
from harness.report.statistics import LEVEL, MIN_POINTS, RESAMPLES, Coefficient, Vector, pearson

PROXIES = (
    "arcface",
    "cosface",
    "normalized_softmax",
    "proxy_anchor",
    "proxy_nca",
    "proxy_nca_plus_plus",
    "soft_triple",
)


def family(objective: str, miner: str) -> str:
    """Proxies (learnt representatives of classes), mined tuples, or the pairs of the whole batch."""
    if objective in PROXIES:
        return "proxies"
    return "whole batch" if miner == "none" else "mined tuples"


def published_family(name: str) -> str:
    """The family of a method of Roth et al. (2020)."""
    known = {method.name: method for method in published.METHODS if method.paper == "roth2020"}
    return family(known[name].objective, known[name].miner)


def partial_correlation(x: Vector, y: Vector, groups: Sequence[str]) -> Coefficient:
    """Pearson's r of x and y within groups: of what is left of both after the mean of each group is taken away.

    The interval is a percentile bootstrap that draws within each group, so that the groups keep their sizes.
    """
    keys, codes = np.unique(np.asarray(groups), return_inverse=True)
    free = len(x) - len(keys) + 1
    if free < MIN_POINTS:
        return Coefficient(None, None, None, len(x), f"{len(x)} methods in {len(keys)} families are too few")
    value = _within(x, y, codes)
    if not np.isfinite(value):
        return Coefficient(None, None, None, len(x), "one of the two does not vary within families")
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(codes == code) for code in range(len(keys))]
    draws = np.array([_within(x[taken], y[taken], codes[taken]) for taken in _resamples(members, rng)])
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Coefficient(value, float(low), float(high), len(x))


def _resamples(members: list[Any], rng: np.random.Generator) -> list[Any]:
    picks = [own[rng.integers(0, len(own), (RESAMPLES, len(own)))] for own in members]
    return list(np.concatenate(picks, axis=1))


def _within(x: Vector, y: Vector, codes: Any) -> float:
    counts = np.maximum(np.bincount(codes), 1)
    a, b = (values - (np.bincount(codes, weights=values) / counts)[codes] for values in (x, y))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 1e-15 else np.nan


@dataclass(frozen=True)
class LeftOut:
    """The range of Pearson's r when one method is left out, and the method whose absence moves it most."""

    low: float
    high: float
    method: str


def leave_one_out(x: Vector, y: Vector, names: Sequence[str]) -> LeftOut | None:
    """None where too few methods remain for a coefficient, or one does not vary."""
    whole = pearson(x, y).value
    if whole is None or len(x) <= MIN_POINTS:
        return None
    others = [np.delete(np.arange(len(x)), place) for place in range(len(x))]
    values = np.array([np.corrcoef(x[kept], y[kept])[0, 1] for kept in others])
    if not np.isfinite(values).all():
        return None
    return LeftOut(float(values.min()), float(values.max()), str(names[int(np.abs(values - whole).argmax())]))


def checks(clouds: Mapping[str, pd.DataFrame], properties: Sequence[str]) -> pd.DataFrame:
    """One row a source and property, over plain methods; a cloud has the columns of `density.points` and `family`.

    Columns: source, property, n, families, pearson, partial, partial_low, partial_high, partial_reason, left_out_low,
    left_out_high, left_out_method.
    """
    rows = []
    for source, cloud in clouds.items():
        for name in properties:
            plain = cloud[(cloud["regularizer"] == "none") & cloud[name].notna() & cloud["recall_at_1"].notna()]
            x, y = plain[name].to_numpy(dtype=float), plain["recall_at_1"].to_numpy(dtype=float)
            partial = partial_correlation(x, y, list(plain["family"]))
            left = leave_one_out(x, y, list(plain["method"]))
            row: dict[str, Any] = {"source": source, "property": name, "n": len(plain)}
            row |= {"families": plain["family"].nunique(), "pearson": pearson(x, y).value}
            row |= {"partial": partial.value, "partial_low": partial.low, "partial_high": partial.high}
            row |= {"partial_reason": partial.reason, "left_out_low": left.low if left else None}
            row |= {"left_out_high": left.high if left else None, "left_out_method": left.method if left else ""}
            rows.append(row)
    numeric = ("pearson", "partial", "partial_low", "partial_high", "left_out_low", "left_out_high")
    return pd.DataFrame(rows).astype(dict.fromkeys(numeric, float))
