"""An epoch under way: all that decides its remaining steps, so that a run can be left and taken up between any two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.seeding import seed_for
from harness.training.divergence import StepLog


class EpochUnderWay:
    """The batches of an epoch [steps, B] as positions in the training set, how many of them are done, and what chance
    the next ones will have. Streams are derived from (seed, purpose, epoch); inside an epoch they have a state."""

    def __init__(self, seed: int, epoch: int, batches: Tensor, device: torch.device) -> None:
        self.batches = batches
        self.device = device
        self.step = 0
        self.log = StepLog(len(batches))
        torch.manual_seed(seed_for(seed, "dropout", epoch))
        self.mining = torch.Generator(device).manual_seed(seed_for(seed, "mining", epoch))

    @property
    def rest(self) -> Tensor:
        """The batches that are still to come."""
        return self.batches[self.step :]

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint."""
        chance = {"mining": self.mining.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            chance["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "batches": self.batches,
            "step": self.step,
            "log": self.log.state(),
            "chance": chance,
        }

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from a state of this epoch, with the chance that its next step would have had."""
        self.step = state["step"]
        self.log.load_state(state["log"])
        chance = {name: stream.cpu() for name, stream in state["chance"].items()}
        self.mining.set_state(chance["mining"])
        torch.set_rng_state(chance["cpu"])
        if "cuda" in chance and self.device.type == "cuda":
            torch.cuda.set_rng_state(chance["cuda"], self.device)
