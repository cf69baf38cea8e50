"""Times every family of metrics on clustered synthetic embeddings, retrieval beside pytorch-metric-learning.

    python tests/benchmarks/bench_metrics.py 20000x128x100 60502x512x11316 --repeat 3

A set is N x D x classes. Both sides run in this process in turn, on the same embeddings and with the same number of
threads; the best of `--repeat` is shown, because other work on the machine only ever adds time. Theirs is
AccuracyCalculator(include=(precision_at_1, r_precision, mean_average_precision_at_r), k="max_bin_count").
`peak` is the process's memory after our retrieval, `all` after everything; both only ever rise from set to set.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import torch

from harness.faiss_loader import load_faiss
from harness.metrics._agreement import agreement
from harness.metrics.density import Density
from harness.metrics.retrieval import Retrieval
from harness.metrics.spectrum import Spectrum

SETS = ["2400x64x100", "5000x128x100", "20000x128x100", "20000x128x4000"]


def main() -> None:
    """Prints one line a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=SETS, metavar="NxDxC")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only-ours", action="store_true", help="for the peak memory of ours alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load_faiss().omp_set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads, best of {arguments.repeat}, seconds; peak memory in MB, {peak():.0f} at start")
    print("set                   ours  theirs  ratio  ours_cpu  theirs_cpu  agreement  density  spectrum  peak   all")
    for name in arguments.sets:
        print(f"{name:18s}{row(name, arguments.repeat, not arguments.only_ours)}", flush=True)


def row(name: str, repeat: int, theirs_too: bool) -> str:
    """The numbers of one set, as text."""
    embeddings, labels = clustered(*(int(part) for part in name.split("x")))
    Retrieval()(embeddings, labels, 0)
    ours_peak = peak()
    theirs = pytorch_metric_learning(embeddings, labels) if theirs_too else None
    ours_at, theirs_at = [], []
    for _ in range(repeat):
        ours_at.append(seconds(lambda: Retrieval()(embeddings, labels, 0)))
        if theirs:
            theirs_at.append(seconds(theirs))
    ours, ours_cpu = (min(times) for times in zip(*ours_at, strict=True))
    other, other_cpu = (min(times) for times in zip(*theirs_at, strict=True)) if theirs else (float("nan"),) * 2
    clusters = (
        torch.randint(0, int(labels.max()) + 1, labels.shape).where(torch.rand(len(labels)) < 0.3, labels).numpy()
    )
    agreeing = min(seconds(lambda: agreement(labels.numpy(), clusters))[0] for _ in range(repeat))
    density = min(seconds(lambda: Density()(embeddings, labels, 0))[0] for _ in range(repeat))
    spectrum = min(seconds(lambda: Spectrum()(embeddings, labels, 0))[0] for _ in range(repeat))
    return (
        f"{ours:8.3f}{other:8.3f}{ours / other:7.2f}{ours_cpu:10.3f}{other_cpu:12.3f}"
        f"{agreeing:11.3f}{density:9.3f}{spectrum:10.3f}{ours_peak:6.0f}{peak():6.0f}"
    )


def clustered(number: int, dimensions: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit embeddings around random class centers, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (number,), generator=generator)
    centers = torch.randn(classes, dimensions, generator=generator)
    embeddings = torch.randn(number, dimensions, generator=generator)
    for rows, own in zip(embeddings.split(4096), labels.split(4096), strict=True):  # leaves no trace in peak memory
        rows.mul_(1.5).add_(centers[own])
        rows.div_(rows.norm(dim=1, keepdim=True))
    return embeddings, labels


def pytorch_metric_learning(embeddings: torch.Tensor, labels: torch.Tensor) -> Callable[[], object]:
    """Their evaluation, ready to run."""
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=names, k="max_bin_count", device=torch.device("cpu"))
    return lambda: calculator.get_accuracy(embeddings, labels)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor time of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak() -> float:
    """Peak memory of this process so far in MB, libraries included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
