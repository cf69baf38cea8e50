"""Work on several threads, each of which does single-threaded operations of torch and numpy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def single_threaded() -> Iterator[int]:
    """Gives the number of threads that torch may use and takes them away from its single operations.

    Tiles are too small to be shared between threads, and half of what is done to them is not torch's; the threads
    work on different tiles instead.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def finish(work: Callable[[Item], object], items: Iterable[Item], threads: int) -> None:
    """Does work for all items, each on one thread."""
    for _ in in_turn(work, items, threads):
        pass


def in_turn(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """What work gives for each item, in their order; each is done on one thread, a few ahead of what is taken."""
    if threads == 1:
        yield from map(work, items)
        return
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
