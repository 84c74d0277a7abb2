"""The last rung: the newest frame moved along the motion, in numpy alone. It needs no plan, no library and no GPU.

It does what `nowcast.models.advection` does (Germann and Zawadzki, 2002, Mon. Wea. Rev. 130, 2859–2873), and the tests
hold it against the same golden cases as every engine.
"""

import numpy as np
from numpy.typing import NDArray

from engines.plan import Plan
from nowcast.models.spec import Inputs, ModelSpec, Outputs

Array = NDArray[np.float32]


class ExtrapolationEngine:
    """See `engines.protocol.Engine`."""

    runtime = "extrapolation"

    def __init__(self, plan: Plan, height: int, width: int, batch: int = 1, threads: int = 1) -> None:
        self.spec = ModelSpec("advection", ("rain_mean",), plan.spec.frames, plan.spec.leads)
        self.versions = {"numpy": np.__version__}

    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        regions = [self._one(*arrays) for arrays in zip(inputs.stack, inputs.mask, inputs.motion, strict=True)]
        return {"rain_mean": np.stack([r[0] for r in regions]), "coverage": np.stack([r[1] for r in regions])}

    def _one(self, stack: Array, mask: Array, motion: Array) -> tuple[Array, Array]:
        newest = np.stack((stack[-1] * mask[-1], mask[-1]))
        moved = np.stack([_advect(newest, displacement) for displacement in _trajectories(motion, self.spec.leads)], 1)
        return moved[0] / np.maximum(moved[1], np.float32(1e-3)), moved[1]

    def close(self) -> None:
        """Nothing is held."""


def _trajectories(motion: Array, leads: int) -> list[Array]:
    """Return the backward displacement (2, h, w) in cells of the motion's grid for each lead."""
    velocity = motion / np.float32(4)
    base = np.indices(motion.shape[1:], np.float32)[::-1]
    displacement, found = np.zeros_like(velocity), []
    for _ in range(leads):
        midpoint = displacement - np.float32(0.5) * _sample(velocity, base + displacement, edge=True)
        displacement = displacement - _sample(velocity, base + midpoint, edge=True)
        found.append(displacement)
    return found


def _advect(fields: Array, displacement: Array) -> Array:
    """Return (C, H, W) sampled where the displacement points; 0 outside."""
    base = np.indices(fields.shape[1:], np.float32)[::-1]
    full = _sample(displacement, (base + np.float32(0.5)) / np.float32(4) - np.float32(0.5), edge=True)
    return _sample(fields, base + np.float32(4) * full, edge=False)


def _sample(fields: Array, at: Array, *, edge: bool) -> Array:
    """Return (C, h, w) bilinearly at (x, y) positions (2, H, W); outside, the edge's value or 0."""
    height, width = fields.shape[1:]
    x, y = at
    if edge:
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    column, row = np.floor(x), np.floor(y)
    right, below = x - column, y - row
    total = np.zeros((len(fields), *x.shape), np.float32)
    for down, weight_y in ((0, 1 - below), (1, below)):
        for across, weight_x in ((0, 1 - right), (1, right)):
            r, c = row + down, column + across
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            index = (np.clip(r, 0, height - 1) * width + np.clip(c, 0, width - 1)).astype(np.intp)
            total += fields.reshape(len(fields), -1)[:, index] * (weight_x * weight_y * inside)
    return total
