"""A lease: the right to work on something, held by one process at a time, over any shared file system.

The lease is a file that only one process can create (O_CREAT|O_EXCL). Its owner touches it every few seconds; it is
stale when it was not touched for `limit_s` by the file system's own clock (the clocks of hosts may differ), or at once
when its owner was a process of this machine that is gone. A stale lease is taken over by whoever first creates
the marker `takeover-<its token>-<generation>`; a winner that died before it acted is succeeded by the next generation.
Each lease bears a random token, and every act of an owner first checks that the file still bears it: a process that
was cut off and comes back finds that it has lost, whatever it believes.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.store.files import make_folder, told_as, utc_now, write_atomically
from harness.store.process import host_identity, is_gone, process_state

LIMIT_S = 60.0
BEAT_S = 5.0


@dataclass(frozen=True)
class Owner:
    """Who holds a lease, as the lease file says; `beat` is the file's time of last touch in seconds since 1970."""

    token: str
    host: str = ""
    host_identity: str = ""
    pid: int = 0
    process_start: int | None = None
    begun: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    beat: float = 0.0


class Lease:
    """A lease that this process holds, from `take` until `release`, unless it is `lost` to another."""

    def __init__(self, path: Path, owner: Owner, beat_s: float) -> None:
        self.path = path
        self.owner = owner
        self.taken_from: Owner | None = None
        self._beat_s = beat_s
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name=f"lease {path.name}", daemon=True)

    @classmethod
    def take(
        cls,
        path: Path,
        about: Mapping[str, Any] | None = None,
        *,
        limit_s: float = LIMIT_S,
        beat_s: float = BEAT_S,
        bury: Callable[[Owner], None] = lambda dead: None,
    ) -> Lease | None:
        """The lease of `path`, or None when somebody else holds it; of any number of takers one gets it.

        `about` is kept in the file. `bury` is told of the dead owner before its lease is replaced, and may be told
        of the same one twice.
        """
        make_folder(path.parent)
        lease = cls(path, _myself(about or {}), beat_s)
        if not (lease._create() or lease._take_over(limit_s, bury)):
            return None
        if not lease.held():
            return None
        lease._thread.start()
        return lease

    @property
    def token(self) -> str:
        """What the file bears as long as the lease is ours."""
        return self.owner.token

    @property
    def lost(self) -> bool:
        """Whether the heartbeat found that another process has taken over; cheap, up to one beat late."""
        return self._lost

    def held(self) -> bool:
        """Whether the file bears our token now; asks the file system."""
        found = read_owner(self.path)
        self._lost = self._lost or found is None or found.token != self.token
        return not self._lost

    def beat(self) -> bool:
        """Touches the lease if it is ours still; says whether it is."""
        try:
            # The file that was checked is the file that is touched, even if the name is given to another meanwhile.
            with open(self.path, "rb") as file:
                self._lost = self._lost or _token_in(file.read()) != self.token
                if not self._lost:
                    os.utime(file.fileno())
        except FileNotFoundError:
            self._lost = True
        return not self._lost

    def release(self) -> None:
        """Gives the lease back. One that was lost meanwhile is left to its new owner."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        with told_as("give back the lease", self.path), suppress(FileNotFoundError):
            # The touch keeps anybody from finding it stale between the check and the removal.
            if self.beat():
                self.path.unlink()
        self._lost = True
        if self.taken_from:
            for marker in self.path.parent.glob(f"takeover-{self.taken_from.token}-*"):
                marker.unlink(missing_ok=True)

    def _create(self) -> bool:
        with told_as("write the lease", self.path):
            try:
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                return False
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(self._text())
            except OSError:
                self.path.unlink(missing_ok=True)
                raise
        return True

    def _take_over(self, limit_s: float, bury: Callable[[Owner], None]) -> bool:
        owner = read_owner(self.path)
        if owner is None:
            return self._create()
        if not is_stale(self.path, owner, limit_s) or not self._win(owner, limit_s):
            return False
        # Since we looked, the owner may have come back, or another winner, slower or faster, may have acted.
        if read_owner(self.path) != owner:
            return False
        bury(owner)
        self.taken_from = owner
        write_atomically(self.path, self._text())
        return True

    def _win(self, owner: Owner, limit_s: float) -> bool:
        for generation in itertools.count():
            marker = self.path.with_name(f"takeover-{owner.token}-{generation}")
            with told_as("take over the lease", self.path):
                try:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                    return True
                except FileExistsError:
                    touched = _touched(marker)
            if touched is None or _clock_of(marker.parent) - touched <= limit_s:
                return False
        return False

    def _text(self) -> str:
        values = asdict(self.owner)
        del values["beat"]
        return json.dumps(values, indent=1)

    def _beat_on(self) -> None:
        while not self._stop.wait(self._beat_s):
            # A full disk or a server that is away for a moment does not end the lease; the token decides.
            with suppress(OSError):
                if not self.beat():
                    return


def read_owner(path: Path) -> Owner | None:
    """Who holds the lease, or None when nobody does; a file never written whole has an owner without a host."""
    with told_as("read the lease", path):
        try:
            with open(path, "rb") as file:
                text, status = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return None
    torn = Owner(token=f"torn-{status.st_ino}-{status.st_mtime_ns}", beat=status.st_mtime)
    try:
        owner = Owner(**{**json.loads(text), "beat": status.st_mtime})
    except (ValueError, TypeError):
        return torn
    whole = all(isinstance(value, str) for value in (owner.token, owner.host, owner.begun))
    return owner if whole and isinstance(owner.about, Mapping) else torn


def is_stale(path: Path, owner: Owner, limit_s: float = LIMIT_S) -> bool:
    """Whether the owner is surely gone (a process of this machine) or silent for longer than the limit."""
    if owner.host_identity == host_identity() and is_gone(owner.pid, owner.process_start):
        return True
    return silence(path, owner) > limit_s


def silence(path: Path, owner: Owner) -> float:
    """For how many seconds the owner has not touched the lease, by the file system's clock."""
    return _clock_of(path.parent) - owner.beat


def _myself(about: Mapping[str, Any]) -> Owner:
    state = process_state(os.getpid())
    return Owner(
        token=secrets.token_hex(16),
        host=socket.gethostname(),
        host_identity=host_identity(),
        pid=os.getpid(),
        process_start=state[1] if state else None,
        begun=utc_now(),
        about=about,
    )


def _token_in(text: bytes) -> str | None:
    try:
        return str(json.loads(text)["token"])
    except (ValueError, TypeError, KeyError):
        return None


def _touched(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _clock_of(folder: Path) -> float:
    """What time it is by the clock of the folder's file system: that of a file touched now."""
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        with open(probe, "w") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        # Who may only look (a read-only mount) has nothing but the own clock, and takes nothing over by it.
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
