"""The ensemble models: a cascade, its products and its coverage as one graph, sizes `standard` and `edge`.

All leads are one batch: as a loop over leads the graph had 24 times the nodes and its export did not end. A field of
all members and leads is 600 MB at 512² and 24 members, 200 MB for 8. Quantiles read the members' latent mean and spread
at the pixel: no sort. Probabilities count the members: read from mean and spread they were up to 0.21 off the diagonal
on a training event, counted up to 0.12.
"""

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nowcast.models.advection import advect
from nowcast.models.cascade import Cascade, Leads, Prepared, latent_to_model, latent_to_rate
from nowcast.models.spec import LEADS, PROBABILITY_PRODUCTS, RATE_PRODUCTS, ModelSpec, member_products

WEIGHTS = Path(__file__).parent / "weights"
QUANTILES = (-1.2816, 0.0, 1.2816)
"""Standard normal quantiles of 10, 50 and 90 %."""
THRESHOLDS = (0.1, 1.0, 5.0, 10.0)
"""mm/h."""
LEAST_SPREAD = 0.02
SOFT = 0.03
"""Latent levels (0.3 dB) over which a member passes from below a threshold to above it."""


def rate_to_model(rate: Tensor) -> Tensor:
    """Return model-space values of mm/h, 0 below 0.1 mm/h."""
    values = ((10 / math.log(10)) * torch.log(rate.clamp(min=0.1)) + 10.15) / 38.1
    return torch.where(rate >= 0.1, values.clamp(max=1), torch.zeros_like(values))


class Ensemble(nn.Module):
    """`(stack, mask, motion, noise)` → products in the order of `spec`, then coverage, each (B, K, H, W).

    Parameters
    ----------
    width
        Channels of the context network, 0 for tables alone.
    shown
        How many members are products too.
    """

    def __init__(self, name: str, members: int, width: int, leads: int = LEADS, shown: int = 0) -> None:
        super().__init__()
        self.cascade, self.shown = Cascade(members, leads, width), shown
        products = RATE_PRODUCTS + PROBABILITY_PRODUCTS + member_products(shown)
        self.spec = ModelSpec(name, products, leads=leads, noise=self.cascade.noise)

    def forward(self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Return the products and the coverage."""
        return self.at(list(range(self.spec.leads)), self.cascade.prepare(stack, mask, motion, noise), mask)

    def at(self, leads: list[int], ready: Prepared, mask: Tensor) -> tuple[Tensor, ...]:
        """Return the products and the coverage of some leads (0 is 5 min), each (B, len(leads), H, W)."""
        each = Leads(leads, ready)
        levels = self.cascade.levels_at(ready, leads)
        coverage = advect(each(mask[:, -1:]), each.path)
        mean = rate_to_model(latent_to_rate(levels).mean(1, keepdim=True))
        centre, spread = moments(levels)
        rates = [latent_to_model(centre + quantile * spread) for quantile in QUANTILES]
        members = [latent_to_model(levels[:, number : number + 1]) for number in range(self.shown)]
        fields = (mean, *rates, *self.probabilities(levels), *members, coverage)
        height, width = levels.shape[-2:]
        return tuple(field.reshape(-1, len(leads), height, width) for field in fields)

    @staticmethod
    def probabilities(levels: Tensor) -> list[Tensor]:
        """Return P(rate ≥ each threshold) of (N, M, H, W) members, (N, 1, H, W) each: their share, softened by SOFT."""
        at = [1 + math.log10(threshold) for threshold in THRESHOLDS]
        return [torch.sigmoid((levels - level) * (1 / SOFT)).mean(1, keepdim=True) for level in at]

    @torch.no_grad()
    def members(self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor) -> Tensor:
        """Return the members in model space, (B, M, K, H, W)."""
        ready = self.cascade.prepare(stack, mask, motion, noise)
        return torch.stack([latent_to_model(self.cascade.member_levels(ready, k)) for k in range(self.spec.leads)], 2)


def moments(levels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation over the members, each (B, 1, H, W)."""
    centre = levels.mean(1, keepdim=True)
    variance = ((levels - centre) ** 2).mean(1, keepdim=True)
    return centre, torch.sqrt(variance + LEAST_SPREAD**2)


class Standard(Ensemble):
    """24 members; a network reads the memory and the noise of each place."""

    def __init__(self) -> None:
        super().__init__("standard", members=24, width=24)
        load(self, WEIGHTS / "standard.safetensors")


class Edge(Ensemble):
    """8 members, the fitted tables alone: for a CPU or a small device."""

    def __init__(self) -> None:
        super().__init__("edge", members=8, width=0)
        load(self, WEIGHTS / "edge.safetensors")


class EdgeMembers(Ensemble):
    """`Edge` with its eight members as products, for those who keep and show them."""

    def __init__(self) -> None:
        super().__init__("edge-members", members=8, width=0, shown=8)
        load(self, WEIGHTS / "edge.safetensors")


def load(model: Ensemble, path: Path) -> None:
    """Load weights (safetensors), for inference."""
    model.load_state_dict(load_file(path))
    model.eval().requires_grad_(requires_grad=False)
