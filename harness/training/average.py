"""The moving average of a network's weights, which may be measured in place of the weights themselves."""

from __future__ import annotations

import copy
from typing import Any

from torch.optim.swa_utils import get_ema_multi_avg_fn

from harness.training.network import EmbeddingNetwork


class MovingAverage:
    """average <- decay * average + (1 - decay) * weights after every step, from the initial weights on.

    It looks back about 1 / (1 - decay) steps. Buffers, such as the statistics of batch norms, are averages already
    and are taken as they are.
    """

    def __init__(self, network: EmbeddingNetwork, decay: float) -> None:
        # torch's AveragedModel would wait for the device at each step, to learn how many steps there were.
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.source = network
        self.weights = list(self.average.parameters()), list(network.parameters())
        self.blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Follow the weights by one step."""
        self.blend(*self.weights, 0)

    def network(self) -> EmbeddingNetwork:
        """The network with averaged weights, as of now."""
        for mine, theirs in zip(self.average.buffers(), self.source.buffers(), strict=True):
            mine.copy_(theirs)
        return self.average

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.average.load_state_dict(state)
