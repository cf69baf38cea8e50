"""A miner that sleeps, so that a run lasts without work for a machine on which many jobs run at a time."""

import os
import time

from harness.miners.semihard import Semihard

PAUSE = "HARNESS_TEST_PAUSE_S"
"""The variable with the seconds; no part of the run, whose numbers are those of the sleepless."""


class SlowMiner(Semihard):
    def __call__(self, embeddings, labels, generator=None):
        time.sleep(float(os.environ.get(PAUSE, "0")))
        return super().__call__(embeddings, labels, generator)
