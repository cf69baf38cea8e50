"""Where the time of a run goes: `python tests/benchmarks/bench_epoch.py [study.yaml] [epochs]`.

Trains one run of every method of a study (seed 0, few epochs, one thread) in this process and prints, for each, the
milliseconds of a training step and the shares of an epoch. `network` is forward and backward of the training batches
and the embedding pass of the evaluation; `outside` is the rest: making batches, mining, objective, optimizer, metrics,
checkpoint, bookkeeping.
"""

import sys
import tempfile
from pathlib import Path

import torch

from harness.store.labels import method_labels
from harness.study import Study
from harness.training.assemble import Context
from harness.training.execute import execute

SHARES = ("batch", "sampling", "mining", "objective", "optimizer", "metrics", "checkpoint")


def main(path: str = "studies/fair_comparison.yaml", epochs: str = "3") -> None:
    torch.set_num_threads(1)
    study = Study.load(path, overrides={"training.epochs": epochs, "seeds": "1"})
    labels = method_labels(study.runs())
    print(f"{'method':52} {'ms/step':>8} {'epoch s':>8} {'network':>8} {'outside':>8}  " + "  ".join(SHARES))
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        execute(study.runs()[0], Context(Path("data"), cache))  # draws the letters, warms up
        for spec in study.runs():
            context = Context(Path("data"), cache, checkpoint=Path(folder) / f"{spec.run_id}.pt")
            result = execute(spec, context)
            if result.state == "failed":
                print(f"{labels[spec.run_id]:52} failed: {result.message}")
                continue
            print_shares(labels[spec.run_id], result.cost, spec.training.epochs)


def print_shares(label: str, cost: dict[str, float], epochs: int) -> None:
    total = cost["total_seconds"]
    network = cost["forward_backward_seconds"] + cost["embedding_seconds"]
    shares = "  ".join(f"{cost.get(f'{share}_seconds', 0) / total:{len(share)}.1%}" for share in SHARES)
    step = 1000 * cost["train_seconds"] / cost["steps"]
    print(f"{label:52} {step:8.1f} {total / epochs:8.2f} {network / total:8.1%} {1 - network / total:8.1%}  {shares}")


if __name__ == "__main__":
    main(*sys.argv[1:])
