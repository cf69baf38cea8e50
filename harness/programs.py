"""Asking other programs, none of which is waited for longer than it deserves."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.errors import EnvironmentLacks

LIMIT_S = 12.0
"""How long a program is waited for that should answer at once. SLURM gives up by itself after 10 s, and says why."""


class NoAnswer(EnvironmentLacks):
    """A program was started and hangs."""


@dataclass(frozen=True)
class Answer:
    """How a program ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The last line it printed to stderr, else how it ended."""
        lines = self.err.strip().splitlines()
        return lines[-1].strip() if lines else ended(self.code)


def ask(command: Sequence[str], limit_s: float | None = None, environment: Mapping[str, str] | None = None) -> Answer:
    """Runs a program. Raises EnvironmentLacks when it cannot be started, NoAnswer when it takes longer than the limit.

    The program and what it started are then killed: a script's child would hold our pipe open for as long as it lives.
    """
    limit_s = limit_s or LIMIT_S
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentLacks(f"{command[0]} cannot be started: {error.strerror or error}") from error
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        _end(process)
        raise NoAnswer(f"`{shlex.join(command[:3])}` has not answered within {limit_s:g} s") from None
    return Answer(process.returncode, out, err)


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A process that hangs in the kernel does not even end when it is killed.
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)


def ended(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
