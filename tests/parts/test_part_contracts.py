"""What every objective and every miner must do, over the whole registry: a new part is tested by being registered."""

import math

import pytest
import torch
from part_batches import all_triplets, balanced_batch, drawn_by, inputs_of

from harness.errors import OptionError
from harness.registry import MINERS, OBJECTIVES, build
from harness.tuples import Triplets, present

EMPTY = Triplets(*torch.empty(3, 0, dtype=torch.int64))
IN_A_BATCH = [name for name in MINERS.names() if not getattr(MINERS.get(name), "plans", False)]
WITHOUT_PROXIES = [name for name in OBJECTIVES.names() if OBJECTIVES.get(name).proxy_table is None]
RANDOM = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
DEGENERATE = {
    "one class only": (RANDOM, [1] * 6),
    "one sample per class": (RANDOM, [0, 1, 2, 3, 4, 5]),
    "duplicates of one point": (torch.ones(6, 5), [0, 0, 1, 1, 2, 2]),
    "duplicates inside a class": (torch.eye(5)[[0, 0, 1, 1, 2, 2]], [0, 0, 1, 1, 2, 2]),
    "zero vectors": (torch.zeros(6, 5), [0, 0, 1, 1, 2, 2]),
    "opposite points": (torch.eye(5)[[0, 0, 0, 0]] * torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]), [0, 0, 1, 1]),
    "a batch of two of one class": (RANDOM[:2], [3, 3]),
    "a batch of two of two classes": (RANDOM[:2], [3, 4]),
    "a batch of one": (RANDOM[:1], [3]),
    "very long vectors": (RANDOM * 1e4, [0, 0, 1, 1, 2, 2]),
}


def objective(name, embedding_dim=5, **options):
    torch.manual_seed(0)
    return build("objective", name, num_classes=6, embedding_dim=embedding_dim, **options)


def loss_and_gradients(part, embeddings, labels, tuples):
    embeddings = embeddings.clone().requires_grad_()
    part.zero_grad()
    loss = part(embeddings, labels, tuples)
    loss.backward()
    return loss.detach(), embeddings.grad, [parameter.grad for parameter in part.parameters()]


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_every_objective_declares_what_it_takes_and_learns(name):
    part = objective(name)
    assert part.takes in ("triplets", "batch")
    assert isinstance(part.normalize, bool)
    assert part.revision >= 1
    learnt = dict(part.named_parameters())
    assert set(getattr(part, "lr_multipliers", {})) == set(learnt)
    if part.proxy_table is not None:
        assert learnt[part.proxy_table].shape[0] == 6
        assert learnt[part.proxy_table].shape[-1] == 5


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_loss_and_gradient_are_finite_for_degenerate_batches(name, case, published):
    options = {"as_published": True} if published and "as_published" in OBJECTIVES.schema(name).model_fields else {}
    embeddings, labels = DEGENERATE[case]
    part, labels = objective(name, **options), torch.tensor(labels)
    for tuples in inputs_of(part, embeddings, labels):
        loss, gradient, own = loss_and_gradients(part, embeddings, labels, tuples)
        assert loss.shape == ()
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert all(one is None or one.isfinite().all() for one in own)


@pytest.mark.parametrize("name", WITHOUT_PROXIES)
def test_no_tuple_gives_a_loss_of_0_with_a_gradient_of_0(name):
    part, (embeddings, labels) = objective(name), balanced_batch(classes=3, dim=5)
    if part.takes == "batch":
        labels = torch.arange(len(labels))
    loss, gradient, own = loss_and_gradients(part, embeddings, labels, EMPTY if part.takes == "triplets" else None)
    assert loss == 0
    assert gradient.abs().sum() == 0
    assert all(one is None or one.abs().sum() == 0 for one in own)


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_embeddings_that_are_not_numbers_give_a_loss_that_is_none(name):
    part, (embeddings, labels) = objective(name), balanced_batch(classes=3, dim=5)
    for tuples in inputs_of(part, embeddings, labels):
        assert part(torch.full_like(embeddings, torch.nan), labels, tuples).isnan()


@pytest.mark.parametrize("options", [{}, {"upper_cutoff": None}])
@pytest.mark.parametrize("name", IN_A_BATCH)
def test_miners_pass_on_embeddings_that_are_not_numbers(name, options):
    known = MINERS.schema(name).model_fields
    options = {option: value for option, value in options.items() if option in known}
    embeddings, labels = balanced_batch(classes=4, dim=8)
    mined = drawn_by(name, torch.full_like(embeddings, torch.nan), labels, **options)
    assert len(mined.anchor) > len(labels) / math.e


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_absent_rows_count_for_nothing(name):
    part, (embeddings, labels) = objective(name), balanced_batch(classes=3, dim=5)
    tuples = drawn_by("random", embeddings, labels)
    padded = Triplets(*(torch.cat([row, torch.zeros(4, dtype=torch.int64)]) for row in tuples))
    assert present(padded).sum() == len(tuples.anchor)
    torch.testing.assert_close(part(embeddings, labels, padded), part(embeddings, labels, tuples))


