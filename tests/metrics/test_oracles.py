"""All families against golden numbers of the published code and of pytorch-metric-learning (`oracles/README.md`)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.metrics._agreement import agreement
from harness.metrics.density import Density
from harness.metrics.retrieval import Retrieval
from harness.metrics.spectrum import singular_values, spectral_decay

FOLDER = Path(__file__).parent / "oracles"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
SETS = dict(np.load(FOLDER / "sets.npz"))

cases = pytest.mark.parametrize("name", ["small", "medium"])
precisions = pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])


def load(name: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(SETS[f"{name}/emb"]).to(dtype), torch.from_numpy(SETS[f"{name}/labels"])


@cases
@precisions
def test_retrieval_agrees_with_brute_force_and_with_pytorch_metric_learning(name, dtype, within):
    values = Retrieval(both_divisors=True)(*load(name, dtype), 0).values
    exact, pml = EXPECTED[name]["exact"], EXPECTED[name]["pml"]
    assert {
        **{f"recall_at_{k}": exact[f"recall@{k}_without_lone_queries"] for k in (1, 2, 4, 8)},
        "r_precision": exact["r_precision"],
        "map_at_r": exact["mAP_at_R"],
        "map_at_1000": exact["mAP_at_1000"],
        "map": exact["mAP"],
    } == pytest.approx({key: values[key] for key in values if key in RETRIEVAL}, abs=within)
    assert values["map_at_r"] == pytest.approx(pml["mean_average_precision_at_r"], abs=within)
    assert values["recall_at_1"] == pytest.approx(pml["precision_at_1"], abs=within)


RETRIEVAL = [f"recall_at_{k}" for k in (1, 2, 4, 8)] + ["r_precision", "map_at_r", "map_at_1000", "map"]


@cases
@precisions
def test_published_map_follows_when_lone_samples_count_as_misses(name, dtype, within):
    embeddings, labels = load(name, dtype)
    values = Retrieval(both_divisors=True)(embeddings, labels, 0).values
    exact = EXPECTED[name]["exact"]
    queries = 1 - values["queries_excluded"] / len(labels)
    assert values["map_at_c"] * queries == pytest.approx(exact["a_convention_mAP_c"], abs=within)
    assert values["map_published"] * queries == pytest.approx(exact["a_convention_mAP_no_padding"], abs=within)
    assert values["map_at_1000_published"] * queries == pytest.approx(
        exact["a_convention_mAP_1000_no_padding"], abs=within
    )


@cases
@precisions
def test_density_agrees_with_brute_force(name, dtype, within):
    measured, exact = Density()(*load(name, dtype), 0), EXPECTED[name]["exact"]
    assert measured.values["pi_intra"] == pytest.approx(exact["pi_intra_without_lone_classes"], abs=within)
    assert measured.values["pi_inter"] == pytest.approx(exact["pi_inter"], abs=within)
    assert measured.values["density"] == pytest.approx(exact["pi_ratio_without_lone_classes"], abs=within)
    per_class = [value for value in exact["per_class_intra"] if value != "nan"]
    assert list(measured.per_class["pi_intra"].values()) == pytest.approx(per_class, abs=within)


@cases
@pytest.mark.parametrize("mode", [1, -1, 2, -2, 10])
def test_spectral_decay_agrees_with_the_published_code_in_every_mode(name, mode):
    singular = singular_values(load(name, torch.float64)[0])
    expected = float(EXPECTED[name]["rho"][str(mode)])
    assert spectral_decay(singular, mode) == pytest.approx(expected, abs=1e-9, nan_ok=True)


@cases
def test_the_spectrum_agrees_with_the_published_code(name):
    singular = singular_values(load(name, torch.float64)[0])
    assert (singular / singular.sum()).tolist() == pytest.approx(EXPECTED[name]["rho"]["0"], abs=1e-9)


@cases
@pytest.mark.parametrize("assignment", ["kmeans", "truth", "one_cluster", "random", "merged", "singletons"])
def test_agreement_of_given_assignments_is_that_of_scikit_learn_and_of_counting_pairs(name, assignment):
    values = agreement(SETS[f"{name}/labels"], SETS[f"{name}/assignment_{assignment}"])
    assert values == pytest.approx(EXPECTED[name]["assignments"][assignment], abs=1e-12)
