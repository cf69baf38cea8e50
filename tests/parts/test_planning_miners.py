"""Miners that plan an epoch from the whole training set: batches, counting, state, and bad input."""

import numpy as np
import pytest
import torch

from harness.errors import DataError, Diverged, OptionError, StudyError
from harness.miners import _neighbors
from harness.miners._embeddings import NonFiniteEmbeddings
from harness.miners._selection import IN_LIST, OUT_OF_LIST, RANDOM
from harness.miners.exhaustive import hardest
from harness.registry import MINERS, build

PLANNING = [name for name in MINERS.names() if getattr(MINERS.get(name), "plans", False)]
MINED = sorted(set(PLANNING) - {"random_global"})


def data(n=240, classes=12, dim=8, seed=0, spread=0.6):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    rows = torch.randn(classes, dim, generator=generator)[labels] + spread * torch.randn(n, dim, generator=generator)
    return torch.nn.functional.normalize(rows), labels


def miner(name="smart", labels=None, batch_size=30, **options):
    labels = data()[1] if labels is None else labels
    return build("miner", name, labels=labels, batch_size=batch_size, **options)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def run_epoch(part, embeddings, labels, seed=0):
    """Plan an epoch and go through its batches as training does, with embeddings that do not change."""
    batches = part.epoch(chance(seed), embeddings if part.needs_embeddings else None)
    for batch in batches:
        part(embeddings[batch], labels[batch], None)
    return batches


def mined(part, embeddings, labels, epochs=3):
    for epoch in range(epochs):
        batches = run_epoch(part, embeddings, labels, epoch)
    return batches


def split(batches):
    return [rows.reshape(-1) for rows in batches.view(len(batches), 3, -1).transpose(0, 1)]


@pytest.mark.parametrize("name", PLANNING)
def test_every_batch_is_whole_valid_triplets_and_every_image_is_an_anchor_once(name):
    embeddings, labels = data()
    part = miner(name)
    for epoch in range(4):
        batches = run_epoch(part, embeddings, labels, epoch)
        assert batches.shape == (24, 30)
        anchor, positive, negative = split(batches)
        assert sorted(anchor.tolist()) == list(range(240))
        assert (labels[anchor] == labels[positive]).all()
        assert (anchor != positive).all()
        assert (labels[anchor] != labels[negative]).all()


@pytest.mark.parametrize("name", PLANNING)
def test_it_gives_the_triplets_of_the_layout_without_gradient(name):
    embeddings, labels = data()
    part = miner(name)
    batch = part.epoch(chance())[0]
    triplets = part(embeddings[batch].requires_grad_(), labels[batch], None)
    assert torch.equal(torch.stack(triplets), torch.arange(30).view(3, 10))


@pytest.mark.parametrize("name", PLANNING)
def test_the_generator_alone_decides(name):
    embeddings, labels = data()
    first, again = (mined(miner(name), embeddings, labels) for _ in range(2))
    assert torch.equal(first, again)
    part = miner(name)
    mined(part, embeddings, labels, 2)
    assert not torch.equal(run_epoch(part, embeddings, labels, seed=9), first)


@pytest.mark.parametrize("name", MINED)
def test_the_first_epochs_are_random_and_want_no_embeddings(name):
    part = miner(name, warmup_epochs=2)
    assert [part.needs_embeddings, part.epoch(chance()).shape] == [False, (24, 30)]
    assert [part.needs_embeddings, part.epoch(chance()).shape] == [False, (24, 30)]
    assert part.needs_embeddings
    with pytest.raises(StudyError, match="got none"):
        part.epoch(chance())


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_each_batch_has_the_share_of_mined_triplets(share):
    embeddings, labels = data()
    part = miner("smart", share=share, kappa_mode="fixed", kappa=1.0)
    mined(part, embeddings, labels)
    assert (part.kinds != RANDOM).sum(1).max() == round(10 * share)
    assert (part.kinds != RANDOM).float().mean() > 0.9 * share


def test_more_triplets_per_anchor_make_more_batches_with_other_negatives():
    embeddings, labels = data()
    part = miner("smart", per_anchor=3, share=1.0, kappa_mode="fixed", kappa=1.0)
    batches = mined(part, embeddings, labels)
    assert batches.shape == (72, 30)
    anchor, _, negative = split(batches)
    pairs = torch.stack((anchor, negative), 1)[part.kinds.reshape(-1) != RANDOM]
    assert len(pairs) > 600
    assert len(pairs.unique(dim=0)) == len(pairs)


