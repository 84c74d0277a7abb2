"""One engine call, or for a grid that would not fit the memory, one per tile: motion and noise are whole.

A tile reads `OVERLAP` cells around it, two hours' way of 100 km/h at 1 km: what flows in from its neighbour is known,
and extrapolation has no seams. An ensemble takes its distribution from what a tile reads, so its tiles differ a little
where they meet: give large domains regions of their own.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import product as pairs

import numpy as np
from numpy.typing import NDArray

from engines.ladder import Ladder, Served
from nowcast.grid import Grid
from nowcast.models.spec import MULTIPLE, Inputs, ModelSpec, padded, pixel_sizes
from nowcast.noise import Noise
from nowcast.region import Region
from nowcast.stack import RegionStack

WHOLE = 2048 * 2048
"""Cells up to which a deterministic model, or an ensemble lead by lead, gets a grid in one call: about 2 GB of work."""
CROWD = 10_000_000
"""The same for an ensemble, cells times members: `edge` then works in 9 GB (3.6 GB at 704², 2 GB at 512²)."""
SIDE, OVERLAP = 1024, 224


Array = NDArray[np.float32]


def serve(ladder: Ladder, region: Region, stack: RegionStack, flow: Array, noise: Noise, now: datetime) -> Served:
    """Return what the ladder makes of a region's stack, (1, K, H, W) per output."""
    height, width = stack.values.shape[1:]
    members = ladder.crowd(region.model)
    if _fits(height, width, members):
        whole = (slice(0, height), slice(0, width))
        make = partial(_inputs, stack=stack, flow=flow, noise=noise, grid=region.grid, part=whole)
        return ladder.serve(region.model, height, width, make, now)
    return _in_tiles(ladder, region, stack, flow, noise, now, _tiling(members))


def engine_shape(region: Region, members: int) -> tuple[int, int]:
    """Return (H, W) of the engine that forecasts a region: its grid and margin, padded, or what a tile reads."""
    height, width = padded(region.grid.widened(region.margin).shape)
    if _fits(height, width, members):
        return height, width
    side, overlap = _tiling(members)
    return min(side + 2 * overlap, height), min(side + 2 * overlap, width)


def _fits(height: int, width: int, members: int) -> bool:
    return height * width * members <= (WHOLE if members == 1 else CROWD)


def _tiling(members: int) -> tuple[int, int]:
    """Return the side of a tile and its overlap, cells."""
    if members == 1:
        return SIDE, OVERLAP
    reach = int((CROWD / members) ** 0.5) // MULTIPLE * MULTIPLE
    overlap = min(OVERLAP, reach // 4)
    return reach - 2 * overlap, overlap


def _in_tiles(
    ladder: Ladder,
    region: Region,
    stack: RegionStack,
    flow: Array,
    noise: Noise,
    now: datetime,
    tiling: tuple[int, int],
) -> Served:
    height, width = stack.values.shape[1:]
    made: Served | None = None
    outputs: dict[str, Array] = {}
    for wanted, read in _tiles(height, width, *tiling):
        tall, wide = (part.stop - part.start for part in read)
        make = partial(_inputs, stack=stack, flow=flow, noise=noise, grid=region.grid, part=read)
        part = ladder.serve(region.model, tall, wide, make, now)
        if made is not None and (part.rung, part.plan) != (made.rung, made.plan):
            # a rung fell: one forecast is made by one engine
            return _in_tiles(ladder, region, stack, flow, noise, now, tiling)
        made = made or part
        inner = tuple(slice(w.start - r.start, w.stop - r.start) for w, r in zip(wanted, read, strict=True))
        for name, values in part.outputs.items():
            field = outputs.setdefault(name, np.empty((1, values.shape[1], height, width), np.float32))
            field[..., wanted[0], wanted[1]] = values[..., inner[0], inner[1]]
    assert made is not None  # noqa: S101  a grid has at least one tile
    return Served(outputs, made.spec, made.rung, made.plan, made.passed_over)


def _tiles(
    height: int, width: int, side: int, overlap: int
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield (rows and columns of a tile, those it reads): all that read are of one shape, for one engine."""
    reach = side + 2 * overlap
    for top, left in pairs(range(0, height, side), range(0, width, side)):
        wanted = slice(top, min(top + side, height)), slice(left, min(left + side, width))
        starts = (max(0, min(at - overlap, size - reach)) for at, size in ((top, height), (left, width)))
        read = tuple(slice(s, s + min(reach, n)) for s, n in zip(starts, (height, width), strict=True))
        yield wanted, (read[0], read[1])


def _inputs(
    spec: ModelSpec, stack: RegionStack, flow: Array, noise: Noise, grid: Grid, part: tuple[slice, slice]
) -> Inputs:
    whole = noise(spec)
    rows, columns = part
    coarse_rows, coarse_columns = (slice(p.start // 4, p.stop // 4) for p in part)
    height, width = (p.stop - p.start for p in part)
    return Inputs(
        np.ascontiguousarray(stack.values[None, :, rows, columns]),
        np.ascontiguousarray(stack.mask[None, :, rows, columns]),
        np.ascontiguousarray(flow[None, :, coarse_rows, coarse_columns]),
        None if whole is None else _cut(whole, spec, part),
        pixel_sizes(grid.pixel_km, height, width) if spec.pixel else None,
    )


def _cut(noise: Array, spec: ModelSpec, part: tuple[slice, slice]) -> Array:
    divisor = spec.noise.divisor if spec.noise else 1
    rows, columns = (slice(p.start // divisor, p.stop // divisor) for p in part)
    return np.ascontiguousarray(noise[..., rows, columns])
