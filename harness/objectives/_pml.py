"""Losses of pytorch-metric-learning as objectives: `pml:CircleLoss`."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from harness.errors import OptionError
from harness.geometry import at_least_float32
from harness.pml import Signature, peer, signature_of, uses
from harness.tuples import Triplets, present

TRANSPOSED = ("W", "fc", "weight")
"""Names of tables that hold a class representative in each column."""

LR_MULTIPLIER = inspect.Parameter(
    "lr_multiplier", inspect.Parameter.KEYWORD_ONLY, default=50.0, annotation=NonNegativeFloat
)


class PmlObjective(nn.Module):
    """A loss of pytorch-metric-learning with the distance and the reducer that it has by default.

    With a miner it gets the triplets as its `indices_tuple`, without one it takes the pairs or triplets of the batch as
    it does on its own. What it learns does so at `lr_multiplier` times the network's rate. Some losses (CircleLoss,
    GeneralizedLiftedStructureLoss, HistogramLoss, MultiSimilarityLoss, SupConLoss) fail on tuples in which a sample is
    its own positive or one pair is both positive and negative, as the regularizer `rho` makes them.
    """

    takes = "either"
    normalize = True
    proxy_table: str | None = None
    revision = 1
    wrapped: ClassVar[type]
    constructor: ClassVar[Signature]

    def __init__(self, *, lr_multiplier: float = 50.0, **arguments: Any) -> None:
        super().__init__()
        self.num_classes: int = arguments.get("num_classes") or 0
        named = {theirs: arguments.pop(ours) for theirs, ours in self.constructor.supplied.items()}
        try:
            self.loss = self.wrapped(**named, **arguments)
        except (AssertionError, TypeError, ValueError) as error:
            raise OptionError(f"objective 'pml:{self.wrapped.__name__}' refuses {arguments}: {error}") from error
        self.lr_multipliers = {name: lr_multiplier for name, _ in self.named_parameters()}

    @property
    def proxies(self) -> Tensor:
        """The class representatives: [classes, D], or [classes, centers, D] where a class has several."""
        name, table = next(iter(self.loss.named_parameters()))
        rows: Tensor = table.T if name in TRANSPOSED else table
        return rows if len(rows) == self.num_classes else rows.reshape(self.num_classes, -1, rows.shape[1])

    def forward(self, embeddings: Tensor, labels: Tensor, tuples: Triplets | None = None) -> Tensor:
        """Embeddings [B, D], labels [B] -> loss."""
        if tuples is not None and self.takes == "either":
            counts = present(tuples)
            indices = tuple(row[counts] for row in tuples)
        else:
            indices = None
        loss: Tensor = self.loss(at_least_float32(embeddings), labels, indices)
        # A running statistic must not drag the graph of this batch into the next.
        for name, value in self._plain_tensors().items():
            setattr(self.loss, name, value.detach())
        return loss

    def get_extra_state(self) -> dict[str, Tensor]:
        """What it remembers outside of parameters and buffers, so that a continued run goes on with it."""
        return self._plain_tensors()

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """The inverse of `get_extra_state`."""
        for name, value in state.items():
            setattr(self.loss, name, value)

    def _plain_tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self.loss).items() if isinstance(value, Tensor)}


@functools.cache
def load(name: str) -> type:
    """The objective around the loss of that name; raises OptionError when there is none."""
    wrapped = peer("objective", name)
    constructor = signature_of(wrapped)
    has_table = "num_classes" in constructor.supplied
    learns = has_table or any(option.name == "learn_beta" for option in constructor.options)
    refuses_tuples = uses(wrapped.compute_loss, "indices_tuple_not_supported")  # type: ignore[attr-defined]
    attributes = {
        "__doc__": f"{name} of pytorch-metric-learning.",
        "__module__": __name__,
        "__signature__": constructor.as_part(*[LR_MULTIPLIER] * learns),
        "wrapped": wrapped,
        "constructor": constructor,
        "takes": "batch" if refuses_tuples else "either",
        "proxy_table": "proxies" if has_table else None,
    }
    return type(name, (PmlObjective,), attributes)