def test_counts_of_active_and_stale_triplets_are_those_of_loops():
    embeddings, labels = data()
    part = miner("smart", share=0.5, margin=0.3, kappa_mode="fixed", kappa=1.0)
    batches = mined(part, embeddings, labels)
    later = data(seed=5)[0]
    part.sums.zero_()
    part.step = 0
    seen = {kind: [] for kind in (IN_LIST, OUT_OF_LIST, RANDOM)}
    for step, batch in enumerate(batches):
        part(later[batch], labels[batch], None)
        for t, kind in enumerate(part.kinds[step].tolist()):
            a, p, n = (later[batch[t + 10 * i]] for i in range(3))
            near, far = (a - p).norm(), (a - n).norm()
            seen[kind].append((bool(far < near + 0.3), bool(far > near)))
    told = part.epoch_numbers()
    share = {kind: np.mean([active for active, _ in facts]) for kind, facts in seen.items() if facts}
    every = [active for facts in seen.values() for active, _ in facts]
    assert told["active_fraction"] == pytest.approx(np.mean(every))
    assert told["active_fraction_random"] == pytest.approx(share[RANDOM])
    assert told["stale_fraction"] == pytest.approx(np.mean([stale for _, stale in seen[IN_LIST]]))
    assert told["zero_loss_fraction_in_list"] == pytest.approx(1 - share[IN_LIST])
    assert told["fraction_in_list"] == pytest.approx(len(seen[IN_LIST]) / len(every))
    assert part.epoch_numbers() == told


def test_mined_triplets_are_active_where_embeddings_have_not_moved():
    embeddings, labels = data(classes=4)
    part = miner("smart", labels=labels, neighbors=30, share=1.0, kappa_mode="fixed", kappa=1.0)
    mined(part, embeddings, labels)
    told = part.epoch_numbers()
    assert told["active_fraction_mined"] == 1.0
    assert told["stale_fraction"] == 0.0
    assert told["coverage"] > 0.5


def test_all_that_the_specification_wants_logged_is_told():
    embeddings, labels = data()
    part = miner("smart", target=0.6)
    mined(part, embeddings, labels, 5)
    wanted = "kappa alpha beta target coverage planned_in_list planned_out_of_list planned_random neighbors"
    wanted += " negative_rank_mean negative_rank_median negative_distance_mean negative_distance_median no_positive"
    wanted += " index_recall_at_10 index_recall_at_k index_effort zero_bound unbounded_positive not_finite"
    assert set(part.epoch_numbers()) >= set(wanted.split())
    assert set(part.epoch_cost()) == {"plan_search_seconds", "plan_select_seconds"}


@pytest.mark.parametrize("name", PLANNING)
@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_miner_goes_on_from_its_state(name, epochs):
    embeddings, labels = data()
    whole, left = miner(name), miner(name)
    mined(whole, embeddings, labels, epochs)
    mined(left, embeddings, labels, epochs)
    taken = miner(name)
    taken.load_state_dict(left.state_dict())
    assert taken.epoch_numbers() == whole.epoch_numbers()
    for seed in (11, 12):
        assert torch.equal(run_epoch(whole, embeddings, labels, seed), run_epoch(taken, embeddings, labels, seed))
    assert taken.epoch_numbers() == whole.epoch_numbers()


def test_a_plan_is_used_again_until_it_is_to_be_refreshed():
    embeddings, labels = data()
    part = miner("smart", refresh=2, kappa_mode="fixed", kappa=1.0, share=1.0)
    mined(part, embeddings, labels)
    plan = part.kept
    assert not part.needs_embeddings
    run_epoch(part, embeddings, labels, 3)
    assert part.kept is plan
    assert part.needs_embeddings
    run_epoch(part, embeddings, labels, 4)
    assert part.kept is not plan


def test_lists_can_be_refreshed_within_a_pass_in_which_each_anchor_has_one_turn():
    embeddings, labels = data(n=192, classes=8)
    part = miner("smart", labels=labels, refresh=0.25, warmup_epochs=4, kappa_mode="fixed", kappa=1.0, share=1.0)
    for mined_pass in (False, True):
        quarters = []
        for seed in range(4):
            assert part.needs_embeddings is mined_pass
            run_epoch(part, embeddings, labels, 4 * mined_pass + seed)
            plan = part.kept if mined_pass else part._chance(part.pool)
            quarters.append(plan.anchor)
            assert (plan.kind != RANDOM).any() == mined_pass
        assert [len(quarter) for quarter in quarters] == [48] * 4
        assert sorted(np.concatenate(quarters)) == list(range(192))


