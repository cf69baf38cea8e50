"""Objectives against pytorch-metric-learning, wherever it has the same definition: value and gradient.

Where its defaults differ, they are set here to what the definition says, and the line says how. Not compared, since
another thing is meant: its NPairsLoss takes one pair per class of normalized embeddings, its AngularLoss leaves
negatives unnormalized and has no N-pair part, its ProxyNCALoss has the own proxy in the denominator (that is our
`proxy_nca_plus_plus`). It has no quadruplet loss.
"""

import pytest
import torch
from part_batches import all_triplets, uneven_batch
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

from harness.geometry import normalized
from harness.registry import build
from harness.tuples import Triplets

LABELS = [0, 2, 0, 1, 1, 2, 0, 3, 2, 1]
EUCLIDEAN = {"distance": distances.LpDistance(normalize_embeddings=False)}
DOT = {"distance": distances.DotProductSimilarity(normalize_embeddings=False)}
MEAN = {"reducer": reducers.MeanReducer()}
LENGTH = {"embedding_regularizer": regularizers.LpRegularizer(), "embedding_reg_weight": 0.005}


def same(loss, embeddings, reference):
    """Value and gradient of ours and theirs, each a function of embeddings, agree."""
    ours, theirs = (embeddings.clone().requires_grad_() for _ in range(2))
    found, expected = loss(ours), reference(theirs)
    found.backward()
    expected.backward()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8)


@pytest.fixture(params=[0, 1, 2])
def batch(request):
    return uneven_batch(LABELS, 6, request.param)


def some_triplets(seed=0):
    rows = torch.stack(all_triplets(LABELS))
    return Triplets(*rows[:, torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(seed))[:20]])


@pytest.mark.parametrize(
    ("name", "options", "peer"),
    [
        (
            "triplet",
            {},
            # Not squared and averaged over active triplets by default.
            lambda: losses.TripletMarginLoss(
                0.2, distance=distances.LpDistance(normalize_embeddings=False, power=2), **MEAN
            ),
        ),
        # Averages over pairs with a loss by default.
        ("contrastive", {}, lambda: losses.ContrastiveLoss(**EUCLIDEAN, **MEAN)),
        ("margin", {"beta": 0.9}, lambda: losses.MarginLoss(beta=0.9, learn_beta=True, num_classes=4, **EUCLIDEAN)),
        (
            "snr",
            {"zero_mean_weight": 0.0},
            lambda: losses.TripletMarginLoss(0.2, distance=distances.SNRDistance(normalize_embeddings=False)),
        ),
    ],
)
def test_tuple_objectives(name, options, peer, batch):
    embeddings, labels = batch
    part, tuples = build("objective", name, num_classes=4, **options).double(), some_triplets()
    reference = peer().double()
    same(lambda x: part(x, labels, tuples), embeddings, lambda x: reference(x, labels, tuple(tuples)))


def test_n_pair_is_ntxent_on_products_of_any_length(batch):
    embeddings, labels = batch
    anchor, positive = (torch.tensor(row) for row in ((0, 1, 3, 4, 6), (2, 5, 4, 9, 0)))
    others = (labels[anchor][:, None] != labels[None, :]).nonzero()
    pairs = (anchor, positive, anchor[others[:, 0]], others[:, 1])
    reference = losses.NTXentLoss(temperature=1.0, **DOT, **LENGTH)
    part, tuples = build("objective", "n_pair"), Triplets(anchor, positive, others[[0, 1, 2, 3, 4], 1])
    same(lambda x: part(x, labels, tuples), embeddings, lambda x: reference(x, labels, pairs))


def test_generalized_lifted(batch):
    embeddings, labels = batch
    # Takes the label that stands alone for an anchor too.
    embeddings, labels = embeddings[labels != 3], labels[labels != 3]
    reference = losses.GeneralizedLiftedStructureLoss(**EUCLIDEAN, **MEAN, **LENGTH)
    part = build("objective", "generalized_lifted")
    same(lambda x: part(x, labels), embeddings, lambda x: reference(x, labels))


@pytest.mark.parametrize(
    ("average", "reducer"), [("active", reducers.AvgNonZeroReducer), ("batch", reducers.MeanReducer)]
)
def test_multi_similarity(average, reducer, batch):
    embeddings, labels = normalized(batch[0]), batch[1]
    miner = miners.MultiSimilarityMiner(0.1, **DOT)
    reference = losses.MultiSimilarityLoss(2, 40, 0.5, reducer=reducer(), **DOT)
    part = build("objective", "multi_similarity", average=average)
    same(lambda x: part(x, labels), embeddings, lambda x: reference(x, labels, miner(x.detach(), labels)))


# Its own indexing is deprecated in torch.
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_histogram_has_the_same_value_on_unit_norm_embeddings(batch):
    # Its gradient is the tangential part alone, because it normalizes once more.
    embeddings, labels = normalized(batch[0]), batch[1]
    found = build("objective", "histogram")(embeddings, labels)
    torch.testing.assert_close(found, losses.HistogramLoss(64)(embeddings, labels), rtol=1e-6, atol=1e-8)


def table_of(part):
    """Our table of class representatives in the layout [D, classes * centers]."""
    return getattr(part, part.proxy_table).detach().reshape(-1, 6).T.clone()


@pytest.mark.parametrize(
    ("name", "options", "peer", "table"),
    [
        # Normalizes the embeddings unless told otherwise, as soft_triple always does.
        ("normalized_softmax", {}, lambda: losses.NormalizedSoftmaxLoss(4, 6, 0.05, **DOT), "W"),
        ("arcface", {"margin": 0.5}, lambda: losses.ArcFaceLoss(4, 6, margin=28.64788975654116, scale=16), "W"),
        ("cosface", {}, lambda: losses.CosFaceLoss(4, 6, margin=0.35, scale=64), "W"),
        ("proxy_nca_plus_plus", {}, lambda: losses.ProxyNCALoss(4, 6, softmax_scale=9), "proxies"),
        ("proxy_anchor", {}, lambda: losses.ProxyAnchorLoss(4, 6), "proxies"),
        (
            "soft_triple",
            {"merge_weight": 0.0},
            lambda: losses.SoftTripleLoss(4, 6, centers_per_class=2, la=8, gamma=0.1, margin=0.01),
            "fc",
        ),
    ],
)
def test_proxy_objectives(name, options, peer, table, batch):
    embeddings, labels = batch
    torch.manual_seed(0)
    part, reference = build("objective", name, num_classes=4, embedding_dim=6, **options).double(), peer().double()
    weights = table_of(part)
    getattr(reference, table).data = weights.T.clone() if table == "proxies" else weights

    def ours(x):
        return part(normalized(x) if name == "soft_triple" else x, labels)

    same(ours, embeddings, lambda x: reference(x, labels))
