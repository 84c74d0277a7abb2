"""A field on another grid, in any CRS: nearest cell where the source is coarser, the area's mean where it is finer.

Which source cells make up a target cell, and with what weight, is computed once per pair of grids and kept: the exact
transform of a region takes tens of milliseconds, its reuse a few. Rain rates are never interpolated between coarse
cells: that would spread rain and lower its peaks. A mean is taken over what is seen, and only where at least half is.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.frame import grid_of
from nowcast.grid import Grid, transformer

FINER = 1.5
"""Source cells this much smaller than the target's (along a side) are averaged."""
MOST_SAMPLES = 12
LEAST_SEEN = 0.5
ROWS_AT_ONCE = 64


def regrid(frame: xr.Dataset, grid: Grid) -> NDArray[np.float32]:
    """Return the frame's rain rate on `grid`, (H, W) mm/h; NaN where the frame does not reach or does not see."""
    return regrid_field(frame["rain_rate"].values, grid_of(frame), grid)


def regrid_field(values: NDArray[np.floating], source: Grid, target: Grid) -> NDArray[np.float32]:
    """Return a field of `source` on `target`, (H, W) float32; NaN in, NaN out."""
    if source.digest == target.digest:
        return values.astype(np.float32, copy=False)
    return _plan(source, target)(values.astype(np.float32, copy=False))


@dataclass(frozen=True)
class _Nearest:
    """Flat source index per target cell, (H, W); -1 outside."""

    index: NDArray[np.int64]

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(self.index >= 0, values.ravel()[self.index], np.float32(np.nan))


@dataclass(frozen=True)
class _Mean:
    """Source cells of all target cells in turn: cell n has `index[starts[n]:starts[n + 1]]`, weights of sum ≤ 1."""

    index: NDArray[np.int64]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]
    shape: tuple[int, int]

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        taken = values.ravel()[self.index]
        seen = np.isfinite(taken)
        taken[~seen] = 0
        weights = self.weights * seen
        share = np.add.reduceat(weights, self.starts)
        total = np.add.reduceat(weights * taken, self.starts)
        enough = share >= LEAST_SEEN
        mean = np.divide(total, share, out=np.full(share.shape, np.nan, np.float32), where=enough)
        return mean.reshape(self.shape)


@lru_cache(maxsize=32)
def _plan(source: Grid, target: Grid) -> _Nearest | _Mean:
    ratio = _cells_per_cell(source, target)
    if ratio < FINER:
        return _Nearest(_flat(source, *_positions(source, target, target.y, target.x)))
    return _mean(source, target, min(MOST_SAMPLES, math.ceil(2 * ratio)))


def _cells_per_cell(source: Grid, target: Grid) -> float:
    """Return how many source cells go along the side of a target cell (the root of the area's ratio, median)."""
    rows, columns = (np.unique(np.linspace(0, n - 1, 9).astype(int)) for n in target.shape)
    y, x = target.y[rows], target.x[columns]

    def at(dy: float, dx: float) -> tuple[NDArray, NDArray]:
        return _positions(source, target, y + dy, x + dx)

    with np.errstate(invalid="ignore"):
        down = np.subtract(at(-target.dy / 2, 0), at(target.dy / 2, 0))
        across = np.subtract(at(0, target.dx / 2), at(0, -target.dx / 2))
        area = np.abs(down[0] * across[1] - down[1] * across[0])
    known = area[np.isfinite(area)]
    return float(np.sqrt(np.median(known))) if known.size else 0.0


def _positions(source: Grid, target: Grid, y: NDArray[np.floating], x: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """Return fractional (row, column) in `source` of the mesh of target coordinates; not finite where there is none."""
    xs, ys = transformer(target.crs, source.crs).transform(*np.meshgrid(x, y))
    with np.errstate(invalid="ignore"):
        return source.positions(_wrapped(xs, source), ys)


def _wrapped(xs: NDArray[np.float64], source: Grid) -> NDArray[np.float64]:
    """Return longitudes within a turn of a geographic grid's western edge; other coordinates as they are."""
    if not source.pyproj_crs.is_geographic:
        return xs
    west = source.x0 - source.dx / 2
    return west + (xs - west) % 360


def _flat(source: Grid, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the flat index of the source cells at fractional positions, any shape; -1 outside."""
    with np.errstate(invalid="ignore"):
        row, column = np.rint(rows), np.rint(columns)
        inside = (row >= 0) & (row < source.height) & (column >= 0) & (column < source.width)
    flat = np.full(row.shape, -1, np.int64)
    flat[inside] = (row[inside] * source.width + column[inside]).astype(np.int64)
    return flat


def _mean(source: Grid, target: Grid, samples: int) -> _Mean:
    """Return the plan of means from `samples` × `samples` points in each target cell, counted by source cell."""
    parts = [_block(source, target, rows, samples) for rows in _blocks(target.height)]
    sizes = np.concatenate([part[2] for part in parts])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    index, weights = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    return _Mean(index, weights, starts, target.shape)


def _blocks(height: int) -> list[range]:
    return [range(start, min(start + ROWS_AT_ONCE, height)) for start in range(0, height, ROWS_AT_ONCE)]


def _block(
    source: Grid, target: Grid, rows: range, samples: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return (index, weights, entries per cell) of some rows of the target; each cell has at least one entry."""
    flat = _flat(source, *_samples(source, target, rows, samples))
    by_cell = np.sort(flat.reshape(samples * samples, -1).T, axis=1)
    first = np.ones(by_cell.shape, bool)
    first[:, 1:] = by_cell[:, 1:] != by_cell[:, :-1]
    position = np.flatnonzero(first)
    counts = np.diff(np.append(position, by_cell.size))
    index = by_cell.ravel()[position]
    weights = np.where(index >= 0, counts / samples**2, 0).astype(np.float32)
    return np.maximum(index, 0), weights, first.sum(axis=1)


def _samples(source: Grid, target: Grid, rows: range, samples: int) -> tuple[NDArray, NDArray]:
    """Return source positions of the points, (samples², rows, W): exact at cell corners, bilinear between them."""
    y = target.y0 - target.dy * (np.arange(rows.start, rows.stop + 1) - 0.5)
    x = target.x0 + target.dx * (np.arange(target.width + 1) - 0.5)
    corners = np.stack(_positions(source, target, y, x))
    with np.errstate(invalid="ignore"):
        torn = np.abs(np.diff(corners[1], axis=1)) > source.width / 2  # the seam of a grid around the globe
    corners[:, :, 1:][:, torn] = np.nan
    share = (np.arange(samples) + 0.5) / samples
    found = np.empty((2, samples * samples, len(rows), target.width))
    with np.errstate(invalid="ignore"):
        for n, (v, u) in enumerate((v, u) for v in share for u in share):
            upper = (1 - u) * corners[:, :-1, :-1] + u * corners[:, :-1, 1:]
            lower = (1 - u) * corners[:, 1:, :-1] + u * corners[:, 1:, 1:]
            found[:, n] = (1 - v) * upper + v * lower
    return found[0], found[1]
