"""Probability matching by counting: an ensemble gets the distribution that the newest frame has, event by event.

Foresti et al. (2016) and pysteps sort the members; counting at fixed levels and a piecewise linear map compile.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KNOTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
"""Latent levels whose exceedance is matched: 0.1 to 32 mm/h."""
LEVELS = 64
LOWEST, TOP = -1.3, 5.0
EVERY, SPARSE = 4, 8
"""Pixels between two that are counted, of the newest frame and of every member."""
STEEPEST = 4.0
"""No slope of the map is more."""
RAREST = 1e-5
"""A knot that a smaller share exceeds lies above all members, with the slope of 1 from there on."""


class Matching(nn.Module):
    """Where the members reach each knot as often as the newest frame does."""

    levels: Tensor
    knots: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("levels", torch.linspace(LOWEST, TOP, LEVELS), persistent=False)
        self.register_buffer("knots", torch.tensor(KNOTS), persistent=False)

    def exceeded(self, newest: Tensor, seen: Tensor) -> Tensor:
        """Return the share (B, J) of seen pixels of (B, 1, H, W) at or above each knot."""
        level, weight = newest[..., ::EVERY, ::EVERY], seen[..., ::EVERY, ::EVERY]
        above = (level[:, None] >= self.knots[None, :, None, None, None]).float() * weight[:, None]
        return above.mean((2, 3, 4)) / (weight.mean((1, 2, 3)) + 1e-6)[:, None]

    def positions(self, members: Tensor, seen: Tensor, share: Tensor) -> Tensor:
        """Return the level (B, J) that the members (B, M, H, W) exceed as often as `share` (B, J) says."""
        level, weight = members[..., ::SPARSE, ::SPARSE], seen[..., ::SPARSE, ::SPARSE]
        with torch.no_grad():
            total = weight.mean((1, 2, 3)) + 1e-6
            above = (level[:, None] > self.levels[None, :, None, None, None]).float() * weight[:, None]
            counts = above.mean((2, 3, 4)) / total[:, None]
            upper, lower = counts[:, :-1, None], counts[:, 1:, None]
            passed = ((upper - share[:, None]) / (upper - lower + 1e-7)).clamp(0, 1)
            found = LOWEST + (TOP - LOWEST) / (LEVELS - 1) * passed.sum(1) + self.knots * (share < RAREST).float()
        return self._attached(found, level, weight) if self.training else found

    @staticmethod
    def _attached(found: Tensor, level: Tensor, weight: Tensor) -> Tensor:
        """Return the same values, moving with the members near them, so that gradients see what matching undoes."""
        moved = []
        for index in range(found.shape[1]):
            near = torch.exp(-(((level - found[:, index, None, None, None]) / 0.1) ** 2)).detach() * weight
            shift = (near * (level - level.detach())).sum((1, 2, 3)) / (near.sum((1, 2, 3)) + 1.0)
            moved.append(found[:, index] + shift)
        return torch.stack(moved, 1)

    def apply(self, level: Tensor, at: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, M, H, W) piecewise linearly so that `at` (B, J) becomes the knots."""
        spots = [spot.to(level.dtype) for spot in _apart(at)]
        out = level - spots[0] + KNOTS[0]
        before: Tensor | float = 1.0
        for index in range(len(KNOTS) - 1):
            slope = (KNOTS[index + 1] - KNOTS[index]) / (spots[index + 1] - spots[index])
            out = out + (slope - before) * F.relu(level - spots[index])
            before = slope
        return out


def _apart(at: Tensor) -> list[Tensor]:
    """Return the positions (B, 1, 1, 1) of the knots, lowered where two lie too near: no drizzle, say."""
    spots = [at[:, -1:, None, None]]
    for index in range(len(KNOTS) - 2, -1, -1):
        least = (KNOTS[index + 1] - KNOTS[index]) / STEEPEST
        spots.append(torch.minimum(at[:, index : index + 1, None, None], spots[-1] - least))
    return spots[::-1]
