"""Non-isotropy regularization against the numbers of its published code, and the flow against calculus."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from harness.registry import build
from harness.regularizers._flow import ConditionalFlow

NUMBERS = np.load(Path(__file__).parent / "oracles" / "nir.npz")
ABOUT = json.loads(NUMBERS["about"].tobytes())
EXACT, SINGLE = {"rtol": 1e-9, "atol": 1e-9}, {"rtol": 1e-5, "atol": 1e-5}


def recorded(case, dtype=torch.float64):
    """Regularizer and objective with the recorded weights, embeddings and labels."""
    about, config = ABOUT[case], ABOUT[case]["config"]
    embeddings = torch.tensor(NUMBERS[f"{case}/emb"], dtype=dtype, requires_grad=True)
    classes, dim = NUMBERS[f"{case}/grad_proxies"].shape
    regularizer = build("regularizer", "nir", embedding_dim=dim, **released(config, config["w_align"]))
    objective = build("objective", "proxy_anchor", num_classes=classes, embedding_dim=dim, as_published=True)
    stored = about["weights"] == "stored"
    weights = (lambda name, place, shape: NUMBERS[f"{case}/param/{name}"]) if stored else hashed(about, config)
    for place, (name, parameter) in enumerate(slots(regularizer.flow, objective)):
        shape = tuple(parameter.shape)
        parameter.data = torch.tensor(interleaved(weights(name, place, shape), name, config["fc_depth"]), dtype=dtype)
    return regularizer.to(dtype), objective.to(dtype), embeddings, torch.tensor(NUMBERS[f"{case}/labels"])


def released(config, weight):
    """Our options for those of the published code."""
    size = {"blocks": config["num_cblocks"], "depth": config["fc_depth"], "width": config["fc_width"]}
    form = {"form": "exp_nll", "weight_on": "proxy", "per_dimension": False, "weight": weight}
    return size | form | {"clamp": config["clamp"], "condition_mode": config["cond_mode"]}


def slots(flow, objective):
    """Our parameters under the published names, in the published order: its subnet 2 is the one that acts first."""
    found = []
    for number, (_, first, second) in enumerate(flow.blocks):
        for subnet, coupling in ((1, second), (2, first)):
            found += linear(coupling.hyper, f"block{number}.subnet{subnet}")
    for number, embed in enumerate(flow.embeddings):
        found += linear(embed, f"cond{number}")
    return [*found, ("proxies", objective.proxies)]


def linear(mlp, name):
    layers = [layer for layer in mlp if hasattr(layer, "weight")]
    return [
        (f"{name}.linear{place}.{kind}", getattr(layer, kind))
        for place, layer in enumerate(layers)
        for kind in ("weight", "bias")
    ]


def interleaved(values, name, depth):
    """The last layer of a published subnet gives all scales, then all shifts; zuko's shift, scale, shift, scale, ..."""
    if not re.search(rf"subnet\d\.linear{depth - 1}\.", name):
        return values
    scale, shift = np.split(np.asarray(values), 2)
    return np.stack([shift, scale], axis=1).reshape(np.shape(values))


def hashed(about, config):
    """Weights that are not stored, because an integer hash gives them."""

    def weights(name, place, shape):
        mask = np.uint64(0xFFFFFFFF)
        h = np.arange(np.prod(shape), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(place * 40503 + 12345)
        h &= mask
        for shift, factor in ((16, 2246822519), (13, 3266489917), (16, 1)):
            h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & mask
        return bound(name, shape) * (2 * h.astype(np.float64) / 2**32 - 1).reshape(shape)

    def bound(name, shape):
        if name == "proxies":
            return 0.25
        if name.endswith("bias"):
            return 0.1
        last = f"linear{config['fc_depth'] - 1}." in name
        gain = about["cond_gain"] if name.startswith("cond") else about["last_gain"] if last else 1.0
        return gain * np.sqrt(6 / shape[1])

    return weights


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, EXACT), (torch.float32, SINGLE)])
@pytest.mark.parametrize("case", ABOUT)
def test_latents_and_log_determinants_are_those_of_the_published_code(case, dtype, near):
    regularizer, objective, embeddings, labels = recorded(case, dtype)
    conditions = normalize(objective.proxies[labels], dim=1)
    latent, logdet = regularizer.flow(embeddings, conditions)
    torch.testing.assert_close(latent, torch.tensor(NUMBERS[f"{case}/z"], dtype=dtype), **near)
    torch.testing.assert_close(logdet, torch.tensor(NUMBERS[f"{case}/logdet"], dtype=dtype), **near)
    back = regularizer.flow.inverse(latent, conditions)
    assert (back - embeddings).abs().max() < (1e-12 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, EXACT), (torch.float32, SINGLE)])
