"""A run's folder, `results/runs/<ab>/<run_id>/`: the record of the run, and all that a worker writes.

spec.json       what decides the run; written once
lease.json      who works on it now (`lease`)
checkpoint.pt   where it would continue
final.pt        weights that a final run of a tuned study keeps, so that the test can be looked at later
progress.json   how far it is, for the display
evidence.npz    per-query values and a sample of embeddings, from which new statistics can be computed
result.json     its numbers or the cause of its failure; exists whole or not at all, and ends the run
log.txt         what was said meanwhile
attempts/       one record for each time somebody worked on it, and failed results that were retried
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from harness.errors import StoreError
from harness.specs import RunResult, RunSpec
from harness.store.attempts import Attempt, cause_of_death, count_lost, keep_retried, read_attempts, record_attempt
from harness.store.files import make_folder, read_file, read_json, told_as, utc_now, utc_text, write_atomically
from harness.store.lease import LIMIT_S, Lease, Owner, is_stale, read_owner
from harness.store.results import parse_result, result_text

State = Literal["pending", "running", "done", "failed"]

RUN_ID = re.compile(r"[0-9a-f]{16}")
_STATE_AT_THE_TOP = re.compile(rb'"state": "(done|failed)"')


class RunFolder:
    """The folder of one run. Making the object touches nothing."""

    def __init__(self, results_dir: Path | str, run_id: str) -> None:
        if not RUN_ID.fullmatch(run_id):
            raise StoreError(f"{run_id!r} is not the id of a run; right would be 16 digits 0-9a-f")
        self.run_id = run_id
        self.path = run_path(results_dir, run_id)
        self.checkpoint_path = self.path / "checkpoint.pt"
        self.weights_path = self.path / "final.pt"
        self.log_path = self.path / "log.txt"
        self.lease_path = self.path / "lease.json"
        self.result_path = self.path / "result.json"
        self._spec_path = self.path / "spec.json"
        self._progress_path = self.path / "progress.json"
        self.attempts_path = self.path / "attempts"

    def write_spec(self, spec: RunSpec) -> None:
        """Makes the folder for this spec; doing it twice changes nothing.

        Raises StoreError when the folder holds another spec, which is left as it is.
        """
        if spec.run_id != self.run_id:
            raise StoreError(f"run {spec.run_id} cannot be kept in {self.path}, the folder of run {self.run_id}")
        text = json.dumps(spec.to_dict(), indent=1)
        if self._spec_path.exists():
            found = read_json(self._spec_path)
            if found != json.loads(text):
                raise StoreError(f"{self._spec_path} holds another spec under the same id; move {self.path} away")
            return
        make_folder(self.path)
        write_atomically(self._spec_path, text)

    def read_spec(self) -> RunSpec:
        """The spec; StoreError when there is none, or when it is not that of this run."""
        found = read_json(self._spec_path)
        if found is None:
            raise StoreError(f"{self._spec_path} is missing")
        try:
            spec = RunSpec.from_dict(found)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{self._spec_path} is not the spec of a run: {error}") from error
        if spec.run_id != self.run_id:
            raise StoreError(f"{self._spec_path} describes run {spec.run_id}, not {self.run_id}; was it edited?")
        return spec

    def state(self, limit_s: float = LIMIT_S) -> State:
        """Where the run stands; a run whose worker died is pending again."""
        ended = self._ended()
        if ended:
            return ended
        owner = read_owner(self.lease_path)
        return "pending" if owner is None or is_stale(self.lease_path, owner, limit_s) else "running"

    def owner(self) -> Owner | None:
        """Who holds, or held until dying, the lease."""
        return read_owner(self.lease_path)

    def read_result(self) -> RunResult | None:
        """The result, or None while there is none.

        Raises StoreError when the file is damaged or belongs to another run.
        """
        with told_as("read", self.result_path):
            try:
                text = read_file(self.result_path)
            except FileNotFoundError:
                return None
        return parse_result(text, self.result_path, self.run_id)

    def take(
        self,
        *,
        max_lost: int = 5,
        device: str | None = None,
        provenance: Mapping[str, Any] | None = None,
        limit_s: float = LIMIT_S,
        **lease_options: Any,
    ) -> Lease | None:
        """The right to work on the run, or None when it has ended or somebody else works on it.

        A run that was lost `max_lost` times in a row and never got further is given a failed result with cause `crash`,
        and None is returned.
        """
        if self._ended():
            return None
        about: dict[str, Any] = {"device": device, "provenance": dict(provenance or {})}

        def bury(dead: Owner) -> None:
            self._bury(dead, cause_of_death(dead, about["provenance"]))

        lease = Lease.take(self.lease_path, about, limit_s=limit_s, bury=bury, **lease_options)
        if lease is None:
            return None
        # Between the two looks somebody else may have finished it and given the lease back.
        if self._ended() or self._give_up(lease, max_lost):
            lease.release()
            return None
        return lease

    def publish(self, result: RunResult, lease: Lease) -> None:
        """Makes the result exist, whole and once, and gives the lease back.

        Raises StoreError when the lease is lost (somebody else works on the run, or has finished it); nothing is
        written then.
        """
        if result.run_id != self.run_id:
            raise StoreError(f"the result of run {result.run_id} does not belong into {self.path}")
        text = result_text(result)
        if not lease.held():
            raise self._refusal(lease)
        # The record comes first, so that whoever sees the result sees how it came about.
        self._record(lease.owner, utc_now(), "done" if result.state == "done" else str(result.cause))
        try:
            if not lease.held():
                raise FileExistsError
            write_atomically(self.result_path, text, durable=True, replace=False)
        except FileExistsError:
            self._record(lease.owner, utc_now(), "lost")
            lease.release()
            raise self._refusal(lease) from None
        self._sweep()
        lease.release()

    def abandon(self, lease: Lease, cause: str = "interrupted") -> None:
        """Gives the lease back without a result and says why; the run is pending again and keeps its checkpoint."""
        if lease.held():
            self._record(lease.owner, utc_now(), cause)
        lease.release()

    def bury(self, cause: str) -> None:
        """Frees the run of an owner that has died, and says why, where that is better known than `lost`.

        A living owner keeps it.
        """
        lease = Lease.take(self.lease_path, bury=lambda dead: self._bury(dead, cause))
        if lease:
            lease.release()

    def retry(self) -> bool:
        """Moves a failed result into attempts/, so that the run is pending again; False when it has not failed."""
        if self._ended() != "failed":
            return False
        keep_retried(self.attempts_path, read_json(self.result_path))
        with told_as("remove", self.result_path):
            self.result_path.unlink(missing_ok=True)
        return True

    def attempts(self) -> list[Attempt]:
        """All records, oldest first; one that cannot be read raises StoreError."""
        return read_attempts(self.attempts_path)

    def lost_attempts(self) -> int:
        """How many workers died in a row without a word, since the run last got further or was retried."""
        return count_lost(self.attempts_path)

    def write_progress(self, progress: Mapping[str, Any], lease: Lease | None = None) -> None:
        """Replaces what `read_progress` gives; `lease` says whose progress it is."""
        by = {"by": lease.token[:8]} if lease else {}
        write_atomically(self._progress_path, json.dumps({**progress, **by}))

    def read_progress(self) -> dict[str, Any] | None:
        """What was last written, or None."""
        found = read_json(self._progress_path)
        return found if isinstance(found, dict) else None

    def _ended(self) -> Literal["done", "failed"] | None:
        # A study of 10,000 finished runs is looked through in seconds only if no result is read whole.
        with told_as("read", self.result_path):
            head = _head(self.result_path)
        if head is None:
            return None
        found = _STATE_AT_THE_TOP.search(head)
        if found:
            return "done" if found.group(1) == b"done" else "failed"
        result = self.read_result()
        return result.state if result else None

    def _give_up(self, lease: Lease, max_lost: int) -> bool:
        lost = self.lost_attempts()
        if lost < max_lost:
            return False
        message = f"its worker died {lost} times in a row and got no further; what it said last is in {self.log_path}"
        result = RunResult(self.run_id, "failed", cause="crash", message=message)
        if lease.held():
            with suppress(FileExistsError):
                write_atomically(self.result_path, result_text(result), durable=True, replace=False)
        return True

    def _bury(self, dead: Owner, cause: str) -> None:
        # A lease that was never written whole belonged to somebody who had not begun to work.
        if dead.begun:
            self._record(dead, utc_text(dead.beat), cause)

    def _record(self, owner: Owner, end: str, cause: str) -> None:
        record_attempt(self.attempts_path, owner, end, cause, self._told())

    def _told(self) -> dict[str, Any] | None:
        # Only a number for the record; a damaged file must not keep a run from being taken or published.
        with suppress(StoreError):
            return self.read_progress()
        return None

    def _sweep(self) -> None:
        # What killed workers had begun to write aside. The run has ended, nobody needs it any more.
        for path in self.path.glob("*.tmp-*"):
            with suppress(OSError):
                path.unlink()

    def _refusal(self, lease: Lease) -> StoreError:
        return StoreError(
            f"the result of run {self.run_id} by process {lease.owner.pid} on {lease.owner.host} is refused: "
            "the run was taken over by another worker meanwhile"
        )


def run_path(results_dir: Path | str, run_id: str) -> Path:
    """Where the folder of a run is."""
    return Path(results_dir, "runs", run_id[:2], run_id)


def run_folders(results_dir: Path | str) -> Iterator[RunFolder]:
    """All run folders below a results folder, in the order of their ids; other files and folders are passed over."""
    return (RunFolder(results_dir, run_id) for run_id in ids_in(results_dir))


def ids_in(results_dir: Path | str) -> Iterator[str]:
    """The ids of `run_folders`, at the price of one look at each of 256 folders."""
    root = f"{results_dir}/runs"
    for front in sorted(_names_in(root)):
        for name in sorted(_names_in(f"{root}/{front}")) if len(front) == 2 else ():
            if name.startswith(front) and RUN_ID.fullmatch(name):
                yield name


def _names_in(folder: str) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []


def find_run(results_dir: Path | str, beginning: str) -> RunFolder:
    """The run whose id begins so; StoreError when there is none, or more than one."""
    found = [folder for folder in run_folders(results_dir) if folder.run_id.startswith(beginning)]
    if not found:
        raise StoreError(f"no run in {Path(results_dir) / 'runs'} has an id that begins with {beginning!r}")
    if len(found) > 1:
        some = ", ".join(folder.run_id for folder in found[:5])
        raise StoreError(f"{len(found)} runs have an id that begins with {beginning!r} ({some}, ...); give more digits")
    return found[0]


def _head(path: Path) -> bytes | None:
    try:
        return read_file(path, 200)
    except FileNotFoundError:
        return None
