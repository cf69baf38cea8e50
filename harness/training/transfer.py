"""Pixels on their way from the bank to the device: nothing to do where both are the same, one batch ahead elsewhere.

A bank that a GPU cannot hold stays mapped from disk, shared by all processes of the machine. Mapped pages cannot be
pinned, so that each batch is gathered into a pinned buffer, by a thread and while the GPU works on the batch before,
and copied from there on a stream of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HEADROOM = 0.5
"""The share of a GPU's free memory that a bank may take; the rest is the network's."""

Wanted = TypeVar("Wanted")
Ready = TypeVar("Ready")

Fetched = tuple[Tensor, Tensor, NDArray[np.int64] | None]
"""Indices of a batch, images on the device, and which of these make the batch (None: all of them, in turn)."""


def fits_on(device: torch.device, *arrays: Tensor) -> bool:
    """Whether a bank should be moved to a device: a GPU that has, now, much more memory free than it takes."""
    if device.type != "cuda":
        return False
    return sum(array.nbytes for array in arrays) <= HEADROOM * torch.cuda.mem_get_info(device)[0]


def fetched(images: Tensor, chosen: Iterable[Tensor], device: torch.device) -> Iterator[Fetched]:
    """The images [N, S, S, C] that each of the `chosen` index tensors needs, on the device.

    Where the device holds all of them, that is all of them, and the rows are the indices.
    """
    if images.device.type == device.type:
        return ((indices, images, indices.numpy()) for indices in chosen)
    return _travelled(images, chosen, device)


def one_ahead(work: Callable[[Wanted], Ready], items: Iterable[Wanted]) -> Iterator[tuple[Wanted, Ready]]:
    """Each item with what `work` makes of it, which a thread begins before the item before is handed out."""
    waiting: deque[tuple[Wanted, Future[Ready]]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            waiting.append((item, thread.submit(work, item)))
            if len(waiting) > 1:
                first, made = waiting.popleft()
                yield first, made.result()
        for first, made in waiting:
            yield first, made.result()


def _travelled(images: Tensor, chosen: Iterable[Tensor], device: torch.device) -> Iterator[Fetched]:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(indices: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        # The allocator of pinned memory hands a buffer out again only when the copy from it is done.
        pinned = torch.empty((len(indices), *images.shape[1:]), dtype=torch.uint8, pin_memory=True)
        torch.index_select(images, 0, indices, out=pinned)
        with torch.cuda.stream(stream):
            sent = pinned.to(device, non_blocking=True)
            return sent, stream.record_event()

    for indices, (sent, arrival) in one_ahead(send, chosen):
        working = torch.cuda.current_stream(device)
        working.wait_event(arrival)
        sent.record_stream(working)  # made on the other stream, which must not reuse its memory before we are done
        yield indices, sent, None
