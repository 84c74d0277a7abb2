"""Probability matching by counting: an ensemble gets the distribution that the newest frame has, event by event.

Foresti et al. (2016) and pysteps sort the members; counting at some levels and a piecewise linear map compile.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nowcast.models.levels import DRY

KNOTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
"""Latent levels whose exceedance is matched: 0.1 to 32 mm/h."""
STEPS = 64
"""Levels, from the lowest to the highest of the members, at which these are counted."""
LEAST_STEP = 1e-4
"""Members all alike are counted as if their levels were this far apart."""
EVERY, SPARSE = 4, 8
"""Pixels between two that are counted, of the newest frame and of every member."""
LIGHT = 4
"""The knot, 1 mm/h, up to which rain is light."""
DRIEST = -0.4
"""Levels below mean nothing more."""
STEEPEST = 16.0
"""No slope of the map is more. It is only for distributions with gaps: no drizzle, say. Members whose levels have drawn
together at far leads need slopes of 4 and more; held to 4, the map told light rain where none was."""
RAREST, ABOVE = 1e-5, 4.0
"""A knot that a smaller share exceeds lies above all members, with the slope of 1 from there on."""


class Matching(nn.Module):
    """Where the members reach each knot as often as the newest frame does."""

    steps: Tensor
    knots: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.arange(STEPS, dtype=torch.float32), persistent=False)
        self.register_buffer("knots", torch.tensor(KNOTS), persistent=False)

    def exceeded(self, newest: Tensor, seen: Tensor) -> Tensor:
        """Return the share (B, J) of seen pixels of (B, 1, H, W) at or above each knot."""
        level, weight = newest[..., ::EVERY, ::EVERY], seen[..., ::EVERY, ::EVERY]
        above = (level[:, None] >= self.knots[None, :, None, None, None]).float() * weight[:, None]
        return above.mean((2, 3, 4)) / (weight.mean((1, 2, 3)) + 1e-6)[:, None]

    def typical(self, share: Tensor, members: int) -> Tensor:
        """Return the quantiles (B, M, 1, 1), ascending, of the distribution whose knots are exceeded by `share` (B, J).

        It is what M members say who know nothing of the place. Dry passes to rain over the step between two of them.
        """
        above = 1 - (torch.arange(members, device=share.device) + 0.5) / members
        over = share[:, :, None] - above
        passed = (over[:, :-1] / (share.diff(dim=1).neg()[..., None] + 1e-7)).clamp(0, 1)
        rain = (passed * self.knots.diff()[:, None]).sum(1) - DRY * (over[:, 0] * members).clamp(0, 1)
        return (DRY + rain)[..., None, None]

    def positions(self, members: Tensor, seen: Tensor, share: Tensor) -> Tensor:
        """Return the level (B, J) that the members (B, M, H, W) exceed as often as `share` (B, J) says.

        A member passes a step over the width of one. Counted at once, few samples rounded across a step by FP16 moved
        the upper knots of a small region.
        """
        level, weight = members[..., ::SPARSE, ::SPARSE].float(), seen[..., ::SPARSE, ::SPARSE].float()
        with torch.no_grad():
            total = weight.mean((1, 2, 3)) + 1e-6
            lowest = level.amin((1, 2, 3))[:, None]
            step = ((level.amax((1, 2, 3))[:, None] - lowest) / (STEPS - 1)).clamp(min=LEAST_STEP)
            place = (level - lowest[..., None, None]) / step[..., None, None]
            above = (place[:, None] - self.steps[:, None, None, None] + 0.5).clamp(0, 1) * weight[:, None]
            counts = above.mean((2, 3, 4)) / total[:, None]
            upper, lower = counts[:, :-1, None], counts[:, 1:, None]
            passed = ((upper - share[:, None]) / (upper - lower + 1e-7)).clamp(0, 1)
            rare = (self.knots + ABOVE) * (share < RAREST).float()
            found = lowest + step * passed.sum(1) + rare
        return self._attached(found, level, weight) if self.training else found

    @staticmethod
    def _attached(found: Tensor, level: Tensor, weight: Tensor) -> Tensor:
        """Return the same values, moving with the members near them, so that gradients see what matching undoes."""
        moved = []
        gaps = (found.diff(dim=1) / torch.tensor(KNOTS, device=found.device).diff()).clamp(0.02, 1)
        widths = 0.1 * torch.cat((gaps, gaps[:, -1:]), 1)[..., None, None, None]
        for index in range(found.shape[1]):
            near = torch.exp(-(((level - found[:, index, None, None, None]) / widths[:, index]) ** 2)).detach() * weight
            shift = (near * (level - level.detach())).sum((1, 2, 3)) / (near.sum((1, 2, 3)) + 1.0)
            moved.append(found[:, index] + shift)
        return torch.stack(moved, 1)

    def apply(self, level: Tensor, at: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, M, H, W) piecewise linearly so that `at` (B, J) becomes the knots.

        Below the first knot the slope is that of light rain: what is dry stays as far from rain as it was told.
        """
        spots = _apart(at)
        before = ((KNOTS[LIGHT] - KNOTS[0]) / (spots[LIGHT] - spots[0])).clamp(min=1)
        out = before.to(level.dtype) * (level - spots[0].to(level.dtype)) + KNOTS[0]
        for index in range(len(KNOTS) - 1):
            slope = (KNOTS[index + 1] - KNOTS[index]) / (spots[index + 1] - spots[index])
            out = out + (slope - before).to(level.dtype) * F.relu(level - spots[index].to(level.dtype))
            before = slope
        return out.clamp(min=DRIEST)


def _apart(at: Tensor) -> list[Tensor]:
    """Return the positions (B, 1, 1, 1) of the knots, lowered where two lie too near: no drizzle, say."""
    spots = [at[:, -1:, None, None]]
    for index in range(len(KNOTS) - 2, -1, -1):
        least = (KNOTS[index + 1] - KNOTS[index]) / STEEPEST
        spots.append(torch.minimum(at[:, index : index + 1, None, None], spots[-1] - least))
    return spots[::-1]
