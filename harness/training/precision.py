"""In what arithmetic a run computes: said by its spec, whatever the defaults of torch, and put back after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tensorfloat32(allowed: bool) -> Iterator[None]:
    """Whether float32 products and convolutions on a GPU may round their factors to the 10 bits of TensorFloat-32.

    torch allows it in convolutions and not in products, unless told; inside, both are as `allowed` says.
    """
    # These two switches exist in every release from 2.6 on and agree with the newer `fp32_precision`; one set by the
    # newer name makes torch refuse to read the older, which some of its own code does.
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32, convolutions.allow_tf32 = allowed, allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision for a forward pass: products in bfloat16, what needs more digits in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
