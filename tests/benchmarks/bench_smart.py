"""What mining the whole training set costs beside the forward pass, on clustered synthetic embeddings.

    python tests/benchmarks/bench_smart.py --sizes 5000 20000 60000 --exhaustive 6000 20000 60000
    python tests/benchmarks/bench_smart.py --sizes 200000 --kinds hnsw --against 2000

For each number of samples: the bare search (`faiss.knn`, or building and searching the bare index), the whole mining
step (lists without the sample itself, kappa, Algorithm 1) in turns with it, and their ratio; the selection alone; the
recall of the lists and how many anchors have the negative of exact lists (of `--against` anchors); the highest memory
of the process so far. Then the straightforward exhaustive miner. Seconds are processor seconds of all threads, the best
of `--repeat` turns, because other work on the machine only ever adds time; of the exhaustive miner, one.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.faiss_loader import load_faiss
from harness.miners._controller import Controller, Law
from harness.miners._members import Ints, Members
from harness.miners._neighbors import Wanted, nearest, recall
from harness.miners._searchers import searcher
from harness.miners._selection import Lists, reach, select
from harness.miners.exhaustive import hardest

DIM, LATENT = 128, 24

Made = TypeVar("Made")


def main() -> None:
    """Prints one line a size and index, then one a size of the exhaustive miner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[5000, 20000])
    parser.add_argument("--kinds", nargs="*", default=["flat", "hnsw"])
    parser.add_argument("--exhaustive", type=int, nargs="*", default=[6000])
    parser.add_argument("--neighbors", type=int, default=100)
    parser.add_argument("--against", type=int, default=2000, help="anchors whose exact lists are compared")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load_faiss().omp_set_num_threads(arguments.threads)
    print(f"d = {DIM}, k = {arguments.neighbors}, {arguments.threads} threads; processor seconds")
    print("      N index    bare search  mining step  ratio  selection  recall@10  same negative  peak MB", flush=True)
    for size in arguments.sizes:
        for kind in arguments.kinds:
            print(measured(size, kind, arguments.neighbors, arguments.against, arguments.repeat), flush=True)
    for size in arguments.exhaustive:
        rows, labels = clustered(size)
        seconds, _ = timed(lambda rows=rows, labels=labels: hardest(rows, labels, np.arange(len(rows))))
        print(f"{size:7d} exhaustive miner: {seconds:8.2f} s{peak():9.0f} MB at most so far", flush=True)


def measured(size: int, kind: str, k: int, against: int, repeat: int) -> str:
    """One line of the table."""
    rows, labels = clustered(size)
    members = Members.by(labels)
    anchors = members.anchors
    turns = [
        (timed(lambda: bare(rows, kind, k))[0], timed(lambda: mined(rows, anchors, members, kind, k)))
        for _ in range(repeat)
    ]
    alone, whole = min(turn[0] for turn in turns), min(turn[1][0] for turn in turns)
    lists, chosen_negatives = turns[0][1][1]
    selection = min(timed(lambda: chosen(lists, anchors, members))[0] for _ in range(3))
    some = np.sort(np.random.default_rng(0).permutation(len(anchors))[:against])
    exact, _ = nearest(rows, anchors[some], k, Wanted("flat"), torch.Generator().manual_seed(0))
    same = float((chosen(exact, anchors[some], members) == chosen_negatives[some]).mean())
    found = recall(lists.neighbors[some], exact.neighbors[:, :10])
    return (
        f"{size:7d} {kind:6s}{alone:14.2f}{whole:13.2f}{whole / alone:7.2f}{selection:11.3f}{found:11.4f}{same:15.4f}"
        f"{peak():9.0f}"
    )


def peak() -> float:
    """The highest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def clustered(size: int) -> tuple[Tensor, Ints]:
    """Unit-norm embeddings of `size` samples in classes of about 20 around centers of a latent space, and labels."""
    generator = torch.Generator().manual_seed(0)
    classes = max(2, size // 20)
    labels = torch.randint(classes, (size,), generator=generator)
    latent = torch.randn(classes, LATENT, generator=generator)[labels] + 0.6 * torch.randn(
        size, LATENT, generator=generator
    )
    rows = latent @ torch.randn(LATENT, DIM, generator=generator) + 0.5 * torch.randn(size, DIM, generator=generator)
    return torch.nn.functional.normalize(rows).contiguous(), labels.numpy()


def bare(rows: Tensor, kind: str, k: int) -> None:
    """Nothing but the search."""
    if kind == "flat":
        load_faiss().knn(rows.numpy(), rows.numpy(), k + 1)
    else:
        searcher(kind, rows, None, k).find(np.arange(len(rows)), k + 1)


def mined(rows: Tensor, anchors: Ints, members: Members, kind: str, k: int) -> tuple[Lists, Ints]:
    """The whole mining step, as the miner does it after the forward pass."""
    lists, _ = nearest(rows, anchors, k, Wanted(kind, min_recall=0.0), torch.Generator().manual_seed(0))
    return lists, chosen(lists, anchors, members)


def chosen(lists: Lists, anchors: Ints, members: Members) -> Ints:
    """The negatives of an epoch, with the coverage that the controller looks at."""
    farthest = reach(lists, anchors, members)
    Controller().next_kappa(Law(), 0.6, lambda kappa: float((farthest >= kappa).mean()), 0.2)
    return select(lists, anchors, members, 1.25, 1, torch.Generator().manual_seed(0)).negative[:, 0]


def timed(work: Callable[[], Made]) -> tuple[float, Made]:
    """Processor seconds of all threads, and what came of it."""
    begin = time.process_time()
    made = work()
    return time.process_time() - begin, made


if __name__ == "__main__":
    main()