def test_a_part_of_a_pass_goes_on_from_its_state_and_must_be_a_whole_one():
    embeddings, labels = data()
    whole, taken = miner("smart", refresh=0.25, warmup_epochs=0), miner("smart", refresh=0.25, warmup_epochs=0)
    mined(whole, embeddings, labels, 2)
    taken.load_state_dict(whole.state_dict())
    for seed in (11, 12, 13):
        assert torch.equal(run_epoch(whole, embeddings, labels, seed), run_epoch(taken, embeddings, labels, seed))
    with pytest.raises(OptionError, match=r"0\.3 of a pass .* such as 0\.3333"):
        miner("smart", refresh=0.3)


def test_the_target_can_be_the_error_on_classes_that_are_held_out():
    embeddings, labels = data(n=600, classes=30)
    part = miner("smart", labels=labels, target="val", share=0.02)
    batches = mined(part, embeddings, labels, 4)
    out = set(labels[torch.from_numpy(part.validation)].tolist())
    assert len(out) == 3
    assert not out & set(labels[batches.reshape(-1)].tolist())
    rows = embeddings[torch.from_numpy(part.validation)]
    nearest = torch.cdist(rows, rows).fill_diagonal_(torch.inf).argmin(1)
    own = labels[torch.from_numpy(part.validation)]
    told = part.epoch_numbers()
    assert told["validation_error"] == told["target"] == pytest.approx((own[nearest] != own).double().mean().item())


def test_exhaustive_mining_finds_the_hardest_of_the_whole_set():
    embeddings, labels = data(n=60, classes=5)
    positive, negative = hardest(embeddings, labels.numpy(), np.arange(60))
    for a in range(60):
        apart = [(float((embeddings[a] - embeddings[i]).norm()), i) for i in range(60) if i != a]
        assert max(pair for pair in apart if labels[pair[1]] == labels[a])[1] == positive[a]
        assert min(pair for pair in apart if labels[pair[1]] != labels[a])[1] == negative[a]


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANNING)
def test_one_class_and_nothing_but_singletons_are_refused(name):
    with pytest.raises(DataError, match="one class only"):
        miner(name, labels=torch.zeros(60, dtype=torch.int64))
    with pytest.raises(DataError, match="single sample"):
        miner(name, labels=torch.arange(60))


@pytest.mark.parametrize("name", PLANNING)
def test_a_class_with_one_sample_is_never_an_anchor_but_may_be_a_negative(name):
    embeddings, labels = data()
    labels = labels.clone()
    labels[7] = 99
    with pytest.warns(UserWarning, match="1 of 13 classes have a single sample"):
        part = miner(name, labels=labels)
    anchors, negatives = set(), set()
    for epoch in range(5):
        anchor, positive, negative = split(run_epoch(part, embeddings, labels, epoch))
        anchors |= {*anchor.tolist(), *positive.tolist()}
        negatives |= set(negative.tolist())
    assert 7 not in anchors
    assert 7 in negatives


@pytest.mark.parametrize("name", PLANNING)
def test_batches_that_are_not_whole_triplets_are_refused(name):
    with pytest.raises(StudyError, match="a batch of 32 images is not whole triplets; 30 or 33 could be"):
        miner(name, batch_size=32)


def test_five_samples_are_mined():
    embeddings, labels = torch.eye(5), torch.tensor([0, 0, 1, 1, 1])
    part = miner("smart", labels=labels, batch_size=3, kappa_mode="fixed", kappa=1.0)
    batches = mined(part, embeddings, labels)
    assert batches.shape == (5, 3)
    assert part.epoch_numbers()["neighbors"] == 4


def test_fewer_anchors_than_a_batch_repeat():
    labels = torch.tensor([0, 0, 1, 1])
    part = miner("random_global", labels=labels, batch_size=30)
    anchor, positive, negative = split(part.epoch(chance()))
    assert len(anchor) == 10
    assert (labels[anchor] == labels[positive]).all()
    assert (labels[anchor] != labels[negative]).all()


