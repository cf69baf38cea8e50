"""Specs, results and run folders in miniature."""

from harness.specs import Choice, ClassScores, Curve, Measurement, RunResult, RunSpec, Spectrum, Training
from harness.store.spool import RunFolder


def make_spec(seed=0, objective="triplet", miner="semihard", regularizer=None, epochs=2, **options):
    return RunSpec(
        dataset=Choice("glyphs", {"per_class": 24}),
        backbone=Choice("convnet", {"embedding_dim": 64}),
        objective=Choice(objective, options),
        sampler=Choice("class_balanced", {"samples_per_class": 2}),
        miner=Choice(miner) if miner else None,
        regularizer=Choice("rho", {"probability": regularizer}) if regularizer else None,
        training=Training(epochs=epochs),
        seed=seed,
    )


def make_result(spec, recall=0.5, **changes):
    values = {
        "measurements": [
            Measurement("test", "recall_at_1", "last", 2, recall),
            Measurement("test", "recall_at_1", "best_test", 1, recall + 0.1),
            Measurement("train", "density", "last", 2, 0.25),
        ],
        "curves": [
            Curve("test", "recall_at_1", [1, 2], [recall + 0.1, recall]),
            Curve("train", "loss", [1, 2], [1.0, None]),
        ],
        "spectra": [Spectrum("test", "last", 2, [0.7, 0.2, 0.1])],
        "class_scores": [ClassScores("test", "recall_at_1", "last", 2, {"я": 0.25, "ж": 0.75})],
        "cost": {"train_seconds": 1.5, "step_ms": 12.0},
        "provenance": {"commit": "abc"},
    }
    return RunResult(spec.run_id, "done", **{**values, **changes})


def make_failed(spec, cause="diverged"):
    return RunResult(spec.run_id, "failed", cause=cause, message="the loss became nan", traceback="Traceback ...")


def run_it(results_dir, spec, result):
    """What a worker does: write, take, publish."""
    folder = RunFolder(results_dir, spec.run_id)
    folder.write_spec(spec)
    lease = folder.take(device="cpu", provenance={"version": "0.1.0"})
    folder.publish(result, lease)
    return folder
