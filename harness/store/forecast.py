"""How long the open runs will take, by what is measured: finished runs of their kind, epochs of those under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.store.standing import Run, Standing
from harness.store.standing_rows import Kind


@dataclass(frozen=True)
class Forecast:
    """`eta_s`: None where nothing is known yet, or nobody works.

    `work_s`: for one worker, as far as it is known. `by`: how it was found -> number of runs.
    """

    eta_s: float | None
    work_s: float
    workers: int
    by: Counter[str]
    unknown: int  # open runs of which nothing is known


def forecast(now: Standing) -> Forecast:
    """The work that is left, shared by those who work now; no shorter than the longest run."""
    speeds = Speeds(now)
    left = [speeds.left(run) for run in (*now.running, *now.pending)]
    known = [(seconds, by) for seconds, by in left if seconds is not None]
    work, workers = sum(seconds for seconds, _ in known), len(now.running)
    eta = None
    if len(known) == len(left) and (workers or not left):
        eta = max([work / max(workers, 1), *(seconds for seconds, _ in known)], default=0.0)
    return Forecast(eta, work, workers, Counter(by for _, by in known), len(left) - len(known))


class Speeds:
    """What is known of how long runs take, the best first."""

    def __init__(self, now: Standing) -> None:
        self.finished = {kind: total / count for kind, (count, total) in now.ended.finished.items() if count}
        self.under_way = _means(now)
        self.foreseen = now.foreseen
        done = sum(count for count, _ in now.ended.finished.values())
        self.any = sum(total for _, total in now.ended.finished.values()) / done if done else None

    def left(self, run: Run) -> tuple[float | None, str]:
        """Seconds of work left in an open run, and how that is known."""
        own = seconds_an_epoch(run.progress)
        share = 1.0 - share_done(run.progress)
        if run.state == "running" and own is not None:
            return own * share * run.progress["epochs"], "their own epochs"
        whole, by = self.whole(run)
        if whole is None:
            return None, by
        # In its first epoch a run may be slower than others of its kind, but it is never less than nothing.
        return (max(0.0, whole - run.seconds) if run.state == "running" else whole * share), by

    def whole(self, run: Run) -> tuple[float | None, str]:
        """Seconds of a run of this kind from its beginning to its end."""
        if run.kind in self.finished:
            return self.finished[run.kind], "finished runs of their kind"
        if run.kind in self.under_way:
            return self.under_way[run.kind], "epochs of their kind under way"
        if run.run_id in self.foreseen:
            return self.foreseen[run.run_id], "`harness plan`"
        if self.any is not None:
            return self.any, "finished runs of other kinds"
        others = list(self.under_way.values())
        return (sum(others) / len(others) if others else None), "epochs of other kinds under way"


def _means(now: Standing) -> Mapping[Kind, float]:
    """For each kind of which a run is under way, what the whole of it will take at that speed."""
    seen: dict[Kind, list[float]] = {}
    for run in now.running:
        speed = seconds_an_epoch(run.progress)
        if speed is not None:
            seen.setdefault(run.kind, []).append(speed * run.progress["epochs"])
    return {kind: sum(speeds) / len(speeds) for kind, speeds in seen.items()}


def seconds_an_epoch(progress: Mapping[str, Any]) -> float | None:
    """What the epochs of a run took so far; None before the first has ended."""
    epoch, seconds = progress.get("epoch"), progress.get("seconds")
    return seconds / epoch if epoch and seconds else None


def share_done(progress: Mapping[str, Any]) -> float:
    """How much of a run is done; of the epoch under way its training counts."""
    epochs = progress.get("epochs")
    if not epochs:
        return 0.0
    inside = progress["done"] / progress["total"] if progress.get("doing") == "training" and progress["total"] else 0.0
    return float(min(1.0, (progress.get("epoch", 0) + inside) / epochs))
