"""A network of the cost that the standard model will have, for measuring engines until that is there: no forecast.

Same contract (`nowcast.models.spec`) and kinds of work: a pyramid of the newest frame, noise shaped by it, for each
lead a sum of bands carried along each member's trajectory, and statistics over the members. Parameters are random.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import inductor
from nowcast.models.advection import Trajectories, base_grid, sample
from nowcast.models.spec import PROBABILITY_PRODUCTS, RATE_PRODUCTS, ModelSpec, NoiseSpec

LEVELS = 5
MEMBERS = 24
LIMITS = (0.0, 0.26, 0.45, 0.53)


def double(field: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(field, size=(like.shape[-2], like.shape[-1]), mode="bilinear", align_corners=False)


class Prepare(nn.Module):
    """What no lead changes: bands, shaped noise, and parameters per place from a small network."""

    compiled_alone = True

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("kernel", (row[:, None] * row[None])[None, None])
        widths = (128, 64, 64, 64, 2 * LEVELS)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.context = nn.Sequential(*layers)

    def halve(self, field: Tensor) -> Tensor:
        single = field.reshape(-1, 1, *field.shape[-2:])
        return F.conv2d(single, self.kernel, stride=2, padding=2).reshape(
            *field.shape[:2], field.shape[-2] // 2, field.shape[-1] // 2
        )

    def bands(self, field: Tensor) -> list[Tensor]:
        fields = [field]
        for _ in range(LEVELS - 1):
            fields.append(self.halve(fields[-1]))
        return [f - double(c, f) for f, c in pairwise(fields)] + [fields[-1]]

    def forward(self, stack: Tensor, mask: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        newest = self.bands(stack[:, -1:] * mask[:, -1:])
        fresh = self.bands(noise[:, :, 0])
        shaped = [n * (newest[i + 1].abs() + 0.01) for i, n in enumerate(fresh[: LEVELS - 1])]
        parameters = torch.sigmoid(self.context(F.pixel_unshuffle(torch.cat((stack, mask), 1), 4)))
        drift = noise[:, :, 0, ::8, ::8].float().mean((2, 3))
        return (*newest, *shaped, parameters, drift)


class Step(nn.Module):
    """One lead: members, carried, and their statistics."""

    compiled_alone = True

    def forward(self, ready: list[Tensor], displacement: Tensor, mask: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        newest, shaped, parameters, drift = ready[:LEVELS], ready[LEVELS : 2 * LEVELS - 1], ready[-2], ready[-1]
        known, fresh = newest[-1], None
        for index in range(LEVELS - 2, -1, -1):
            memory = torch.exp(-age * (1 - double(parameters[:, index : index + 1], newest[index])))
            known = double(known, newest[index]) + newest[index] * memory
            if index < LEVELS - 2:
                eddy = shaped[index] * torch.sqrt(1 - double(memory, shaped[index]) ** 2 + 1e-3)
                fresh = eddy if fresh is None else double(fresh, eddy) + eddy
        whole = known + double(fresh, known)
        batch, members, height, width = whole.shape
        full = double(displacement.permute(0, 3, 1, 2), whole).permute(0, 2, 3, 1)
        grid = (base_grid(height, width, whole) + full)[:, None] + (drift * age * 0.02)[:, :, None, None, None]
        grid = grid.expand(batch, members, height, width, 2).reshape(-1, height, width, 2)
        moved = sample(whole.reshape(-1, 1, height, width), grid, "zeros").reshape(whole.shape).clamp(0, 1)
        ordered = torch.sort(moved, 1).values
        quantiles = [ordered[:, int(share * members)] for share in (0.1, 0.5, 0.9)]
        shares = [(moved > limit).to(moved.dtype).mean(1) for limit in LIMITS]
        seen = sample(mask[:, -1:], base_grid(height, width, whole) + full, "zeros")[:, 0]
        return torch.stack((moved.mean(1), *quantiles, *shares), 1), seen


class StandIn(nn.Module):
    """`(stack, mask, motion, noise)` → eight products and coverage."""

    spec = ModelSpec("standin", (*RATE_PRODUCTS, *PROBABILITY_PRODUCTS), noise=NoiseSpec(MEMBERS, 1, 2))

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.prepare, self.step, self.trajectories = Prepare(), Step(), Trajectories(self.spec.leads)
        self.register_buffer("ages", (torch.arange(self.spec.leads) + 1) / 6)

    def forward(self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        ready = list(self.prepare(stack, mask, noise))
        made = [
            self.step(ready, displacement, mask, self.ages[lead])
            for lead, displacement in enumerate(self.trajectories(motion))
        ]
        products = torch.stack([products for products, _ in made], 2)
        return (*products.unbind(1), torch.stack([seen for _, seen in made], 1))


def engine(*arguments, **named):
    """The stand-in on the `inductor` runtime, for an engine process."""
    inductor.build_model = lambda _: StandIn().eval()
    return inductor.InductorEngine(*arguments, **named)
