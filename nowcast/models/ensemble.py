"""The ensemble models: a cascade, its products and its coverage as one graph, sizes `standard` and `edge`.

All leads are one batch: as a loop over leads the graph had 24 times the nodes and its export did not end. A field of
all members and leads is 600 MB at 512² and 24 members, 200 MB for 8. All products read the coupled members
(`nowcast.models.coupling`), ascending at each pixel: quantiles are read off, probabilities count them, blurred a little
in level; those of heavy rain hear the newest frame, carried on as it is, beside the members.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nowcast.models.advection import sample
from nowcast.models.cascade import Cascade
from nowcast.models.coupling import quantile
from nowcast.models.levels import DRY, latent_to_model, latent_to_rate
from nowcast.models.prepared import Leads, Prepared
from nowcast.models.spec import LEADS, PROBABILITY_PRODUCTS, RATE_PRODUCTS, ModelSpec, member_products

WEIGHTS = Path(__file__).parent / "weights"
THRESHOLDS = (0.1, 1.0, 5.0, 10.0)
"""mm/h."""
FADE = 0.04
"""Over this much of the probability of rain a quantile rises from dry to what the members say; a step would cost FP16
its parity."""
SOFT, DRY_WIDTHS = 0.08, 6.0
"""Latent levels (0.8 dB) over which a member passes from below a threshold to above it; dry stays that many below."""
HEAVY, CONTROL = 5.0, 0.1
"""From this threshold on, in mm/h, the control's share of a probability."""


def rate_to_model(rate: Tensor) -> Tensor:
    """Return model-space values of mm/h, 0 below 0.1 mm/h."""
    values = ((10 / math.log(10)) * torch.log(rate.clamp(min=0.1)) + 10.15) / 38.1
    return torch.where(rate >= 0.1, values.clamp(max=1), torch.zeros_like(values))


class Ensemble(nn.Module):
    """`(stack, mask, motion, noise, pixel)` → products in the order of `spec`, then coverage, each (B, K, H, W).

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
        self.spec = ModelSpec(name, products, leads=leads, noise=self.cascade.noise, pixel=True)

    def forward(
        self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor, pixel: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the products and the coverage; without `pixel` one is 1 km."""
        ready = self.cascade.prepare(stack, mask, motion, noise, pixel)
        return self.at(self.cascade.each(range(self.spec.leads), ready), ready)

    def at(self, each: Leads, ready: Prepared) -> tuple[Tensor, ...]:
        """Return the products and the coverage of some leads, each (B, K, H, W)."""
        told = self.cascade.levels_at(ready, each)
        levels = told.ordered
        coverage = sample(each(ready.seen), each.positions, "zeros")
        mean = rate_to_model(latent_to_rate(levels).mean(1, keepdim=True))
        shares = self.probabilities(levels, each, ready)
        rates = [latent_to_model(quantile) for quantile in quantiles(levels, shares[0])]
        members = torch.split(latent_to_model(told.members), 1, 1)[: self.shown] if self.shown else ()
        fields = (mean, *rates, *shares, *members, coverage)
        height, width = levels.shape[-2:]
        return tuple(field.reshape(-1, each.count, height, width) for field in fields)

    @staticmethod
    def probabilities(
        levels: Tensor, each: Leads, ready: Prepared, thresholds: Sequence[float] = THRESHOLDS
    ) -> list[Tensor]:
        """Return P(rate ≥ each threshold in mm/h, ascending) of (N, M, H, W) members, (N, 1, H, W) each."""
        control = sample(each(ready.newest) - DRY, each.positions, "zeros") + DRY
        found: list[Tensor] = []
        for threshold in thresholds:
            at = 1 + math.log10(threshold)
            width = min(SOFT, (at - DRY) / DRY_WIDTHS)
            share = torch.sigmoid((levels - at) * (1 / width)).mean(1, keepdim=True)
            if threshold >= HEAVY:
                share = (1 - CONTROL) * share + CONTROL * torch.sigmoid((control - at) * (1 / width))
            found.append(torch.minimum(share, found[-1]) if found else share)
        return found

    @torch.no_grad()
    def members(
        self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor, pixel: Tensor | None = None
    ) -> Tensor:
        """Return the members in model space, (B, M, K, H, W)."""
        ready = self.cascade.prepare(stack, mask, motion, noise, pixel)
        return torch.stack([latent_to_model(self.cascade.member_levels(ready, k)) for k in range(self.spec.leads)], 2)


def quantiles(ordered: Tensor, wet: Tensor) -> tuple[Tensor, ...]:
    """Return the 10th, 50th and 90th percentile of ascending members, each (B, 1, H, W).

    Where `wet`, the probability of rain, says that one is dry, it is.
    """
    found = ((share, quantile(ordered, share)) for share in (0.1, 0.5, 0.9))
    return tuple(DRY + (level - DRY) * ((wet - 1 + share) / FADE).clamp(0, 1) for share, level in found)


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
