"""The pace of a cell: what an epoch, a look at both splits and the beginning of a run take, and what a run leaves."""

from __future__ import annotations

from dataclasses import dataclass

from harness.planning.cells import evaluations
from harness.specs import RunSpec


@dataclass(frozen=True)
class Pace:
    """Seconds of one of each, on one device; bytes are None where nobody has seen them."""

    source: str  # measured: here and now; database: of finished runs
    device: str
    steps: int  # of an epoch
    setup_seconds: float  # of a run
    train_seconds: float  # of an epoch, with making its batches
    embedding_seconds: float  # of an evaluation
    metrics_seconds: float  # of an evaluation, without what stands in the next line
    clustering_seconds: float  # of an evaluation with clustering; 0 where it is not known apart
    checkpoint_seconds: float
    epochs: int = 1  # of the run whose bytes these are
    folder_bytes: int | None = None
    result_bytes: int | None = None
    checkpoint_bytes: int | None = None

    @property
    def step_seconds(self) -> float:
        """Of a training step, with its share of making the batches."""
        return self.train_seconds / self.steps

    def cost(self, spec: RunSpec) -> dict[str, float]:
        """What a run will cost, by the names that finished runs have."""
        epochs, (measured, clustered) = spec.training.epochs, evaluations(spec)
        loop = {
            "train_seconds": epochs * self.train_seconds,
            "embedding_seconds": measured * self.embedding_seconds,
            "metrics_seconds": measured * self.metrics_seconds + clustered * self.clustering_seconds,
            "checkpoint_seconds": epochs * self.checkpoint_seconds,
        }
        return {"setup_seconds": self.setup_seconds, **loop, "total_seconds": sum(loop.values())}

    def epoch_seconds(self, spec: RunSpec) -> float:
        """The mean epoch of a run, with measuring and keeping a checkpoint."""
        return self.cost(spec)["total_seconds"] / spec.training.epochs

    def run_seconds(self, spec: RunSpec) -> float:
        """A whole run, from its first moment to its last number."""
        cost = self.cost(spec)
        return cost["setup_seconds"] + cost["total_seconds"]

    def left_bytes(self, spec: RunSpec) -> tuple[int | None, int | None]:
        """What a run leaves: its folder, and of that its result, most of which are curves over the epochs."""
        if self.folder_bytes is None or self.result_bytes is None:
            return None, None
        result = round(self.result_bytes * max(1.0, spec.training.epochs / self.epochs))
        return self.folder_bytes - self.result_bytes + result, result
