"""What a step of Proxy-Anchor with NIR costs beside a plain flow: `python tests/benchmarks/bench_nir.py [--rounds 40]`.

The plain flow is what one writes with zuko alone: the same blocks, subnets, clamp and condition with its own lazy
transforms, on ready embeddings and proxies; its step is the mean of the negative log-likelihood and `backward`. Ours is
the objective, the regularizer and what it notes for the curves, and `backward` to embeddings, proxies and flow. Both
take turns step by step, so that other work on the machine meets both alike; shown are medians and the median of the
ratios of neighbors. The aim is a ratio of at most 1.3.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import LazyComposedTransform, UnconditionalTransform
from zuko.transforms import PermutationTransform

from harness.registry import build
from harness.regularizers._flow import ClampedAffineTransform

CLASSES = 100


def main(given: list[str] | None = None) -> float:
    """Prints one line a setting; gives the ratio of the first, the published one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=90)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args(given)
    torch.set_num_threads(arguments.threads)
    print(f"{'':24} ms/step: ours  plain flow  ratio")
    ratios = []
    for dim in arguments.dims:
        for form in ("exp_nll", "nll"):
            ours, plain, ratio = compare(dim, form, arguments.batch, arguments.rounds, torch.device(arguments.device))
            ratios.append(ratio)
            print(f"batch {arguments.batch}, {dim}-d, {form:10}{ours:14.2f}{plain:12.2f}{ratio:7.3f}", flush=True)
    return ratios[0]


def compare(dim: int, form: str, batch: int, rounds: int, device: torch.device) -> tuple[float, float, float]:
    """Median milliseconds of ours and of the plain flow, and the median ratio; the first rounds are not counted."""
    torch.manual_seed(0)
    embeddings = normalize(torch.randn(batch, dim, device=device), dim=1)
    labels = torch.randint(CLASSES, (batch // 2,), device=device).repeat_interleave(2)
    sides = (our_step(form, embeddings, labels), plain_step(embeddings, labels))
    turns = [[timed(step, device) for step in sides] for _ in range(rounds + 3)][3:]
    ours, plain = (1000 * statistics.median(times) for times in zip(*turns, strict=True))
    return ours, plain, statistics.median(one / other for one, other in turns)


def our_step(form: str, embeddings: Tensor, labels: Tensor) -> Callable[[], None]:
    """Loss and gradients as in a training step."""
    dim = embeddings.shape[1]
    objective = build("objective", "proxy_anchor", num_classes=CLASSES, embedding_dim=dim).to(embeddings.device)
    options = {"weight_on": "proxy", "weight": 0.0075, "per_dimension": False} if form == "exp_nll" else {}
    regularizer = build("regularizer", "nir", embedding_dim=dim, form=form, **options).to(embeddings.device)

    def step() -> None:
        objective.zero_grad()
        regularizer.zero_grad()
        batch = embeddings.clone().requires_grad_()
        regularizer.on_loss(objective(batch, labels), batch, labels, objective).backward()

    return step


def plain_step(embeddings: Tensor, labels: Tensor) -> Callable[[], None]:
    """The flow alone, by zuko's own transforms."""
    dim = embeddings.shape[1]
    flow = LazyComposedTransform(*(part for number in range(5) for part in block(dim, number))).to(embeddings.device)
    proxies = normalize(torch.randn(CLASSES, dim, device=embeddings.device), dim=1)

    def step() -> None:
        flow.zero_grad()
        batch, conditions = embeddings.clone().requires_grad_(), proxies[labels].requires_grad_()
        latent, logdet = flow(conditions).call_and_ladj(batch)
        (latent.square().sum(1) / 2 - logdet).mean().backward()

    return step


def block(dim: int, number: int) -> list[torch.nn.Module]:
    """A permutation and two couplings with the published subnets."""
    order = torch.from_numpy(np.random.RandomState(number).permutation(dim))
    second = torch.arange(dim) >= dim // 2
    affine = partial(ClampedAffineTransform, clamp=2.0)
    coupling = partial(GeneralCouplingTransform, dim, context=dim, univariate=affine, hidden_features=[128] * 7)
    return [
        UnconditionalTransform(PermutationTransform, order, buffer=True),
        coupling(mask=second),
        coupling(mask=~second),
    ]


def timed(step: Callable[[], None], device: torch.device) -> float:
    """Seconds of a step, with what it leaves the device to do."""
    synchronize(device)
    begin = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - begin


def synchronize(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
