"""Advection alone: the newest frame moved along midpoint semi-Lagrangian trajectories of the given motion.

Trajectories are integrated at a quarter of the resolution, where motion lives, and only the displacement is brought to
full resolution; Germann and Zawadzki (2002), Mon. Wea. Rev. 130, 2859–2873, for the scheme. Displacements and sampling
positions are FP32 always: in FP16 they alone cost the parity gate.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nowcast.models.spec import LEADS, ModelSpec


def base_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return cell centres in `grid_sample`'s units (-1 … 1, align_corners=False), (1, 2, H, W), FP32."""
    x = (2 * torch.arange(width, device=like.device, dtype=torch.float32) + 1) / width - 1
    y = (2 * torch.arange(height, device=like.device, dtype=torch.float32) + 1) / height - 1
    return torch.stack((x[None, :].expand(height, width), y[:, None].expand(height, width)))[None]


def sample(field: Tensor, positions: Tensor, padding: str) -> Tensor:
    """Sample (B, C, h, w) bilinearly at (B, 2, H, W), in FP32 whatever the field's type.

    Positions keep their axes first and are turned here alone: a turned field that is then resized is what OpenVINO
    2026.4.1 computed wrongly.
    """
    grid = positions.permute(0, 2, 3, 1)
    sampled = F.grid_sample(field.float(), grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.to(field.dtype)


class Trajectories(nn.Module):
    """Where the air of each pixel was: backward displacements for every lead.

    `(B, 2, h, w)` motion in full-resolution pixels per step → a list of `leads` displacements `(B, 2, h, w)` in
    `grid_sample`'s units, from the pixel to where its air was at the base time.
    """

    def __init__(self, leads: int = LEADS) -> None:
        super().__init__()
        self.leads = leads

    def forward(self, motion: Tensor) -> list[Tensor]:
        """Return one displacement per lead."""
        height, width = motion.shape[-2:]
        unit = 2.0 / 4  # a full-resolution pixel is a quarter of a cell here; the field spans 2 units
        velocity = torch.cat((motion[:, :1] * (unit / width), motion[:, 1:] * (unit / height)), 1).float()
        base = base_grid(height, width, motion)

        def at(offset: Tensor) -> Tensor:
            return sample(velocity, base + offset, "border")

        displacement = torch.zeros_like(velocity)
        found = []
        for _ in range(self.leads):
            midpoint = displacement - 0.5 * at(displacement)
            displacement = displacement - at(midpoint)
            found.append(displacement)
        return found


def advect(field: Tensor, displacement: Tensor) -> Tensor:
    """Return `field` (B, C, H, W) sampled at the pixels' positions plus the displacement (B, 2, h, w); 0 outside."""
    height, width = field.shape[-2:]
    full = F.interpolate(displacement, size=(height, width), mode="bilinear", align_corners=False)
    return sample(field, base_grid(height, width, field) + full, "zeros")


class Advection(nn.Module):
    """Extrapolation: `(stack, mask, motion)` → (`rain_mean`, `coverage`), shapes as in `nowcast.models.spec`."""

    spec = ModelSpec("advection", ("rain_mean",))

    def __init__(self) -> None:
        super().__init__()
        self.trajectories = Trajectories(self.spec.leads)

    def forward(self, stack: Tensor, mask: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rate in model space and the coverage, each (B, K, H, W)."""
        newest = torch.cat((stack[:, -1:] * mask[:, -1:], mask[:, -1:]), 1)
        leads = [advect(newest, displacement) for displacement in self.trajectories(motion)]
        moved = torch.stack(leads, 1)
        coverage = moved[:, :, 1]
        return moved[:, :, 0] / coverage.clamp(min=1e-3), coverage
