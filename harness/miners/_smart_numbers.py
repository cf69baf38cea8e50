"""What is told of an epoch of Smart Mining, and how long its lists are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.miners._members import Ints
from harness.miners._neighbors import Search
from harness.miners._planned import KINDS, Plan
from harness.miners._selection import RANDOM, Lists, Selection

FEWEST, MOST = 50, 1000
LONELY, SEPARATED = 0.1, 0.3


def usual_neighbors(sizes: Ints) -> int:
    """RECONSTRUCTED: twice the 95th percentile of the class sizes, so that both kinds of neighbor are in a list."""
    return int(np.clip(2 * np.percentile(sizes, 95), FEWEST, MOST))


def numbers_of(chosen: Selection, search: Search, kappa: float, width: int) -> dict[str, float]:
    """Numbers of a selection from lists of a width."""
    shares = np.bincount(chosen.kind.ravel(), minlength=3) / chosen.kind.size
    counts = {name: float(count) for name, count in chosen.counts.items()}
    mined = chosen.kind != RANDOM
    told = {
        "kappa": kappa,
        "coverage": counts.pop("covered") / len(chosen.kind),
        **{f"planned_{name}": float(shares[kind]) for name, kind in KINDS.items()},
        **counts,
        "neighbors": float(width),
        "index_recall_at_10": search.recall_at_10,
        "index_recall_at_k": search.recall_at_k,
        "index_effort": float(search.effort),
    }
    if mined.any():
        rank, distance = chosen.rank[mined], chosen.distance[mined]
        told |= {"negative_rank_mean": float(rank.mean()), "negative_rank_median": float(np.median(rank))}
        told |= {"negative_distance_mean": float(distance.mean())}
        told |= {"negative_distance_median": float(np.median(distance))}
    return told


def mostly_random(chosen: Selection) -> bool:
    """Whether more than half of the anchors have nothing mined: their error says nothing about kappa."""
    return float((chosen.kind == RANDOM).all(1).mean()) > 0.5


def too_short(chosen: Selection, kappa: float) -> tuple[bool, bool]:
    """Whether too many anchors have nobody of their own class in their lists; nobody else, although kappa is at 1."""
    anchors = max(1, len(chosen.kind))
    separated = chosen.counts["no_negative"] / anchors > SEPARATED and kappa <= 1
    return chosen.counts["no_positive"] / anchors > LONELY, separated


def longer(neighbors: int) -> int:
    """Twice as many, up to a limit."""
    return max(neighbors, min(2 * neighbors, MOST))


def farthest_of(lists: Lists) -> NDArray[np.float32]:
    """The squared distance of each anchor's last neighbor, [m]."""
    farthest: NDArray[np.float32] = np.where(lists.neighbors >= 0, lists.distances, np.float32(0)).max(1)
    return farthest


def plan_of(chosen: Selection, samples: Ints, anchors: Ints) -> Plan:
    """A selection among samples [m], as positions in the training set."""

    def outside(local: Ints) -> Ints:
        return np.where(local >= 0, samples[local], -1)

    return Plan(samples, samples[anchors], outside(chosen.positive), outside(chosen.negative), chosen.kind)
