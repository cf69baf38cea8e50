"""What the run folders of a study say: the only thing that a launch knows, and all that it shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.specs import RunResult, RunSpec
from harness.store.labels import method_labels
from harness.store.spool import RunFolder


@dataclass(frozen=True)
class Snapshot:
    """How a study stands: what `harness run` and `harness status` show."""

    total: int
    done: int
    failed: int
    running: list[dict[str, Any]]  # run_id, method, seed and what the run told last: epoch, epochs, loss, recall_at_1
    latest: list[dict[str, Any]]  # finished since the launch, newest first: run_id, method, seed, state, recall_at_1
    remark: str = ""  # about the workers
    elapsed_s: float = 0.0
    eta_s: float | None = None

    @property
    def pending(self) -> int:
        """Runs that nobody works on yet."""
        return self.total - self.done - self.failed - len(self.running)


class Ledger:
    """What the run folders of a study say: which runs are open, how far the running ones are, which have ended."""

    def __init__(self, specs: Sequence[RunSpec], results: Path) -> None:
        self.specs = {spec.run_id: spec for spec in specs}
        self.open = {run_id: RunFolder(results, run_id) for run_id in self.specs}
        self.failed: dict[str, str] = {}
        self.running: list[dict[str, Any]] = []
        self.furthest: dict[str, int] = {}  # run_id -> the most steps that it was ever seen to have behind it
        self.latest: list[dict[str, Any]] = []
        self.remark = ""
        self._close_ended()
        for run_id, folder in self.open.items():
            folder.write_spec(self.specs[run_id])
        self.found = self.finished
        self.begin = time.monotonic()

    @cached_property
    def labels(self) -> dict[str, str]:
        """A readable name for each run; nobody asks where nothing is left to do."""
        return method_labels(list(self.specs.values()))

    @property
    def finished(self) -> int:
        """Runs that have ended, well or not."""
        return len(self.specs) - len(self.open)

    @property
    def pending(self) -> int:
        """Runs that nobody works on."""
        return len(self.open) - len(self.running)

    @property
    def progress(self) -> tuple[int, int]:
        """How far the study has ever been: runs that have ended, and steps of those that have not. Only grows."""
        return self.finished, sum(self.furthest.get(run_id, 0) for run_id in self.open)

    def look(self) -> list[str]:
        """Read the folders of the open runs again; gives the runs that have ended since the last look."""
        ended = self._close_ended()
        for run_id, folder in ended.items():
            self._tell(run_id, folder)
        return list(ended)

    def _close_ended(self) -> dict[str, RunFolder]:
        """Read how every open run stands. Whole results are left unread: a study may have thousands from before."""
        self.running = []
        ended = {}
        for run_id, folder in list(self.open.items()):
            state = folder.state()
            if state in ("done", "failed"):
                ended[run_id] = self.open.pop(run_id)
            elif state == "running":
                told = folder.read_progress() or {}
                self.running.append(self._row(run_id) | told)
                self.furthest[run_id] = max(self.furthest.get(run_id, 0), told.get("steps", 0))
            if state == "failed":
                self.failed[run_id] = read_ended(folder).cause or "exception"
        return ended

    def _tell(self, run_id: str, folder: RunFolder) -> None:
        result = read_ended(folder)
        unseen = [m for m in result.measurements if m.metric == "recall_at_1" and m.split in ("test", "validation")]
        found = [m.value for m in unseen]
        row = {"state": result.state, "cause": result.cause, "recall_at_1": found[0] if found else None}
        self.latest.insert(0, self._row(run_id) | row)

    def _row(self, run_id: str) -> dict[str, Any]:
        return {"run_id": run_id, "method": self.labels[run_id], "seed": self.specs[run_id].seed}

    def snapshot(self) -> Snapshot:
        """How things stood at the last look."""
        elapsed = time.monotonic() - self.begin
        under_way = sum(run.get("epoch", 0) / run["epochs"] for run in self.running if "epochs" in run)
        progress = self.finished - self.found + under_way
        left = len(self.open) - under_way
        return Snapshot(
            total=len(self.specs),
            done=self.finished - len(self.failed),
            failed=len(self.failed),
            running=self.running,
            latest=self.latest,
            remark=self.remark,
            elapsed_s=elapsed,
            eta_s=left * elapsed / progress if progress > 0 else None,
        )


def read_ended(folder: RunFolder) -> RunResult:
    """The result of a run whose folder has said that it has ended."""
    result = folder.read_result()
    assert result is not None
    return result
