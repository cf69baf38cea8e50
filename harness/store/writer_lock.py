"""One writer among all hosts: a lock file beside an SQLite database on a network file system.

SQLite locks parts of its file, and file systems of networks are known to lose such locks: two hosts that collect at the
same time then leave a database that is no database any more. A file that only one process can create works everywhere
(`lease`): it says who writes, is touched while that process lives, and is taken over from one that has died.
"""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path

from harness.errors import StoreError
from harness.store.lease import LIMIT_S, Lease, read_owner

WAIT_S = LIMIT_S + 30
"""How long another host is waited for: longer than it takes to see that it has died."""


class LockedConnection(sqlite3.Connection):
    """A connection that gives its lock back when it is closed."""

    lock: Lease | None = None

    def close(self) -> None:
        """Ends what it has open, and lets the next one write."""
        try:
            super().close()
        finally:
            if self.lock:
                self.lock.release()
                self.lock = None


def lock_for_writing(database: Path, wait_s: float | None = None) -> Lease:
    """The right to write this file, once everybody else has let go of it; StoreError after `wait_s`."""
    path = Path(f"{database}.lock")
    deadline = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    while not (lock := Lease.take(path, {"writes": str(database)})):
        if time.monotonic() > deadline:
            raise StoreError(_told(database, path))
        time.sleep(random.uniform(0.05, 0.5))
    return lock


def _told(database: Path, path: Path) -> str:
    owner = read_owner(path)
    who = f"process {owner.pid} on {owner.host} since {owner.begun}" if owner and owner.host else "another process"
    return (
        f"the database {database} is being written by {who}; on a network file system one host writes at a time: "
        f"wait for it, or, if it is surely gone, delete {path}"
    )
