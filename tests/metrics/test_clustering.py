"""Clustering: agreement against counting pairs, k-means against what it must do."""

import itertools
import math
import multiprocessing
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from harness import faiss_loader
from harness.errors import EnvironmentLacks
from harness.faiss_loader import faiss_shares_gpu, load_faiss
from harness.metrics import clustering
from harness.metrics._agreement import agreement
from harness.metrics.clustering import Clustering, kmeans


def blobs(n: int = 200, classes: int = 8, spread: float = 0.1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centers = torch.randn(classes, 6, generator=generator)
    return centers[labels] + spread * torch.randn(n, 6, generator=generator), labels * 3 - 5


def test_f1_counts_pairs():
    random = np.random.default_rng(0)
    classes, clusters = random.integers(0, 4, 40), random.integers(0, 6, 40)
    pairs = list(itertools.combinations(range(40), 2))
    in_class = {pair for pair in pairs if classes[pair[0]] == classes[pair[1]]}
    in_cluster = {pair for pair in pairs if clusters[pair[0]] == clusters[pair[1]]}
    precision, recall = (len(in_class & in_cluster) / len(group) for group in (in_cluster, in_class))
    expected = 2 * precision * recall / (precision + recall)
    assert agreement(classes, clusters)["f1"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(30))
def test_agreement_is_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    number = int(random.integers(2, 300))
    classes, clusters = (random.integers(0, random.integers(1, number + 1), number) for _ in range(2))
    if seed % 3 == 0:
        clusters = np.where(random.random(number) < 0.7, classes, clusters)
    values = agreement(classes, clusters)
    assert values["nmi"] == pytest.approx(normalized_mutual_info_score(classes, clusters), abs=1e-9)
    assert values["ami"] == pytest.approx(adjusted_mutual_info_score(classes, clusters), abs=1e-9)


def test_agreement_knows_the_best_and_the_worst():
    classes = np.repeat(np.arange(5), 4)
    assert agreement(classes, (classes + 2) % 5) == pytest.approx({"nmi": 1, "ami": 1, "f1": 1})
    assert agreement(classes, np.zeros(20, dtype=np.int64)) == pytest.approx({"nmi": 0, "ami": 0, "f1": 60 / 220})
    assert agreement(classes, np.arange(20))["f1"] == 0
    assert math.isnan(agreement(np.arange(3), np.arange(3))["f1"])


def test_separate_classes_are_found_whatever_their_labels():
    embeddings, labels = blobs(classes=2, spread=0.01)  # a random start may split one of more classes
    assert Clustering()(embeddings, labels, 0).values == pytest.approx({"nmi": 1, "ami": 1, "f1": 1})


def test_the_seed_alone_decides_the_clusters():
    embeddings, labels = blobs(spread=1.0)
    torch.manual_seed(1)
    np.random.seed(1)
    first = Clustering()(embeddings, labels, 3).values
    torch.manual_seed(2)
    np.random.seed(2)
    assert Clustering()(embeddings, labels, 3).values == first
    assert Clustering()(embeddings, labels, 4).values != first


def test_more_iterations_fit_better():
    embeddings, _ = blobs(2000, classes=20, spread=1.0)
    rows = embeddings.numpy()

    def cost(iterations: int) -> float:
        clusters = kmeans(rows, 20, iterations, 0)
        return sum(float(((rows[clusters == c] - rows[clusters == c].mean(0)) ** 2).sum()) for c in np.unique(clusters))

    assert cost(20) < cost(1)
    labels = torch.from_numpy(np.arange(2000) % 20)
    assert Clustering(iterations=1)(embeddings, labels, 0).values != Clustering()(embeddings, labels, 0).values


def test_every_row_goes_to_the_nearest_mean():
    embeddings, _ = blobs(300, classes=5, spread=0.05)
    clusters = kmeans(embeddings.numpy(), 5, 20, 0)
    means = torch.stack([embeddings[torch.from_numpy(clusters) == c].mean(0) for c in range(5)])
    assert torch.cdist(embeddings, means).argmin(1).tolist() == clusters.tolist()


def test_collapsed_embeddings_and_lone_classes_are_measured():
    values = Clustering()(torch.ones(12, 3), torch.arange(12) // 4, 0).values
    assert all(math.isfinite(value) for value in values.values())
    assert Clustering()(torch.eye(4), torch.arange(4), 0).values["nmi"] == pytest.approx(1)


def test_a_forked_process_is_told_instead_of_hanging():
    load_faiss()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that forking is dangerous is the point
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_report_faiss, args=(queue,))
        child.start()
    child.join(20)
    assert child.exitcode == 0
    assert queue.get() == "faiss cannot be used in a forked process; start the process by spawn"


def _report_faiss(queue) -> None:
    try:
        load_faiss()
    except EnvironmentLacks as error:
        queue.put(str(error))


def test_what_the_gpu_refuses_is_clustered_on_the_cpu_from_the_same_start(monkeypatch):
    embeddings, _ = blobs()
    rows, plain = embeddings.numpy(), clustering._kmeans

    def refusing(*arguments, gpu):
        if gpu:
            raise RuntimeError("cudaMalloc error out of memory")
        return plain(*arguments, gpu=gpu)

    monkeypatch.setattr(clustering, "_kmeans", refusing)
    with pytest.warns(UserWarning, match="out of memory"):
        fallen_back = kmeans(rows, 8, 20, 3, gpu=True)
    np.testing.assert_array_equal(fallen_back, kmeans(rows, 8, 20, 3))


@pytest.mark.parametrize(
    ("build", "torch_cuda", "wanted", "shares"),
    [
        ("faiss-gpu", "12.8", "auto", True),
        ("faiss-gpu", "13.2", "auto", False),
        ("faiss-gpu", "13.2", "gpu", True),
        ("faiss-gpu", "12.8", "cpu", False),
        ("faiss-gpu-cuvs", "13.2", "auto", True),
        ("faiss-gpu-cuvs", None, "auto", False),
    ],
)
def test_faiss_uses_the_gpu_where_it_has_the_same_cuda_as_torch(monkeypatch, build, torch_cuda, wanted, shares):
    monkeypatch.setenv("HARNESS_FAISS", wanted)
    monkeypatch.setattr(load_faiss(), "get_num_gpus", lambda: 1)
    monkeypatch.setattr(load_faiss(), "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(torch.version, "cuda", torch_cuda)
    monkeypatch.setattr(faiss_loader, "_installed", lambda name: name == build)
    faiss_shares_gpu.cache_clear()
    assert faiss_shares_gpu() is shares
    faiss_shares_gpu.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_clusters_on_the_gpu_are_those_on_the_cpu():
    embeddings, labels = blobs()
    on_gpu, on_cpu = (Clustering()(rows, labels.to(rows.device), 0).values for rows in (embeddings.cuda(), embeddings))
    assert on_gpu == pytest.approx(on_cpu, abs=0.02)