@pytest.mark.parametrize("name", MINED)
def test_a_few_rows_that_are_not_finite_are_left_out_and_many_are_refused(name):
    embeddings, labels = data(n=300)
    part = miner(name, labels=labels)
    mined(part, embeddings, labels, 2)
    broken = embeddings.clone()
    broken[13, 2] = torch.nan
    broken[250] = torch.inf
    with pytest.warns(UserWarning, match="2 training images with nan or infinite embeddings"):
        batches = part.epoch(chance(), broken)
    assert not {13, 250} & set(batches.reshape(-1).tolist())
    broken[:10] = torch.nan
    with pytest.raises(NonFiniteEmbeddings, match="12 of 300 training images") as caught:
        part.epoch(chance(), broken)
    assert caught.value.cause == "diverged"


def test_collapsed_embeddings_give_random_triplets_once_and_end_the_run_then():
    embeddings, labels = data()
    part = miner("smart")
    mined(part, embeddings, labels, 4)
    before = part.controller.state()
    one_place = torch.ones_like(embeddings)
    run_epoch(part, one_place, labels, 5)
    assert (part.kinds == RANDOM).all()
    assert part.epoch_numbers()["flag_collapsed"] == 1
    assert part.controller.state()["kappa"] == before["kappa"]
    history = part.controller.history
    with pytest.raises(Diverged, match="second epoch on end"):
        part.epoch(chance(), one_place)
    assert part.controller.history == history


def test_many_anchors_whose_neighbors_are_all_copies_count_as_collapsed():
    embeddings, labels = data(n=300)
    embeddings = embeddings.clone()
    embeddings[:80] = embeddings[0]
    part = miner("smart", labels=labels, neighbors=50)
    mined(part, embeddings, labels)
    assert part.flags == {"collapsed"}


def test_after_a_collapse_mining_goes_on():
    embeddings, labels = data()
    part = miner("smart")
    mined(part, embeddings, labels, 2)
    for epoch in range(3):
        run_epoch(part, torch.ones_like(embeddings), labels, 3)
        run_epoch(part, embeddings, labels, epoch)
        assert (part.kinds != RANDOM).any()


def test_a_search_that_fails_reuses_the_last_plan_once(monkeypatch):
    embeddings, labels = data()
    part = miner("smart", kappa_mode="fixed", kappa=1.0)
    mined(part, embeddings, labels)
    plan = part.kept

    def broken(*arguments):
        raise RuntimeError("faiss")

    monkeypatch.setattr(_neighbors, "searcher", broken)
    run_epoch(part, embeddings, labels, 4)
    assert part.kept is plan
    assert part.epoch_numbers()["flag_stale_plan"] == 1
    with pytest.raises(RuntimeError, match="faiss"):
        part.epoch(chance(), embeddings)


def test_lists_without_positives_become_longer():
    embeddings, labels = data(spread=20.0, dim=64)
    part = miner("smart", neighbors=4, kappa_mode="fixed")
    mined(part, embeddings, labels)
    assert part.epoch_numbers()["neighbors"] == 4
    assert part.neighbors == 8


def test_lists_without_negatives_become_longer_once_and_are_told_then():
    embeddings, labels = data(spread=0.01)
    part = miner("smart", neighbors=5, kappa_mode="fixed", kappa=1.0)
    mined(part, embeddings, labels)
    assert part.epoch_numbers()["no_negative"] == 240
    assert part.neighbors == 10
    run_epoch(part, embeddings, labels, 3)
    assert part.neighbors == 10
    assert part.epoch_numbers()["flag_saturated"] == 1


def test_a_target_out_of_reach_is_told_and_kappa_begins_at_1():
    embeddings, labels = data(spread=0.05)
    part = miner("smart", target=0.6, neighbors=15)
    mined(part, embeddings, labels, 2)
    with pytest.warns(UserWarning, match="a target of 0.60 is out of reach"):
        run_epoch(part, embeddings, labels, 2)
    assert part.epoch_numbers()["kappa"] == 1
    assert part.epoch_numbers()["flag_target_infeasible"] == 1


def test_too_few_classes_cannot_be_held_out():
    labels = data(classes=3)[1]
    part = miner("smart", labels=labels, target="val")
    with pytest.raises(DataError, match="of 3 training classes, 2 cannot be held out"):
        part.epoch(chance())


def test_options_that_make_no_sense_together_are_found_when_a_study_is_read():
    with pytest.raises(OptionError, match="cannot be held"):
        MINERS.completed(MINERS.check("smart", {"target": 0.9, "share": 0.5}), None)
    with pytest.raises(OptionError, match="target"):
        MINERS.check("smart", {"target": 1.5})
    assert MINERS.check("smart", {"target": "val"}).options["target"] == "val"
