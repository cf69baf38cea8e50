"""The forward pass of training, compiled by `torch.compile` where a study asks for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.errors import EnvironmentLacks
from harness.training.network import EmbeddingNetwork


def compiled(network: EmbeddingNetwork, mode: str) -> Callable[[Tensor], Tensor]:
    """The network as a function of a training batch, all of which have one shape; `mode` is one of torch's, or "none".

    The network itself stays as it is: its state has the same names, and evaluation calls it without compiling. The
    function raises EnvironmentLacks when this machine cannot compile.
    """
    if mode == "none":
        return network
    torch.compiler.reset()  # a worker trains many runs, and torch compiles one function only so many times
    forward = torch.compile(network, mode=mode, dynamic=False)

    def run(images: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        try:
            embeddings: Tensor = forward(images)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise EnvironmentLacks(cannot_compile(mode, error)) from error
        # A CUDA graph writes the embeddings of the next batch over these, which an objective or a miner may remember.
        return embeddings if mode == "default" else embeddings.clone()

    return run


def cannot_compile(mode: str, error: Exception) -> str:
    """What to do about it."""
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"the network could not be compiled (training.compile: {mode}): {reason}. torch.compile needs a C++ compiler "
        "such as g++ on every machine that trains and, for a GPU, the package triton; right would be to install them, "
        "or training.compile: none"
    )