def test_a_row_that_names_its_anchor_as_negative_alone_counts():
    embeddings, tuples = torch.tensor([[0.0], [3.0]]), Triplets(*torch.tensor([[0, 1], [1, 1], [0, 1]]))
    assert present(tuples).tolist() == [True, False]
    assert build("objective", "triplet")(embeddings, torch.tensor([0, 0]), tuples).item() == pytest.approx(9.2)


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_the_order_of_the_batch_changes_nothing(name):
    part, (embeddings, labels) = objective(name).double(), balanced_batch(classes=4, dim=5, dtype=torch.float64)
    shuffle = torch.randperm(len(labels))
    place = shuffle.argsort()
    for tuples in inputs_of(part, embeddings, labels):
        moved = None if tuples is None else Triplets(*(place[row] for row in tuples))
        loss, gradient, _ = loss_and_gradients(part, embeddings, labels, tuples)
        loss_after, gradient_after, _ = loss_and_gradients(part, embeddings[shuffle], labels[shuffle], moved)
        torch.testing.assert_close(loss_after, loss)
        torch.testing.assert_close(gradient_after, gradient[shuffle])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_half_precision_is_computed_in_float32(name, dtype):
    part, (embeddings, labels) = objective(name), balanced_batch(classes=3, dim=5)
    embeddings = (embeddings * 300).to(dtype)
    for tuples in inputs_of(part, embeddings, labels):
        loss, gradient, _ = loss_and_gradients(part, embeddings, labels, tuples)
        torch.testing.assert_close(loss, part(embeddings.float(), labels, tuples).detach())
        assert loss.isfinite()
        assert gradient.dtype == dtype


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_float64_embeddings_are_computed_in_float64(name):
    part, (embeddings, labels) = objective(name), balanced_batch(classes=3, dim=5, dtype=torch.float64)
    for tuples in inputs_of(part, embeddings, labels):
        exact = part(embeddings, labels, tuples)
        assert exact.dtype == torch.float64
        torch.testing.assert_close(part(embeddings.float(), labels, tuples).double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_objectives_that_take_triplets_say_so_when_they_get_none(name):
    part, (embeddings, labels) = objective(name), balanced_batch(classes=3, dim=5)
    if part.takes == "triplets":
        with pytest.raises(OptionError, match="takes triplets"):
            part(embeddings, labels, None)
    else:
        assert part(embeddings, labels, None).isfinite()


@pytest.mark.parametrize("name", sorted(set(IN_A_BATCH) - {"intra_class", "random_label"}))
def test_every_miner_gives_valid_triplets(name):
    embeddings, labels = balanced_batch(classes=6, dim=8)
    anchor, positive, negative = drawn_by(name, embeddings, labels)
    expected = len(all_triplets(labels.tolist()).anchor) if name == "all_triplets" else len(labels)
    assert len(anchor) == expected
    assert anchor.dtype == torch.int64
    assert (labels[anchor] == labels[positive]).all()
    assert (anchor != positive).all()
    assert (labels[anchor] != labels[negative]).all()


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", IN_A_BATCH)
def test_every_miner_survives_degenerate_batches(name, case):
    embeddings, labels = DEGENERATE[case]
    mined = drawn_by(name, embeddings, torch.tensor(labels))
    assert all(((row >= 0) & (row < len(labels))).all() for row in mined)
    if name not in ("intra_class", "random_label"):
        assert len(mined.anchor) == len(mined.negative)
        assert (len(mined.anchor) > 0) == (len(all_triplets(labels).anchor) > 0)


@pytest.mark.parametrize("name", IN_A_BATCH)
def test_the_generator_alone_decides_what_a_miner_draws(name):
    embeddings, labels = balanced_batch(classes=8, per_class=4, dim=8)
    torch.manual_seed(1)
    first = drawn_by(name, embeddings, labels, seed=7)
    torch.manual_seed(2)
    again = drawn_by(name, embeddings, labels, seed=7)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    other = drawn_by(name, embeddings, labels, seed=8)
    same = all(torch.equal(one, other) for one, other in zip(first, other, strict=True))
    assert same == (name in ("all_triplets", "hard"))  # these draw nothing


@pytest.mark.parametrize("name", IN_A_BATCH)
def test_miners_leave_no_trace_in_the_gradient(name):
    embeddings, labels = balanced_batch(classes=4, dim=8)
    embeddings.requires_grad_()
    assert all(not row.requires_grad for row in drawn_by(name, embeddings, labels))


@pytest.mark.parametrize("dim", [2, 3, 128, 2048])
@pytest.mark.parametrize("name", IN_A_BATCH)
def test_miners_work_in_any_dimension_and_half_precision(name, dim):
    embeddings, labels = balanced_batch(classes=8, dim=dim)
    for cast in (torch.float64, torch.float16):
        assert len(drawn_by(name, embeddings.to(cast), labels).anchor) > len(labels) / math.e


@pytest.fixture
def accelerator():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    return torch.device("cuda")


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_objectives_agree_on_gpu_and_cpu_without_making_the_host_wait(name, accelerator):
    part, (embeddings, labels) = objective(name), balanced_batch(classes=3, dim=5)
    for tuples in inputs_of(part, embeddings, labels):
        loss, gradient, _ = loss_and_gradients(part, embeddings, labels, tuples)
        there = [embeddings.to(accelerator), labels.to(accelerator)]
        there.append(None if tuples is None else Triplets(*(row.to(accelerator) for row in tuples)))
        copy = objective(name).to(accelerator)
        loss_and_gradients(copy, *there)
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss_there, gradient_there, _ = loss_and_gradients(copy, *there)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.testing.assert_close(loss_there.cpu(), loss, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient_there.cpu(), gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(IN_A_BATCH) - {"all_triplets"}))  # its number of rows is a result
def test_miners_on_a_gpu_do_not_make_the_host_wait(name, accelerator):
    embeddings, labels = (one.to(accelerator) for one in balanced_batch(classes=6, dim=8))
    labels[0] = 99
    miner, generator = build("miner", name), torch.Generator(accelerator).manual_seed(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        mined = miner(embeddings, labels, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(mined.anchor) == len(labels)
    assert present(mined).sum() > 0
