"""Running checks: all at once, each with a limit, told in their order; one that fails is a problem, never an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from harness.doctor.verdict import State, Verdict, Where, problem
from harness.errors import HarnessError

GRACE_S = 1.0
"""How long checks that still run are waited for at the end."""


@dataclass(frozen=True)
class Check:
    """One thing to look at. `remedy` is told where the check fails or hangs and cannot say itself what would help."""

    name: str
    look: Callable[[Where], Verdict]
    remedy: str
    limit_s: float = 20.0


@dataclass(frozen=True)
class Finding:
    """One line of the answer; its fields are those of `harness doctor --json`."""

    check: str
    state: State
    found: str
    remedy: str


def examine(where: Where, checks: Sequence[Check]) -> Generator[Finding]:
    """What each check finds, in the order of the checks."""
    begun = time.monotonic()
    started = [_start(check, where) for check in checks]
    try:
        for check, (_, answer) in zip(checks, started, strict=True):
            verdict = _within(answer, begun + check.limit_s - time.monotonic(), check)
            yield Finding(check.name, verdict.state, _printable(verdict.found), _printable(verdict.remedy))
    finally:
        # Who ends early (Ctrl-C, `| head`) still lets the checks remove their files, unless they hang.
        deadline = time.monotonic() + GRACE_S
        for thread, _ in started:
            thread.join(max(0.0, deadline - time.monotonic()))


def _start(check: Check, where: Where) -> tuple[threading.Thread, SimpleQueue[Verdict]]:
    # A thread may hang for ever in a call to a file system whose server is gone. As a daemon it does not keep this
    # process from ending.
    answer: SimpleQueue[Verdict] = SimpleQueue()
    thread = threading.Thread(target=lambda: answer.put(_verdict(check, where)), name=check.name, daemon=True)
    thread.start()
    return thread, answer


def _within(answer: SimpleQueue[Verdict], seconds: float, check: Check) -> Verdict:
    try:
        return answer.get(timeout=max(0.01, seconds))
    except Empty:
        return problem(f"no answer within {check.limit_s:g} s", check.remedy)


def _verdict(check: Check, where: Where) -> Verdict:
    try:
        return check.look(where)
    except HarnessError as error:
        # Our messages end with what would help, after the first semicolon.
        found, _, remedy = str(error).partition("; ")
        return problem(found, remedy or check.remedy)
    except OSError as error:
        return problem(f"cannot be looked at: {error}", check.remedy)
    except Exception as error:
        return problem(f"the check itself failed: {type(error).__name__}: {error}", check.remedy)


def _printable(text: str) -> str:
    """One line that any terminal or file takes: names of files may hold bytes that are no letters."""
    return " ".join(text.encode(errors="replace").decode().split())