@pytest.mark.parametrize("case", ABOUT)
def test_loss_and_gradients_are_those_of_the_published_code(case, dtype, near):
    regularizer, objective, embeddings, labels = recorded(case, dtype)
    loss = regularizer.on_loss(objective(embeddings, labels), embeddings, labels, objective)
    loss.backward()
    torch.testing.assert_close(loss.item(), ABOUT[case]["value"], **near)
    found = {"grad_emb": embeddings.grad, "grad_proxies": objective.proxies.grad}
    for name, gradient in found.items():
        golden = torch.tensor(NUMBERS[f"{case}/{name}"], dtype=dtype)
        scale = golden.abs().max()
        torch.testing.assert_close(gradient / scale, golden / scale, **near)
    assert_same_gradients(case, regularizer, objective, near)


def assert_same_gradients(case, regularizer, objective, near):
    """Of every weight of the flow: each entry where they are stored, else norm, first and last entry."""
    depth = ABOUT[case]["config"]["fc_depth"]
    for place, (name, parameter) in enumerate(slots(regularizer.flow, objective)):
        gradient = parameter.grad.double()
        if f"{case}/grad/{name}" in NUMBERS:
            golden = torch.tensor(interleaved(NUMBERS[f"{case}/grad/{name}"], name, depth))
        else:
            golden = torch.tensor(NUMBERS[f"{case}/grad_norm_first_last"][place])
            ends = gradient.flatten()
            last = bool(re.search(rf"subnet\d\.linear{depth - 1}\.", name))
            # Of the last layer, the published first entry is our first scale, its last one our last shift.
            first, final = (gradient[1].flatten()[0], gradient[-2].flatten()[-1]) if last else (ends[0], ends[-1])
            gradient = torch.stack([gradient.norm(), first, final])
        scale = golden.abs().max()
        torch.testing.assert_close(gradient / scale, golden / scale, **near)


def test_the_size_of_the_published_flow():
    sizes = {dim: ConditionalFlow(dim, 5, 8, 128, 2.0, "dense", "default") for dim in (128, 512)}
    assert {dim: sum(p.numel() for p in flow.parameters()) for dim, flow in sizes.items()} == {
        128: 1_402_880,
        512: 2_635_520,
    }


@pytest.mark.parametrize("mode", ["none", "start", "dense", "dense_embed_multi_stacked"])
@pytest.mark.parametrize("dim", [2, 5, 8])
def test_the_log_determinant_is_that_of_the_jacobian_and_the_inverse_undoes_the_flow(dim, mode):
    torch.manual_seed(dim)
    flow = ConditionalFlow(dim, 3, 3, 16, 2.0, mode, "xavier").double()
    x, condition = torch.randn(2, 4, dim, dtype=torch.float64)
    latent, logdet = flow(x, condition)
    for row, given, expected in zip(x, condition, logdet, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda one, p=given: flow(one[None], p[None])[0][0], row)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flow.inverse(latent, condition), x, rtol=1e-9, atol=1e-9)


def test_the_logarithm_of_a_scale_stays_within_the_clamp():
    flow = ConditionalFlow(4, 1, 1, 8, 1.5, "dense", "default")
    for coupling in flow.blocks[0][1:]:
        coupling.hyper[0].weight.data.fill_(1e6)
    _, logdet = flow(torch.ones(1, 4), torch.ones(1, 4))
    assert logdet.item() == pytest.approx(4 * 1.5 * 0.636 * np.pi / 2, rel=1e-4)


