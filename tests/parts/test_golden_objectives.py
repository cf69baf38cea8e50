"""Objectives against golden numbers of three other code bases (oracles/README.md): values and gradients in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from part_batches import all_triplets

from harness.registry import OBJECTIVES, build
from harness.tuples import Triplets

NUMBERS = np.load(Path(__file__).parent / "oracles" / "objectives.npz")
BATCHES = ("s0_b16_d8_raw", "s0_b24_d8_norm", "s1_b24_d8_raw")
PUBLISHED = {"as_published": True}
FORMS = [
    ("pml.contrastive", "contrastive", {}),
    ("a.contrastive", "contrastive", PUBLISHED),
    ("pml.contrastive@rho", "contrastive", {}),
    ("a.contrastive@rho", "contrastive", PUBLISHED),
    ("a.triplet", "triplet", {}),
    ("a.triplet@softhard", "triplet", {}),
    ("a.triplet@rho", "triplet", {}),
    ("pml.margin_b06", "margin", {}),
    ("pml.margin_perclass", "margin", {}),
    ("pml.margin_b12@rho", "margin", {}),
    ("a.margin_b06", "margin", PUBLISHED),
    ("a.margin_perclass", "margin", PUBLISHED),
    ("a.margin_b12@rho", "margin", PUBLISHED),
    ("a.snr", "snr", {}),
    ("a.snr@softhard", "snr", {}),
    ("pml.snr@softhard", "snr", {}),
    ("own.quadruplet_rowwise", "quadruplet", {}),
    ("a.quadruplet", "quadruplet", PUBLISHED),
    ("a.npair", "n_pair", {}),
    ("pml.npair", "n_pair", {}),
    ("a.angular", "angular", {}),
    ("a.lifted", "generalized_lifted", PUBLISHED),
    ("pml.lifted", "generalized_lifted", {}),
    ("a.multisimilarity", "multi_similarity", {}),
    ("pml.multisimilarity_meanreducer", "multi_similarity", {"average": "batch"}),
    ("a.histogram", "histogram", {}),
    ("pml.arcface", "arcface", {}),
    ("a.softmax", "normalized_softmax", {}),
    ("a.proxynca", "proxy_nca", {}),
    ("pml.proxynca", "proxy_nca_plus_plus", {}),
    ("own.softtriplet_paper", "soft_triple", {}),
    ("a.softtriplet", "soft_triple", PUBLISHED),
    ("pml.proxyanchor", "proxy_anchor", {}),
    ("b.oproxy_anchor", "proxy_anchor", PUBLISHED),
]
SHIFTED = ("a.contrastive", "a.contrastive@rho", "a.lifted")  # add 1e-6 to every coordinate difference
# rho-regularized triplets were recorded for unit-norm batches alone.
CASES = [(*form, batch) for form in FORMS for batch in BATCHES if f"{batch}/{form[0]}/value" in NUMBERS]


def stored(batch, oracle, what):
    key = f"{batch}/{oracle}/{what}"
    return torch.tensor(NUMBERS[key]).double() if key in NUMBERS else None


def tuples_of(batch, oracle, takes):
    def rows(name):
        return torch.tensor(NUMBERS[f"{batch}/{name}"])

    if "npair" in oracle or "angular" in oracle:
        anchors = rows("npair_anchors")
        return Triplets(anchors, rows("npair_positives"), anchors)
    if takes == "batch":
        return None
    suffix = oracle.partition("@")[2] or "random"
    return Triplets(*rows(f"T_{suffix}").T)


@pytest.mark.parametrize(("oracle", "name", "options", "batch"), CASES, ids=[f"{case[0]}-{case[3]}" for case in CASES])
def test_objectives_give_the_golden_value_and_gradients(oracle, name, options, batch):
    value = stored(batch, oracle, "value")
    embeddings = torch.tensor(NUMBERS[f"{batch}/emb"], requires_grad=True)
    labels = torch.tensor(NUMBERS[f"{batch}/labels"])
    part = build("objective", name, num_classes=10 if "b16" in batch else 9, embedding_dim=8, **options).double()
    own = next(part.parameters(), None)
    if own is not None:
        own.data = stored(batch, oracle, "param")
    fourth = {"fourth": torch.tensor(NUMBERS[f"{batch}/quad_fourth"])} if name == "quadruplet" else {}

    loss = part(embeddings, labels, tuples_of(batch, oracle, part.takes), **fourth)
    loss.backward()

    torch.testing.assert_close(loss, value, rtol=1e-9 if oracle in SHIFTED else 1e-7, atol=0)
    for found, wanted in ((embeddings.grad, "grad"), (None if own is None else own.grad, "grad_param")):
        expected = stored(batch, oracle, wanted)
        if expected is not None:
            assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_all_golden_numbers_are_used_and_most_come_with_a_gradient():
    assert len(CASES) == sum(name.endswith("/value") for name in NUMBERS.files)
    assert sum(f"{batch}/{oracle}/grad" in NUMBERS for oracle, _, _, batch in CASES) > 80


def test_every_objective_but_cosface_has_a_golden_number():
    assert {name for _, name, _ in FORMS} >= set(OBJECTIVES.names()) - {"cosface", "triplet_ratio"}


def test_arcface_as_published_is_a_softmax_of_16_times_the_cosines_that_are_not_negative():
    embeddings = torch.tensor(NUMBERS["s0_b24_d8_norm/emb"])
    labels = torch.tensor(NUMBERS["s0_b24_d8_norm/labels"])
    part = build("objective", "arcface", num_classes=9, embedding_dim=8, as_published=True).double()
    cosines = embeddings @ torch.nn.functional.normalize(part.proxies).T
    plain = torch.nn.functional.cross_entropy(16 * cosines.clamp_min(0), labels)
    torch.testing.assert_close(part(embeddings, labels), plain)


def test_all_pairs_of_a_balanced_batch_are_the_golden_pairs_of_n_pair():
    embeddings = torch.tensor(NUMBERS["s0_b16_d8_raw/emb"])
    labels = torch.tensor(NUMBERS["s0_b16_d8_raw/labels"])
    for tuples in (None, all_triplets(labels.tolist())):
        loss = build("objective", "n_pair")(embeddings, labels, tuples)
        torch.testing.assert_close(loss, stored("s0_b16_d8_raw", "a.npair", "value"))
