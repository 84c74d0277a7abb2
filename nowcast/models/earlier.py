"""The frames before the newest, moved onto it along the trajectories: what then differs is the rain's own evolution."""

import torch
from torch import Tensor

from nowcast.models.advection import advect
from nowcast.models.spec import FRAMES

EARLIER = tuple(2.0**-back / (1 - 2.0 ** (1 - FRAMES)) for back in range(1, FRAMES))
"""How much each earlier frame counts for what was before, the nearest first; their sum is 1."""


def align(level: Tensor, mask: Tensor, displacements: list[Tensor] | None = None) -> list[Tensor]:
    """Move (B, T, H, W) frames onto the newest, or let them lie: level and mask (B, 2, H, W) of each, newest first."""
    found = []
    for back in range(level.shape[1]):
        index = level.shape[1] - 1 - back
        seen = mask[:, index : index + 1]
        pair = torch.cat((level[:, index : index + 1] * seen, seen), 1)
        found.append(advect(pair, displacements[back - 1]) if back and displacements else pair)
    return found


def before(aligned: list[Tensor]) -> Tensor:
    """Return the mean of the earlier frames, the nearest most; the newest where they saw nothing."""
    pairs = list(zip(EARLIER, aligned[1:], strict=True))
    total = sum((w * a[:, 1:] for w, a in pairs), torch.zeros(())).clamp(max=1)
    value = sum((w * a[:, :1] for w, a in pairs), torch.zeros(()))
    return total * value / (total + 1e-4) + (1 - total) * aligned[0][:, :1]
