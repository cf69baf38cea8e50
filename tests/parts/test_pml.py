"""Losses and miners of pytorch-metric-learning as parts: named, checked and computed as the library itself does."""

import sys

import pytest
import torch
from part_batches import balanced_batch, drawn_by
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.utils.loss_and_miner_utils import convert_to_triplets

from harness.errors import EnvironmentLacks, OptionError
from harness.pml import offered
from harness.registry import MINERS, OBJECTIVES, build
from harness.tuples import Triplets

REQUIRED = {"RankedListLoss": {"margin": 0.4, "Tn": 1}}
# Its own indexing is deprecated in torch, and its own arithmetic with tensors in numpy.
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence", "ignore:__array_wrap__ must accept")


@pytest.fixture
def batch():
    return balanced_batch(classes=4, per_class=3, dim=6)


def objective(name, **options):
    torch.manual_seed(0)
    return build("objective", f"pml:{name}", num_classes=4, embedding_dim=6, **REQUIRED.get(name, {}), **options)


def test_a_loss_by_name_is_the_loss_of_the_library(batch):
    part = objective("CircleLoss", m=0.3, gamma=40)
    reference = losses.CircleLoss(m=0.3, gamma=40)
    torch.testing.assert_close(part(*batch), reference(*batch), rtol=0, atol=0)
    tuples = drawn_by("random", *batch)
    torch.testing.assert_close(part(*batch, tuples), reference(*batch, tuple(tuples)), rtol=0, atol=0)
    assert part(*batch) != part(*batch, tuples)


def test_absent_triplets_count_for_nothing(batch):
    part, tuples = objective("TripletMarginLoss", margin=0.5), drawn_by("random", *batch)
    padded = Triplets(*(torch.cat([row, torch.zeros(7, dtype=torch.int64)]) for row in tuples))
    assert part(*batch, padded) == part(*batch, tuples)


@pytest.mark.parametrize("name", offered("objective"))
def test_every_loss_trains_with_all_its_defaults_written_out(name, batch):
    part, (embeddings, labels) = objective(name), batch
    for tuples in (None, drawn_by("random", *batch), None):
        leaf = embeddings.clone().requires_grad_()
        loss = part(leaf, labels, tuples)
        loss.backward()
        assert loss.shape == ()
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0
    assert part.takes in ("batch", "either")
    assert set(part.lr_multipliers) == {parameter for parameter, _ in part.named_parameters()}
    assert (part.proxy_table is None) == (not part.lr_multipliers)


@pytest.mark.parametrize("name", offered("objective"))
def test_half_precision_is_computed_in_float32_and_leaves_the_table_so(name, batch):
    part, half = objective(name), batch[0].bfloat16()
    torch.manual_seed(0)
    found = part(half, batch[1])
    assert found.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in part.parameters())


def test_what_needs_objects_or_takes_no_labels_is_not_offered():
    names = set(offered("objective")) | set(offered("miner"))
    assert not names & {"CrossBatchMemory", "MultipleLosses", "GenericPairLoss", "VICRegLoss", "BaseMiner"}
    assert len(offered("objective")) > 30
    assert len(offered("miner")) >= 9


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CircleLoss", {"m": 0.4, "gamma": 80}),
        ("CosFaceLoss", {"margin": 0.35, "scale": 64, "lr_multiplier": 50.0}),
        ("SubCenterArcFaceLoss", {"margin": 28.6, "scale": 64, "sub_centers": 3, "lr_multiplier": 50.0}),
    ],
)
def test_the_defaults_of_the_library_are_written_into_the_run(name, options):
    assert OBJECTIVES.check(f"pml:{name}").options == options


def test_whole_numbers_written_either_way_are_the_same_run():
    written = [OBJECTIVES.check("pml:CircleLoss", {"gamma": gamma}) for gamma in (64, 64.0)]
    assert [repr(choice.options["gamma"]) for choice in written] == ["64", "64"]
    assert OBJECTIVES.check("pml:CircleLoss", {"gamma": 6.5}).options["gamma"] == 6.5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CircleLoss", {"gama": 80}, "objective 'pml:CircleLoss' has no option 'gama'; did you mean 'gamma'?"),
        ("CircleLoss", {"gamma": "high"}, "option 'gamma' of objective 'pml:CircleLoss'"),
        ("CircleLoss", {"gamma": float("nan")}, "option 'gamma' of objective 'pml:CircleLoss'"),
        ("CircleLoss", {"distance": "cosine"}, "has no option 'distance'"),
        ("TripletMarginLoss", {"swap": 1}, "option 'swap'"),
        ("FastAPLoss", {"num_bins": 2.5}, "option 'num_bins'"),
        ("FastAPLoss", {"num_bins": 0}, "option 'num_bins'"),
        ("RankedListLoss", {"margin": 0.4}, "needs the option 'Tn'"),
    ],
)
def test_options_of_a_loss_are_checked(name, options, message):
    with pytest.raises(OptionError, match="pml:") as caught:
        OBJECTIVES.check(f"pml:{name}", options)
    assert message in str(caught.value)


