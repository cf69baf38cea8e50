"""One run from start to end: what a worker does with a spec."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import torch

from harness.errors import DataError, Interrupted, RunFailed
from harness.specs import RunResult, RunSpec
from harness.training.assemble import Context, Parts, assemble
from harness.training.checkpoint import Checkpoint
from harness.training.epoch import Look, evaluate, look, timed, train_one_epoch
from harness.training.evidence import write_evidence
from harness.training.gpu import about_device, metered
from harness.training.history import History
from harness.training.precision import tensorfloat32
from harness.training.sealed import is_look, keep_weights, last_of


def execute(spec: RunSpec, context: Context) -> RunResult:
    """Train and measure one run; a failure is a result with its cause.

    Raises Interrupted when the context asks to stop; the last checkpoint is then kept.
    """
    try:
        with tensorfloat32(spec.training.tf32):
            return look_once(spec, context) if is_look(spec) else train(spec, context)
    except Interrupted:
        raise
    except Exception as error:
        return failure(spec, error)


def train(spec: RunSpec, context: Context) -> RunResult:
    """The run itself: go on from the last checkpoint, epoch by epoch, to the result."""
    begin = time.perf_counter()
    forget_peak_memory(torch.device(context.device))
    parts = assemble(spec, context)
    checkpoint = Checkpoint(context.checkpoint, parts)
    history = checkpoint.load()
    history.spend("setup_seconds", time.perf_counter() - begin)
    parts.teller.begin(history, checkpoint.steps_under_way)
    looks: dict[str, Look] | None = None
    while history.epoch < spec.training.epochs:
        with timed(history, "total_seconds"), metered(history, parts.device):
            looks = run_epoch(parts, history, context, checkpoint)
        parts.teller.epoch(history)
    if context.evidence is not None:
        keep_evidence(context.evidence, parts, history, looks)
    keep_weights(parts, history, context)
    context.at_end(parts, history)
    return result(parts, history)


def look_once(spec: RunSpec, context: Context) -> RunResult:
    """The result of a final run of a tuned study with its test metrics: its weights, measured where it was not."""
    begin = time.perf_counter()
    parts = assemble(spec, context)
    history = last_of(parts, context)
    looks = look(parts, history, ("test",))
    history.record_look("test", looks["test"].measured)
    if context.evidence is not None:
        keep_evidence(context.evidence, parts, history, looks)
    history.spend("unseal_seconds", time.perf_counter() - begin)
    return result(parts, history)


def run_epoch(parts: Parts, history: History, context: Context, checkpoint: Checkpoint) -> dict[str, Look] | None:
    """Train, measure when it is due, save; gives what was measured after the last epoch, None before."""
    looks = None
    with timed(history, "train_seconds"):
        train_one_epoch(parts, history, context, checkpoint)
    last = history.epoch == parts.spec.training.epochs
    if last or history.epoch % parts.spec.evaluation.every == 0:
        looks = evaluate(parts, history)
    with timed(history, "checkpoint_seconds"):
        checkpoint.save(history)
    return looks if last else None  # the embeddings of both splits would stay on the device for the next epoch


def keep_evidence(path: Path, parts: Parts, history: History, looks: dict[str, Look] | None) -> None:
    """Leave the evidence of the test split, if it is measured, as the last epoch showed it.

    A run that was interrupted after its last epoch has nothing to show any more, and looks once more.
    """
    seen = (look(parts, history) if looks is None else looks).get("test")
    if seen is not None:
        write_evidence(path, parts.spec, history.epoch, seen)


def result(parts: Parts, history: History) -> RunResult:
    """All numbers of a finished run."""
    return RunResult(
        run_id=parts.spec.run_id,
        state="done",
        measurements=history.measurements(),
        curves=history.curve_list(),
        spectra=history.spectra(),
        class_scores=history.class_scores(parts.data.bank.class_names),
        cost=history.cost | peak_memory(parts.device),
        provenance={
            "data_digest": parts.data.digest,
            "split_digest": parts.data.split_digest,
            "classes": dict(parts.data.class_digests),
            **({"weights_digest": parts.weights_digest} if parts.weights_digest else {}),
            **about_device(parts.device),
            "torch": torch.__version__,
        },
    )


def forget_peak_memory(device: torch.device) -> None:
    """Begin anew to watch the memory of a device, and return what earlier runs of this process have left unused."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """Peak memory of the run on the device, where the device can tell."""
    if device.type != "cuda":
        return {}
    return {"peak_device_memory_mb": torch.cuda.max_memory_allocated(device) / 2**20}


def failure(spec: RunSpec, error: Exception) -> RunResult:
    """The row of a run without numbers: cause, message and the end of the traceback."""
    text = "".join(traceback.format_exception(error))
    message = str(error) or type(error).__name__
    return RunResult(spec.run_id, "failed", cause_of(error), message, "\n".join(text.splitlines()[-40:]))


def cause_of(error: Exception) -> str:
    """One word of `specs.CAUSES`."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return "out_of_memory"
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return "out_of_memory"  # the CPU allocator has no exception of its own
    if isinstance(error, RunFailed):
        return error.cause
    if isinstance(error, DataError):
        return "bad_data"
    return "exception"
