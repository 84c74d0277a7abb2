"""A regular grid in a projected or geographic CRS: row 0 is the northernmost row, x grows to the east.

`Grid` is what a frame lies on, what a region is, and what turns a point on earth into a cell.
"""

import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from nowcast.errors import OutsideGrid

WGS84 = "EPSG:4326"
TENS, BETWEEN = 637_100, 0.37
"""Tens of metres in the earth's radius; what keeps whole degrees and the equator from the edge between two of them."""


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """Return the cached transformer between two CRS, x (longitude) first."""
    return Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True)
class Grid:
    """A grid of `height` × `width` cells.

    Attributes
    ----------
    crs
        Anything pyproj understands (WKT, PROJ string, EPSG code).
    x0, y0
        Centre of the north-western cell, in units of the CRS.
    dx, dy
        Cell size, both > 0; x grows with the column, y falls with the row.
    """

    crs: str
    x0: float
    y0: float
    dx: float
    dy: float
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.dx <= 0 or self.dy <= 0:
            raise ValueError(f"cell size must be > 0, got dx={self.dx}, dy={self.dy}")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"grid must have cells, got {self.height} × {self.width}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @cached_property
    def pyproj_crs(self) -> CRS:
        """The CRS as pyproj has it."""
        return CRS.from_user_input(self.crs)

    @cached_property
    def x(self) -> NDArray[np.float64]:
        """Cell centres along x, (width,)."""
        return np.asarray(self.x0 + self.dx * np.arange(self.width), np.float64)

    @cached_property
    def y(self) -> NDArray[np.float64]:
        """Cell centres along y, north first, (height,)."""
        return np.asarray(self.y0 - self.dy * np.arange(self.height), np.float64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over affine, shape, ellipsoid and where nine of the cells lie on it: equal digests mean equal grids.

        It does not hang on how the CRS is put in words: a code, WKT, or what the next release of PROJ makes of either.
        """
        own = self.pyproj_crs.geodetic_crs
        if own is None or own.ellipsoid is None:  # a local CRS: nothing but its words
            return self.digest_of_words
        rows, columns = ([0, n // 2, n - 1] for n in self.shape)
        places = transformer(self.crs, own.to_wkt()).transform(*np.meshgrid(self.x[columns], self.y[rows]))
        lon, lat = np.radians(np.nan_to_num(places, posinf=0.0))  # inf is off the earth, as corners of a disk are
        ways = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        tens = np.floor(ways * TENS + BETWEEN).astype(np.int64).ravel().tolist()
        operation = self.pyproj_crs.coordinate_operation
        shift = operation.towgs84 if operation else []
        zero = own.prime_meridian.longitude if own.prime_meridian else 0.0
        body = f"{own.ellipsoid.semi_major_metre:.1f},{own.ellipsoid.inverse_flattening:.5f},{zero:.5f},{shift}"
        return hashlib.sha256(f"{body}|{tens}|{self._affine}".encode()).hexdigest()

    @cached_property
    def digest_of_words(self) -> str:
        """What `digest` was until 2026-12: over PROJ's WKT, affine and shape. What was kept by it is taken over."""
        return hashlib.sha256(f"{self.pyproj_crs.to_wkt()}|{self._affine}".encode()).hexdigest()

    @property
    def _affine(self) -> str:
        numbers = ",".join(f"{v:.6f}" for v in (self.x0, self.y0, self.dx, self.dy))
        return f"{numbers}|{self.height}x{self.width}"

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) in WGS 84 degrees, of the cells' outer edges."""
        left, right = self.x0 - self.dx / 2, self.x0 + self.dx * (self.width - 0.5)
        top, bottom = self.y0 + self.dy / 2, self.y0 - self.dy * (self.height - 0.5)
        return transformer(self.crs, WGS84).transform_bounds(left, bottom, right, top, densify_pts=21)

    @cached_property
    def pixel_km(self) -> float:
        """Size of a cell on the earth at the grid's centre, km: the root of its area.

        Raises
        ------
        OutsideGrid
            Where the centre is not on the earth: a corner of a geostationary disk.
        """
        x, y = self.x0 + self.dx * self.width / 2, self.y0 - self.dy * self.height / 2
        lon, lat = transformer(self.crs, WGS84).transform([x, x + self.dx, x], [y, y, y - self.dy])
        if not np.isfinite([*lon, *lat]).all():
            raise OutsideGrid(f"the grid's centre x={x:g}, y={y:g} is not on the earth; move the region onto it")
        _, _, sides = Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
        return float(np.sqrt(np.prod(sides)) / 1000)

    def positions(self, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
        """Return fractional (row, column) of coordinates in this grid's CRS; cell centres are whole numbers."""
        return (self.y0 - ys) / self.dy, (xs - self.x0) / self.dx

    def cell(self, lat: float, lon: float) -> tuple[int, int]:
        """Return (row, column) of the cell in which a WGS 84 point lies.

        Raises
        ------
        OutsideGrid
            With the point and the grid's bounds.
        """
        x, y = transformer(WGS84, self.crs).transform(lon, lat)
        if np.isfinite(x) and np.isfinite(y):
            row, column = round((self.y0 - y) / self.dy), round((x - self.x0) / self.dx)
            if 0 <= row < self.height and 0 <= column < self.width:
                return row, column
        west, south, east, north = self.bounds
        raise OutsideGrid(
            f"point lat={lat}, lon={lon} lies outside the grid"
            f" (lat {south:.2f} to {north:.2f}, lon {west:.2f} to {east:.2f}); choose a point inside"
        )

    def lonlat(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return longitude and latitude (degrees) of every cell centre, each (height, width)."""
        xs, ys = np.meshgrid(self.x, self.y)
        return transformer(self.crs, WGS84).transform(xs, ys)

    def coordinates(self) -> dict[str, xr.Variable]:
        """Return CF coordinates `y`, `x` and the grid mapping variable `crs` (with `crs_wkt`)."""
        if self.pyproj_crs.is_geographic:
            y, x = ("latitude", "degrees_north"), ("longitude", "degrees_east")
        else:
            unit = _projected_unit(self.pyproj_crs)
            y, x = ("projection_y_coordinate", unit), ("projection_x_coordinate", unit)
        return {
            "y": xr.Variable("y", self.y, {"standard_name": y[0], "units": y[1], "axis": "Y"}),
            "x": xr.Variable("x", self.x, {"standard_name": x[0], "units": x[1], "axis": "X"}),
            "crs": xr.Variable((), np.int32(0), _cf_mapping(self.pyproj_crs)),
        }

    def widened(self, cells: int) -> "Grid":
        """Return this grid with `cells` more on each side."""
        return replace(
            self,
            x0=self.x0 - cells * self.dx,
            y0=self.y0 + cells * self.dy,
            height=self.height + 2 * cells,
            width=self.width + 2 * cells,
        )

    @classmethod
    def of(cls, crs: str, x: NDArray[np.floating], y: NDArray[np.floating]) -> "Grid":
        """Return the grid of 1-D cell centres `x` (ascending) and `y` (descending), both evenly spaced.

        Raises
        ------
        ValueError
            When the spacing is not even or the direction is wrong.
        """
        for name, values, sign in (("x", x, 1), ("y", y, -1)):
            steps = np.diff(values.astype(np.float64)) * sign
            if len(steps) < 1 or steps.min() <= 0 or np.ptp(steps) > 0.02 * abs(steps.mean()):
                raise ValueError(f"{name} must be evenly spaced and {'ascending' if sign > 0 else 'descending'}")
        dx = float(x[-1] - x[0]) / (len(x) - 1)
        dy = float(y[0] - y[-1]) / (len(y) - 1)
        return cls(crs, float(x[0]), float(y[0]), dx, dy, len(y), len(x))


def _projected_unit(crs: CRS) -> str:
    name = crs.axis_info[0].unit_name if crs.axis_info else "metre"
    return {"metre": "m", "kilometre": "km"}.get(name, name)


def _cf_mapping(crs: CRS) -> dict[str, object]:
    """Return CF grid mapping attributes; what CF has no words for is in `crs_wkt`, which is complete."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        told: dict[str, object] = crs.to_cf()
    if told.get("grid_mapping_name") == "polar_stereographic":  # CF requires which pole, pyproj leaves it out
        parallel = told.get("standard_parallel", 90.0)
        told.setdefault("latitude_of_projection_origin", 90.0 if float(str(parallel)) >= 0 else -90.0)
    return told