def test_options_of_a_miner_are_checked():
    with pytest.raises(OptionError, match="has no option 'margn'; did you mean 'margin'"):
        MINERS.check("pml:TripletMarginMiner", {"margn": 0.1})
    with pytest.raises(OptionError, match="has no option 'pos_strategy'"):
        MINERS.check("pml:BatchHardMiner", {"pos_strategy": "easy"})  # it sets that itself
    ranged = MINERS.check("pml:BatchHardMiner", {"allowed_pos_range": [0.2, 1]})
    assert MINERS.build(ranged).miner.allowed_pos_range == [0.2, 1]


def test_values_that_the_library_refuses_are_told_with_its_reason():
    with pytest.raises(OptionError, match=r"'pml:RankedListLoss' refuses .*Imbalance must be between 0 and 1"):
        objective("RankedListLoss", imbalance=2)
    with pytest.raises(OptionError, match="'pml:BatchEasyHardMiner' refuses"):
        build("miner", "pml:BatchEasyHardMiner", pos_strategy="none")


def test_unknown_names_come_with_a_suggestion():
    with pytest.raises(OptionError, match=r"objective 'pml:CircelLoss' is not among .* did you mean 'pml:CircleLoss'"):
        OBJECTIVES.get("pml:CircelLoss")
    with pytest.raises(OptionError, match=r"miner 'pml:HardMine' is not among .* did you mean 'pml:"):
        MINERS.get("pml:HardMine")


@pytest.mark.parametrize(("registry", "name"), [(OBJECTIVES, "Absent"), (MINERS, "Absent")])
def test_without_the_package_the_extra_is_named(registry, name, monkeypatch):
    for module in [module for module in sys.modules if module.partition(".")[0] == "pytorch_metric_learning"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvironmentLacks, match=r"pip install 'harness\[pml\]'"):
        registry.get(f"pml:{name}")


@pytest.mark.parametrize(
    ("name", "shape"), [("ProxyAnchorLoss", (4, 6)), ("NormalizedSoftmaxLoss", (4, 6)), ("SoftTripleLoss", (4, 10, 6))]
)
def test_a_proxy_loss_learns_its_table(name, shape, batch):
    part, labels = objective(name), batch[1]
    embeddings = torch.nn.functional.normalize(batch[0] + 3 * torch.eye(6)[labels])
    assert getattr(part, part.proxy_table).shape == shape
    optimizer = torch.optim.Adam(part.parameters(), lr=0.05)
    before = part(embeddings, labels).item()
    for _ in range(60):
        optimizer.zero_grad()
        part(embeddings, labels).backward()
        optimizer.step()
    assert part(embeddings, labels).item() < 0.7 * before
    centers = torch.nn.functional.normalize(part.proxies.reshape(4, -1, 6), dim=2)
    similarities = torch.einsum("bd,ckd->bck", embeddings, centers).amax(2)
    assert similarities.argmax(1).tolist() == labels.tolist()


def test_a_running_statistic_is_part_of_the_state(batch):
    part, again = objective("DynamicSoftMarginLoss"), objective("DynamicSoftMarginLoss")
    part(*batch)
    later = torch.roll(batch[0], 1, 0), batch[1]
    again.load_state_dict(part.state_dict())
    assert part(*later) == again(*later) != objective("DynamicSoftMarginLoss")(*later)


@pytest.mark.parametrize("name", ["TripletMarginMiner", "BatchHardMiner", "AngularMiner"])
def test_triplets_of_a_miner_by_name_are_those_of_the_library(name, batch):
    found, expected = drawn_by(f"pml:{name}", *batch), getattr(miners, name)()(*batch)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert len(found.anchor) > 0


@pytest.mark.parametrize("name", ["MultiSimilarityMiner", "PairMarginMiner", "HDCMiner", "BatchEasyHardMiner"])
def test_pairs_of_a_miner_become_all_triplets_with_one_anchor(name, batch):
    found = drawn_by(f"pml:{name}", *batch)
    expected = convert_to_triplets(getattr(miners, name)()(*batch), batch[1])
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert len(found.anchor) > 0


@pytest.mark.parametrize("name", offered("miner"))
def test_the_generator_alone_decides_what_a_miner_draws_and_every_triplet_is_valid(name, batch):
    torch.manual_seed(1)
    found = drawn_by(f"pml:{name}", *batch, seed=7)
    undisturbed = torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == undisturbed
    again = drawn_by(f"pml:{name}", *batch, seed=7)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
    labels = batch[1]
    assert (labels[found.anchor] == labels[found.positive]).all()
    assert (found.anchor != found.positive).all()
    assert (labels[found.anchor] != labels[found.negative]).all()


@pytest.mark.parametrize("name", ["DistanceWeightedMiner", "UniformHistogramMiner"])
def test_another_seed_draws_other_triplets(name, batch):
    one, other = (drawn_by(f"pml:{name}", *batch, seed=seed) for seed in (0, 1))
    assert len(one.anchor) != len(other.anchor) or not torch.equal(one.negative, other.negative)


@pytest.mark.parametrize("name", offered("miner"))
def test_a_batch_without_triplets_gives_none(name):
    embeddings, _ = balanced_batch(classes=4, dim=6)
    assert all(len(row) == 0 for row in drawn_by(f"pml:{name}", embeddings, torch.arange(8)))
