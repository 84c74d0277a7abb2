"""From an EDR query to values: which products, leads and cells, costed before any is read."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from api.edr import geometry
from api.edr.families import Family
from nowcast.chunks import PERCENT, RATE, to_values
from nowcast.clock import STEP, utc
from nowcast.errors import BadRequest, NotKept, OutsideGrid, TooMuch
from nowcast.grid import WGS84, Grid, transformer
from nowcast.run import Run
from nowcast.store.pixels import RunPixels, Window, accumulate

MOST_VALUES = 1_000_000
MOST_LARGE = 12_000_000
"""Most values of an answer in text, and as NetCDF."""

Values = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Source:
    """A run on its grid, and which of its products and leads are asked for."""

    run: Run
    grid: Grid
    products: tuple[str, ...]
    leads: tuple[int, ...]

    def times(self) -> list[datetime]:
        """Return the valid times of the leads: the ends of their periods."""
        return [self.run.base_time + (lead + 1) * STEP for lead in self.leads]

    def require(self, cells: int, most: int) -> None:
        """Raise `TooMuch` when so many cells make too large an answer."""
        count = cells * len(self.leads) * len(self.products)
        if count > most:
            raise TooMuch(f"{count} values asked for, at most {most} in one answer; ask for less, or for f=NetCDF")


@dataclass(frozen=True)
class Points:
    """Values at positions over time; values (P, K) per product."""

    source: Source
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    values: Values


@dataclass(frozen=True)
class Path:
    """Values along a way, position i at time i; values (P,) per product."""

    source: Source
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    times: list[datetime]
    values: Values


@dataclass(frozen=True)
class Area:
    """Values on a regular grid of longitude and latitude (north first); values (K, H, W) per product."""

    source: Source
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    values: Values


def products_of(family: Family, run: Run, names: str | None) -> tuple[str, ...]:
    """Return the products asked for by `parameter-name`, all of the family without it."""
    there = family.products(run)
    if not there:
        raise NotKept(f"run of {run.region} has no products of the family {family.name}; it has one member")
    if not names:
        return there
    asked = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise BadRequest(f"no parameter {', '.join(unknown)[:80]!r}; there are: {', '.join(there)}")
    return asked


def leads_of(run: Run, text: str | None) -> tuple[int, ...]:
    """Return the leads whose periods `datetime` meets: an instant, or an interval with `..` for open."""
    if not text or text == "../..":
        return tuple(range(run.leads))
    start, slash, end = text.partition("/")
    first, last = _instant(start), _instant(end) if slash else _instant(start)
    if first and last and last < first:
        raise BadRequest(f"datetime {text[:80]!r} ends before it starts; give start/end")
    periods = [(run.base_time + k * STEP, run.base_time + (k + 1) * STEP) for k in range(run.leads)]
    return tuple(k for k, (a, b) in enumerate(periods) if (first is None or b >= first) and (last is None or a < last))


def _instant(text: str) -> datetime | None:
    text = text.strip()
    if text in ("..", ""):
        return None
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise BadRequest(f"datetime must be ISO 8601, as 2026-03-01T12:00:00Z, got {text[:40]!r}") from error


def at_points(pixels: RunPixels, source: Source, lonlat: NDArray[np.float64]) -> Points:
    """Return values at positions; those outside the grid are left out, all outside raises `OutsideGrid`."""
    source.require(len(lonlat), MOST_VALUES)
    rows, columns, known = cells(source.grid, lonlat[:, 0], lonlat[:, 1])
    if not known.any():
        raise _outside(source.grid)
    there = list(zip(rows[known].tolist(), columns[known].tolist(), strict=True))
    # One product after another: the chunks of all of them may be more than the cache holds.
    values = {p: np.stack([_series(pixels, source, p, *cell) for cell in there]) for p in source.products}
    return Points(source, lonlat[known, 0], lonlat[known, 1], values)


def _series(pixels: RunPixels, source: Source, product: str, row: int, column: int) -> NDArray[np.float32]:
    codes = pixels.column(source.run, "rain_mean" if product == "accumulated" else product, row, column)
    codes = accumulate(codes) if product == "accumulated" else codes
    return to_values(codes[list(source.leads)], PERCENT if product.startswith("prob_") else RATE)


def on_area(pixels: RunPixels, source: Source, box: geometry.Box, most: int) -> Area:
    """Return values on the longitudes and latitudes of a box, as fine as the region's cells, nearest cell.

    Raises
    ------
    OutsideGrid
        When the box does not meet the grid.
    """
    west, south, east, north = (f(a, b) for f, a, b in zip((max, max, min, min), box, source.grid.bounds, strict=True))
    if west >= east or south >= north:
        raise _outside(source.grid)
    step_x, step_y = _cell_degrees(source.grid, (south + north) / 2)
    spans = (east - west) / step_x, (north - south) / step_y
    width, height = (max(math.ceil(round(span, 6)), 1) for span in spans)
    source.require(width * height, most)
    lon = west + (np.arange(width) + 0.5) * (east - west) / width
    lat = north - (np.arange(height) + 0.5) * (north - south) / height
    rows, columns, known = cells(source.grid, *np.meshgrid(lon, lat))
    if not known.any():
        raise _outside(source.grid)
    r, c = rows[known], columns[known]
    window = int(r.min()), int(r.max()) + 1, int(c.min()), int(c.max()) + 1
    values = {}
    for product in source.products:
        cube = _cube(pixels, source, product, window)
        field = np.full((len(source.leads), height, width), np.nan, np.float32)
        field[:, known] = cube[:, r - window[0], c - window[2]]
        values[product] = field
    return Area(source, lon, lat, values)


def _cube(pixels: RunPixels, source: Source, product: str, window: Window) -> NDArray[np.float32]:
    if product == "accumulated":
        cube = np.stack([pixels.accumulated(source.run, lead, window) for lead in source.leads])
    else:
        cube = np.stack([pixels.plane(source.run, product, lead, window) for lead in source.leads])
    return to_values(cube, PERCENT if product.startswith("prob_") else RATE)


def _cell_degrees(grid: Grid, lat: float) -> tuple[float, float]:
    """Return the size of a cell in degrees, (longitude, latitude).

    It is as wide on the ground as high, or narrower where the region's own are: those of a grid in degrees.
    """
    west, south, east, north = grid.bounds
    step = (north - south) / grid.height if grid.height > 1 else 0.01
    return min(step / math.cos(math.radians(lat)), (east - west) / grid.width), step


def along_path(pixels: RunPixels, source: Source, line: NDArray[np.float64], times: list[datetime]) -> Path:
    """Return values along a way: each position at its own time. What lies outside grid or leads is left out."""
    rows, columns, known = cells(source.grid, line[:, 0], line[:, 1])
    leads = np.array([_lead_at(source.run, time) for time in times])
    known &= (leads >= 0) & (leads < source.run.leads)
    if not known.any():
        raise OutsideGrid("no position of the way lies in the region at a time of the forecast; check both")
    kept = np.flatnonzero(known)
    whole = Source(source.run, source.grid, source.products, tuple(range(source.run.leads)))
    values = {
        p: np.array([_series(pixels, whole, p, int(rows[i]), int(columns[i]))[leads[i]] for i in kept], np.float32)
        for p in source.products
    }
    return Path(source, line[kept, 0], line[kept, 1], [times[i] for i in kept], values)


def _lead_at(run: Run, time: datetime) -> int:
    # The period that ends at or after the time; the base time itself belongs to the first.
    return 0 if time == run.base_time else -((run.base_time - time) // STEP) - 1


def way_times(shape: geometry.Shape, text: str | None, run: Run) -> list[datetime]:
    """Return when each position of a way is passed.

    LINESTRINGM says it (seconds since 1970); else `datetime` does: an interval is travelled at an even pace, an
    instant holds for all. Without either the way starts at the base time's first lead and takes all of them.
    """
    line = shape.parts[0]
    if "M" in shape.extra:
        try:
            return [datetime.fromtimestamp(float(m), UTC) for m in line[:, -1]]
        except (OverflowError, ValueError, OSError) as error:
            raise BadRequest("M of a LINESTRINGM must be seconds since 1970") from error
    start, slash, end = (text or "").partition("/")
    first = _instant(start) or run.base_time + timedelta(microseconds=1)
    last = (_instant(end) or run.base_time + run.leads * STEP) if slash or not text else first
    return [first + (last - first) * float(share) for share in geometry.along(line[:, :2])]


def cells(
    grid: Grid, lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return row and column of the cell of each position, and whether there is one."""
    xs, ys = transformer(WGS84, grid.crs).transform(lon, lat)
    rows, columns = grid.positions(np.asarray(xs), np.asarray(ys))
    finite = np.isfinite(rows) & np.isfinite(columns)
    row = np.rint(np.where(finite, rows, -1)).astype(np.int64)
    column = np.rint(np.where(finite, columns, -1)).astype(np.int64)
    return row, column, (row >= 0) & (row < grid.height) & (column >= 0) & (column < grid.width)


def _outside(grid: Grid) -> OutsideGrid:
    west, south, east, north = grid.bounds
    return OutsideGrid(f"coords lie outside the region (lon {west:.2f} … {east:.2f}, lat {south:.2f} … {north:.2f})")