def test_permutations_and_first_weights_do_not_touch_numpy_s_stream_of_chance():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    flow = ConditionalFlow(8, 2, 3, 6, 2.0, "dense", "default")
    assert np.random.random() == expected
    orders = [block[0].state_dict() for block in flow.blocks]
    assert [next(iter(order.values())).tolist() for order in orders] == [
        [6, 2, 1, 7, 3, 0, 5, 4],
        [7, 2, 1, 6, 0, 4, 3, 5],
    ]


def test_xavier_draws_all_but_the_first_layer_again():
    torch.manual_seed(0)
    flow = ConditionalFlow(6, 2, 4, 10, 2.0, "dense_embed", "xavier")
    for _, first, second in flow.blocks:
        for coupling in (first, second):
            layers = [layer for layer in coupling.hyper if hasattr(layer, "weight")]
            assert layers[0].bias.abs().sum() > 0
            assert all(layer.bias.abs().sum() == 0 for layer in layers[1:])
    assert flow.embeddings[0][2].bias.abs().sum() > 0


def test_the_golden_vector_of_the_specification():
    """Written out by whoever ran the published code, to six digits: every weight a sine of its place."""
    place = torch.arange(8, dtype=torch.float64)
    embeddings = normalize(torch.sin(1 + 8 * place[:, None] + place), dim=1).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 3])
    objective = build("objective", "proxy_anchor", num_classes=5, embedding_dim=8, as_published=True).double()
    objective.proxies.data = torch.cos(1 + 8 * place[:5, None] + place) / 8
    config = {"num_cblocks": 2, "fc_depth": 3, "fc_width": 6, "clamp": 2.0, "cond_mode": "dense"}
    regularizer = build("regularizer", "nir", embedding_dim=8, **released(config, 0.0075)).double()
    count = 0
    for name, parameter in slots(regularizer.flow, objective)[:-1]:
        values = 0.3 * np.sin(1 + np.arange(count, count + parameter.numel())).reshape(parameter.shape)
        parameter.data = torch.tensor(interleaved(values, name, 3))
        count += parameter.numel()
    assert count == 704
    proxy_loss = objective(embeddings, labels)
    loss = regularizer.on_loss(proxy_loss, embeddings, labels, objective)
    latent, logdet = regularizer.flow(embeddings, normalize(objective.proxies[labels], dim=1))
    likelihoods = latent.square().sum(1) / 2 - logdet
    loss.backward()
    near = {"abs": 2e-6}  # it was computed in float32
    assert proxy_loss.item() == pytest.approx(52.901382, rel=2e-7)
    zeta = [-0.814218, 1.017188, -0.164474, -0.531841, 0.642725, -0.467420, 1.458466, 1.094184]
    assert latent[0].tolist() == pytest.approx(zeta, **near)
    logdets = [7.594646, 6.686035, 3.653877, 3.260576, 3.897301, 3.894367, 6.707886, 5.725095]
    assert logdet.tolist() == pytest.approx(logdets, **near)
    expected = [-4.612912, -2.412266, -1.153801, -1.918789, -2.384433, 0.032662, -3.698629, -3.820324]
    assert likelihoods.tolist() == pytest.approx(expected, **near)
    assert likelihoods.exp().mean().item() == pytest.approx(0.216722, **near)
    assert loss.item() == pytest.approx(0.613482, **near)
    gradient = [0.004424, 0.003759, -0.000854, -0.002310, -0.001838, -0.000117, 0.002062, 0.005235]
    assert embeddings.grad[0].tolist() == pytest.approx(gradient, **near)
    assert objective.proxies.grad.norm().item() == pytest.approx(0.234912, **near)
    norms = torch.stack([parameter.grad.norm() for parameter in regularizer.parameters()])
    assert norms.norm().item() == pytest.approx(1.261736, **near)
