"""What a bad file may at most cost: each is read in a process of bounded time and memory, and told of in counts."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

SECONDS = 2.0
MEGABYTES = 500
"""For one file, the memory beyond what the libraries take that are needed to read a file at all."""


@dataclass
class Tally:
    """What became of some files. `faults`: what each was, and how it ended other than by yes or by one message."""

    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    slowest_name: str = ""
    grown_mb: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.accepted + self.refused + len(self.faults)


class TooSlow(BaseException):
    """No `except Exception` catches it."""


def hammer(cases: Iterable[tuple[str, Any]], read: Callable[[Any], None], refusal: tuple[int, ...] = (2,)) -> Tally:
    """Give every case to a reader; a refusal is a HarnessError with one of these exit codes and a message."""
    tally = Tally()
    signal.signal(signal.SIGPROF, _too_slow)
    with bounded_memory():
        before = peak_mb()
        for name, case in cases:
            begin = time.process_time()
            fault = ended(read, case, refusal, tally)
            took = time.process_time() - begin
            if fault:
                tally.faults.append((name, fault))
            if took > tally.slowest:
                tally.slowest, tally.slowest_name = took, name[:300]
        tally.grown_mb = peak_mb() - before
    return tally


def ended(read: Callable[[Any], None], case: Any, refusal: tuple[int, ...], tally: Tally) -> str:
    """Count what became of one case; the fault, where there is one."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        read(case)
        tally.accepted += 1
    except HarnessError as error:
        tally.refused += 1
        signal.setitimer(signal.ITIMER_PROF, 0)
        return wrong_refusal(error, refusal)
    except (Exception, TooSlow) as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        last = [
            f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-5:]
        ]
        return f"{type(error).__name__}: {str(error)[:300]} ({' > '.join(last)})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ""


def wrong_refusal(error: HarnessError, refusal: tuple[int, ...]) -> str:
    """What is wrong with a refusal: its exit code, no message, an endless one, or one that a terminal would obey."""
    text = str(error)
    if error.exit_code not in refusal:
        return f"refused with exit code {error.exit_code}: {text[:300]}"
    if not 10 < len(text) < 100_000:
        return f"refused with a message of {len(text)} characters"
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in text):
        return f"refused with control characters: {text[:300]!r}"
    return ""


def _too_slow(*_: Any) -> None:
    raise TooSlow(f"more than {SECONDS} s")


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let the process grow by `MEGABYTES` and no further: more is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEGABYTES * 2**20, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def in_child(script: Path, *arguments: str, folder: Path) -> Tally:
    """The tally that a script prints, run in a process and a folder of its own."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments], cwd=folder, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Tally(**json.loads(done.stdout.splitlines()[-1]))


def tell(tally: Tally) -> None:
    """Print a tally for `in_child`."""
    print(json.dumps(asdict(tally)))
