"""Web-Mercator boxes, and which cell of a grid lies under each pixel: computed once per (grid, box) and kept.

Grid positions are exact on a lattice of every eighth pixel and linear in between: off by some 30 m at zoom 5 and by
far less than a pixel at every zoom, for a tenth of the time.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nowcast.grid import WGS84, Grid, transformer
from nowcast.store.cache import ByteCache
from nowcast.store.pixels import Window

RADIUS = 6378137.0
HALF = math.pi * RADIUS
"""Web-Mercator's world reaches from -HALF to HALF."""

LATTICE = 8
LARGEST = 2048
OUTSIDE = -1.0e9


@dataclass(frozen=True)
class Box:
    """A box in Web-Mercator metres and its size in pixels."""

    west: float
    south: float
    east: float
    north: float
    width: int
    height: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) in degrees."""
        return (*to_lonlat(self.west, self.south), *to_lonlat(self.east, self.north))


def to_lonlat(x: float, y: float) -> tuple[float, float]:
    """Return degrees of Web-Mercator metres."""
    return math.degrees(x / RADIUS), math.degrees(math.atan(math.sinh(y / RADIUS)))


def from_lonlat(lon: float, lat: float) -> tuple[float, float]:
    """Return Web-Mercator metres of degrees."""
    return math.radians(lon) * RADIUS, math.asinh(math.tan(math.radians(lat))) * RADIUS


def tile_box(z: int, x: int, y: int, size: int) -> Box:
    """Return the box of an XYZ tile (y grows to the south)."""
    side = 2 * HALF / 2**z
    west, north = -HALF + x * side, HALF - y * side
    return Box(west, north - side, west + side, north, size, size)


@lru_cache(maxsize=64)
def region_box(grid: Grid) -> Box:
    """Return the box around a grid, with pixels about as large as its cells."""
    west, south, east, north = grid.bounds
    left, bottom = from_lonlat(west, south)
    right, top = from_lonlat(east, north)
    scale = min(max(right - left, top - bottom) / max(grid.shape) / 1.1, (top - bottom) / 64)
    scale = max(scale, max(right - left, top - bottom) / LARGEST)
    width, height = math.ceil((right - left) / scale), math.ceil((top - bottom) / scale)
    return Box(left, top - height * scale, left + width * scale, top, width, height)


@dataclass(frozen=True)
class Picked:
    """Which cells of a grid a box shows.

    Attributes
    ----------
    window
        The part of the grid that holds them.
    flat
        (height, width): index into the window's cells in C order; its number of cells where outside the grid.
    """

    window: Window
    flat: NDArray[np.int32]

    @property
    def cells(self) -> int:
        """How many cells the window has: what `flat` says outside the grid."""
        top, bottom, left, right = self.window
        return (bottom - top) * (right - left)

    def take(self, plane: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Return the pixels of the box from the window's `plane`, (h, w), and a value for outside the grid."""
        return np.append(plane.ravel(), np.uint8(outside)).take(self.flat)


class Pickings:
    """Picked cells by grid and box, bounded in bytes."""

    def __init__(self, limit: int = 96 * 2**20) -> None:
        self._kept: ByteCache[tuple[Grid, Box], Picked | str] = ByteCache(limit)

    def of(self, grid: Grid, box: Box) -> Picked | None:
        """Return the picked cells; None when the box shows none."""
        kept = self._kept.get((grid, box))
        if kept is None:
            kept = pick(grid, box) or "none"
            self._kept.put((grid, box), kept, 500 if isinstance(kept, str) else kept.flat.nbytes)
        return None if isinstance(kept, str) else kept


def pick(grid: Grid, box: Box) -> Picked | None:
    """Return the cells of `grid` under the pixel centres of `box`; None when there are none."""
    rows, columns = (np.rint(v).astype(np.int32) for v in positions(grid, box))
    inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
    if not inside.any():
        return None
    r, c = rows[inside], columns[inside]
    top, bottom, left, right = int(r.min()), int(r.max()) + 1, int(c.min()), int(c.max()) + 1
    flat = np.where(inside, (rows - top) * (right - left) + (columns - left), (bottom - top) * (right - left))
    return Picked((top, bottom, left, right), flat.astype(np.int32))


def positions(grid: Grid, box: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (row, column) of every pixel centre, each (height, width); far outside where the CRS does not reach."""
    down, across = _lattice(box.height), _lattice(box.width)
    x = box.west + (across + 0.5) * (box.east - box.west) / box.width
    y = box.north - (down + 0.5) * (box.north - box.south) / box.height
    lon, lat = np.meshgrid(np.degrees(x / RADIUS), np.degrees(np.arctan(np.sinh(y / RADIUS))))
    xs, ys = transformer(WGS84, grid.crs).transform(lon, lat)
    found = grid.positions(np.asarray(xs), np.asarray(ys))
    tall, wide = _weights(down, box.height), _weights(across, box.width)
    known = [np.where(np.isfinite(v) & (np.abs(v) < -OUTSIDE), v, OUTSIDE) for v in found]
    rows, columns = (np.clip(tall @ v @ wide.T, OUTSIDE, -OUTSIDE) for v in known)
    return rows, columns


def _lattice(size: int) -> NDArray[np.float64]:
    return np.linspace(0, size - 1, max(-(-size // LATTICE) + 1, 2))


@lru_cache(maxsize=32)
def _weights_of(count: int, size: int) -> NDArray[np.float64]:
    at = np.arange(size) * (count - 1) / max(size - 1, 1)
    low = np.minimum(at.astype(int), count - 2)
    weights = np.zeros((size, count))
    weights[np.arange(size), low] = 1 - (at - low)
    weights[np.arange(size), low + 1] = at - low
    return weights


def _weights(lattice: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return _weights_of(len(lattice), size)
