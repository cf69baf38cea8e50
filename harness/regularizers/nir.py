"""Non-isotropy regularization of proxy objectives (Roth, Vinyals and Akata, 2022)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from harness.errors import OptionError
from harness.geometry import at_least_float32, normalized
from harness.registry import REGULARIZERS
from harness.regularizers._flow import ConditionalFlow, Mode
from harness.regularizers._likelihoods import EpochRecord
from harness.tuples import Triplets

Form = Literal["nll", "nll_paper", "exp_nll", "none"]
Conditioning = Literal["dense", "start", "mid", "end", "dense_embed", "dense_embed_multi", "dense_embed_multi_stacked"]


@REGULARIZERS.register("nir")
class NIR(nn.Module):
    """A normalizing flow, conditioned on the proxy of the own class, must be able to explain each embedding.

    The flow turns embedding e and unit-norm proxy p into a latent vector l with log-determinant J. Its negative
    log-likelihood, up to a constant, is n = |l|^2 / 2 - J, and the term is, by `form`,

    nll        the mean of n over the batch
    nll_paper  the mean of |l|^2 - J, as the paper has it
    exp_nll    the mean of e^n, as the published code has it
    none       nothing: only `weight` is at work, as a control

    with n divided by the dimension D if `per_dimension`. The loss is L + weight * term, or weight * L + term with
    `weight_on: proxy`, as the published code has it. Its runs are `form: exp_nll`, `weight_on: proxy`,
    `per_dimension: false` and weight 0.0075 (CUB200-2011), 0.01 (CARS196) or 0.3 (Stanford Online Products), with a
    `lr_multiplier` of 50, 50 and 1, on `proxy_anchor` with `as_published` and proxies at 4000 times the network's rate.
    Of the weight of the published form nothing is known; the default is ours.

    condition                  own_proxy; none, for an unconditional flow; shuffled_labels, for the proxy of the class
                               of another sample of the batch, drawn anew in each step
    condition_mode             which block of the flow gets it, and through what (`_flow.ConditionalFlow`)
    center                     of several centers of a class: the one nearest to the embedding, or their mean
    detach_embeddings, _proxies  the flow learns, but neither embeddings nor proxies feel it
    noise                      the flow sees normalize(e + noise * u), u uniform in [0, 1) in each coordinate
    blocks, depth, width, clamp, init   size of the flow, the bound of its logarithmic scales, and its first weights
    lr_multiplier              the flow's learning rate as a multiple of the network's
    """

    needs = frozenset({"proxies"})
    revision = 1

    def __init__(
        self,
        embedding_dim: int,
        *,
        form: Form = "nll",
        weight_on: Literal["nir", "proxy"] = "nir",
        weight: NonNegativeFloat = 0.1,
        per_dimension: bool = True,
        condition: Literal["own_proxy", "none", "shuffled_labels"] = "own_proxy",
        condition_mode: Conditioning = "dense",
        center: Literal["nearest", "mean"] = "nearest",
        detach_embeddings: bool = False,
        detach_proxies: bool = False,
        noise: NonNegativeFloat = 0.0,
        blocks: PositiveInt = 5,
        depth: PositiveInt = 8,
        width: PositiveInt = 128,
        clamp: PositiveFloat = 2.0,
        init: Literal["default", "xavier"] = "default",
        lr_multiplier: Annotated[float, Field(ge=0)] = 50.0,
    ) -> None:
        super().__init__()
        if embedding_dim < 2:
            raise OptionError("regularizer 'nir' couples two halves of an embedding; one of dimension 1 has none")
        self.form = form
        self.weight_on = weight_on
        self.weight = weight
        self.scale = 1 / embedding_dim if per_dimension else 1.0
        self.condition = condition
        self.center = center
        self.detach_embeddings = detach_embeddings
        self.detach_proxies = detach_proxies
        self.noise = noise
        self.record = EpochRecord()
        mode: Mode = "none" if condition == "none" else condition_mode
        self.flow = None if form == "none" else ConditionalFlow(embedding_dim, blocks, depth, width, clamp, mode, init)
        self.lr_multipliers = {name: lr_multiplier for name, _ in self.named_parameters()}

    def on_tuples(self, tuples: Triplets, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """The tuples as they are."""
        return tuples

    def on_loss(self, loss: Tensor, embeddings: Tensor, labels: Tensor, objective: nn.Module) -> Tensor:
        """The loss of a batch of embeddings [B, D] with labels [B], with the term."""
        if self.flow is None:
            return loss * self.weight if self.weight_on == "proxy" else loss
        term = self.term(embeddings, labels, getattr(objective, str(objective.proxy_table))).to(loss.dtype)
        return loss * self.weight + term if self.weight_on == "proxy" else loss + term * self.weight

    def term(self, embeddings: Tensor, labels: Tensor, table: Tensor) -> Tensor:
        """Embeddings [B, D], labels [B] and proxies [C, D] or centers [C, K, D] -> the term that the form asks for."""
        assert self.flow is not None
        table = table.detach() if self.detach_proxies else table
        embeddings = self.record.watched(embeddings)
        seen = at_least_float32(embeddings.detach() if self.detach_embeddings else embeddings)
        latent, logdet = self.flow(self._noisy(seen), self._condition(seen, labels, table.to(seen.dtype)))
        squares = latent.square().sum(1)
        likelihoods: Tensor = squares / 2 - logdet
        self.record.note(likelihoods)
        if self.form == "nll_paper":
            likelihoods = squares - logdet
        likelihoods = likelihoods * self.scale
        # The published code takes the exponential in double precision, where it overflows only above 709.
        return likelihoods.double().exp().mean() if self.form == "exp_nll" else likelihoods.mean()

    def epoch_numbers(self) -> dict[str, float]:
        """Of the epoch: `nir_nll_*`, quantiles of n over samples (never divided by D, with the factor of one half), and
        `nir_gradient_ratio`, the norm of the term's gradient on the embeddings over that of the proxy loss, both with
        their weights: median and maximum over steps."""
        return self.record.epoch_numbers() if self.flow is not None else {}

    def _noisy(self, embeddings: Tensor) -> Tensor:
        return normalized(embeddings + self.noise * torch.rand_like(embeddings)) if self.noise else embeddings

    def _condition(self, embeddings: Tensor, labels: Tensor, table: Tensor) -> Tensor:
        """The unit-norm proxy [B, D] for each sample."""
        if self.condition == "shuffled_labels":
            labels = labels[torch.rand(len(labels), device=labels.device).argsort()]
        own = table[labels]
        if own.ndim == 2:
            return normalized(own)
        own = normalized(own.flatten(0, 1)).view_as(own)
        if self.center == "mean":
            return normalized(own.mean(1))
        nearest = (own.detach() @ embeddings.detach()[:, :, None]).argmax(1)  # [B, 1]
        return own.gather(1, nearest[:, :, None].expand(-1, -1, own.shape[2])).squeeze(1)
