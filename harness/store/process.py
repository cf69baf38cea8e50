"""Whether a process that was here still is: its number alone does not tell, it may be another's by now."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def host_identity() -> str:
    """The same for two processes exactly when the numbers of their processes mean the same.

    The host's name alone does not tell: containers and cloned machines share it, and process 17 is another in each.
    """
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(parts)


def is_gone(pid: int, start: int | None) -> bool:
    """Whether the process of this machine that began at `start` has ended; False where that cannot be known."""
    if start is None:
        return False
    state = process_state(pid)
    if state:
        # A process that died but was not waited for still has an entry, in state Z; X is on its way out.
        return state[0] in "ZX" or state[1] != start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def process_state(pid: int) -> tuple[str, int] | None:
    """State letter and start time in clock ticks since boot; None where /proc does not tell."""
    try:
        # The name of the program stands in parentheses and may itself contain some.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])
