"""Mining by a fixed distribution over bins of distance: the starting points of PADS (Roth et al., 2020)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from harness.errors import OptionError
from harness.geometry import at_least_float32, safe_sqrt, squared_distances
from harness.registry import MINERS
from harness.tuples import Triplets, choose, found_rows, negative_mask, partner_mask, prefer

WANTED = {"uniform": (0.0, torch.inf), "hard": (0.0, 0.5), "semi_hard": (0.3, 0.7), "very_hard": (0.0, 0.3)}
"""Between which distances the lower edge of a bin must be for its negatives to be drawn."""


@MINERS.register("parametric")
class Parametric:
    """Per anchor a random positive, and a negative uniform among those whose distance is in a wanted bin.

    The bins lie between `edges` equidistant edges from `lower` to `upper`. Which are wanted goes by a bin's lower edge:
    "uniform" all, "hard" up to 0.5, "semi_hard" 0.3 to 0.7, "very_hard" up to 0.3. Where no negative is in one, uniform
    among all. Every sample with a partner is an anchor once. In the published code distances outside the edges count
    as in the outermost bins, and "semi_hard" does not run.
    """

    revision = 1

    def __init__(
        self,
        *,
        mode: Literal["uniform", "hard", "semi_hard", "very_hard"] = "uniform",
        lower: NonNegativeFloat = 0.1,
        upper: NonNegativeFloat = 1.8,
        edges: Annotated[int, Field(ge=2)] = 10,
    ) -> None:
        if lower >= upper:
            raise OptionError(
                f"lower {lower:g} is not below upper {upper:g}; right would be, for instance, 0.1 and 1.8"
            )
        self.mode = mode
        self.lower = lower
        self.upper = upper
        self.edges = edges

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Triplets:
        """Embeddings [B, D], labels [B] -> up to B triplets."""
        positive = choose(partner_mask(labels), generator)
        negative = choose(self.wanted(embeddings, labels), generator)
        return found_rows(torch.arange(len(labels), device=labels.device), positive, negative)

    def wanted(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Which negatives can be drawn: [B, D], [B] -> bool [B, B]."""
        embeddings = at_least_float32(embeddings)
        distances = safe_sqrt(squared_distances(embeddings, embeddings))
        width = (self.upper - self.lower) / (self.edges - 1)
        bin_edge = self.lower + ((distances - self.lower) / width).floor() * width
        least, most = WANTED[self.mode]
        inside = (distances >= self.lower) & (distances <= self.upper)
        negatives = negative_mask(labels)
        return prefer(negatives & inside & (bin_edge >= least) & (bin_edge <= most), negatives)
