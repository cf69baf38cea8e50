"""A miner that makes a run last, without work for the machine, until a test has seen or done what it wants.

Its numbers are those of semi-hard mining, however long it takes.
"""

import os
import time
from pathlib import Path

from harness.miners.semihard import Semihard

PAUSE = "HARNESS_TEST_PAUSE"
"""The variable that names a file with the seconds that a step takes longer; none without the file."""

FREE_STEPS = 9
"""The first steps of every attempt are as fast as they can."""


class SlowMiner(Semihard):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def __call__(self, embeddings, labels, generator=None):
        self.steps += 1
        begin = time.monotonic()
        while self.steps > FREE_STEPS and time.monotonic() - begin < pause_s():
            time.sleep(0.02)
        return super().__call__(embeddings, labels, generator)


def pause_s() -> float:
    """How long a step should take now."""
    try:
        return float(Path(os.environ[PAUSE]).read_text() or 0)
    except (KeyError, FileNotFoundError):
        return 0.0
