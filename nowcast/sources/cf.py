"""Generic CF NetCDF: one rain-rate field at one time, on a 1-D `y`/`x` or latitude/longitude grid.

The variable is found by standard name, its unit converted, its grid taken from `grid_mapping` (or WGS 84 where the
coordinates are latitude and longitude), its `_FillValue` and what lies outside its valid range become NaN. Rows are
turned so that the first is north; (x, y), the order of GPM IMERG, becomes (y, x) where the coordinates say which is
which.
The helpers here serve the other NetCDF sources too.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS

from nowcast.errors import UnreadableFile, WrongTime
from nowcast.frame import make_frame
from nowcast.grid import WGS84, Grid
from nowcast.sources.base import ENDS, noted
from nowcast.sources.guard import NETCDF, check_scale, check_shape, open_netcdf

TIMES = ("valid_time", "time")
STANDARD_NAMES = ("rainfall_rate", "lwe_precipitation_rate", "precipitation_flux", "rainfall_flux")
TO_MM_PER_HOUR = {
    "mm h-1": 1.0,
    "mm/h": 1.0,
    "mm/hr": 1.0,
    "mm hr-1": 1.0,
    "kg m-2 h-1": 1.0,
    "kg m-2 s-1": 3600.0,
    "mm s-1": 3600.0,
    "m s-1": 3.6e6,
}
AXES = {
    "x": re.compile(r"degrees?_?(east|E)|longitude|grid_longitude|projection_x_(angular_)?coordinate|X"),
    "y": re.compile(r"degrees?_?(north|N)|latitude|grid_latitude|projection_y_(angular_)?coordinate|Y"),
}
"""What `units`, `standard_name` or `axis` of a coordinate say of that axis (CF 1.11, chapters 4 and 5.6)."""
BOUNDS = {"valid_range": [0, 1], "valid_min": [0], "valid_max": [1]}
"""Attributes that bound valid values, and which bounds they state (CF 1.11, chapter 2.5.1)."""
TURNED = ("grid_", "projection_")
"""Begin the standard names of coordinates that are no longitude and latitude, though they may be degrees."""
SIGNS = {"true": "u", "false": "i"}
"""By `_Unsigned`: the kind of integer that the stored ones are meant as."""


@dataclass(frozen=True)
class Gridded:
    """A field on its grid.

    Attributes
    ----------
    values
        (H, W), north first, NaN where the file has no valid value.
    told
        What was done about the valid range that the file states, empty where it states none.
    """

    grid: Grid
    values: NDArray[np.float32]
    told: str


class CfSource:
    """Any CF NetCDF rain rate; the time is the end of its interval, by its bounds or where it states none."""

    name = "cf"
    satellite = False
    time_marks = ENDS

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell NetCDF by its suffix and the signature of classic or HDF5 files."""
        return path.suffix in {".nc", ".nc4", ".cdf"} and head.startswith(NETCDF)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with open_netcdf(path) as dataset:
            field = _rain_variable(dataset, path)
            unit = str(field.attrs.get("units", "")).strip()
            if unit not in TO_MM_PER_HOUR:
                raise UnreadableFile(
                    f"{path}: unit {unit!r} of {field.name} is none of {', '.join(TO_MM_PER_HOUR)}; convert it"
                )
            time = one_time(_at_ends(dataset), field, path)
            y_name = str(field.squeeze(drop=True).dims[0])
            found = grid_and_rows(dataset, field, crs_of(dataset, field, y_name, path), path)
            minutes = float(dataset.attrs.get("accumulation_minutes", 0.0))
        rate = found.values * np.float32(TO_MM_PER_HOUR[unit])
        return noted(make_frame(rate, found.grid, time, self.name, accumulation_minutes=minutes), found.told)


def _at_ends(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with each time at the end of its interval, where `bounds` state one (CF 1.11, chapter 7.1)."""
    bounds = {name: dataset.variables.get(dataset[name].attrs.get("bounds")) for name in TIMES if name in dataset}
    ends = {
        name: edges[..., 1].values for name, edges in bounds.items() if edges is not None and edges.shape[-1:] == (2,)
    }
    return dataset.assign({name: (dataset[name].dims, end) for name, end in ends.items()})


def _rain_variable(dataset: xr.Dataset, path: Path) -> xr.DataArray:
    for name in STANDARD_NAMES:
        for variable in dataset.data_vars.values():
            if variable.attrs.get("standard_name") == name and variable.ndim >= 2:
                return variable
    raise UnreadableFile(
        f"{path}: no variable with standard_name {' / '.join(STANDARD_NAMES)},"
        f" only {', '.join(map(str, dataset.data_vars))};"
        " set the standard_name of the rain rate"
    )


def utc(text: str) -> datetime:
    """Return the aware UTC instant of an ISO 8601 text; one without a zone is UTC, wherever this machine is."""
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def one_time(dataset: xr.Dataset, field: xr.DataArray, path: Path) -> datetime:
    """Return the file's one time, aware UTC, or raise `WrongTime` or `UnreadableFile` (for several)."""
    for name in TIMES:
        if name in field.coords or name in dataset.variables:
            values = np.ravel(dataset[name].values)
            if len(values) != 1:
                raise UnreadableFile(f"{path}: holds {len(values)} times; write one file per time (cdo splitsel,1)")
            if not np.issubdtype(values.dtype, np.datetime64) or np.isnat(values[0]):
                raise WrongTime(
                    f"{path}: {name}={values[0]!r} is no time; give CF units such as 'seconds since 1970-01-01'"
                )
            nearest = values[0] + np.timedelta64(500, "ms")  # days as a float are microseconds off
            return datetime.fromtimestamp(int(nearest.astype("datetime64[s]").astype(np.int64)), UTC)
    raise WrongTime(f"{path}: no coordinate {' or '.join(TIMES)}; add one")


def grid_and_rows(
    dataset: xr.Dataset,
    field: xr.DataArray,
    crs: str,
    path: Path,
    scale: float = 0.0,
    marks: tuple[float, ...] = (),
) -> Gridded:
    """Return the grid of a field's 1-D coordinates and its valid values; kilometres become metres.

    Parameters
    ----------
    scale
        Factor from coordinate units to units of `crs`; 0 = as the coordinate's units say.
    marks
        Values that mean something though they may lie outside the valid range.
    """
    check_scale(path, float(field.encoding.get("scale_factor", 1.0)))
    stated, field = field, field.squeeze(drop=True)
    if field.ndim != 2:
        raise UnreadableFile(f"{path}: {field.name} has dims {field.dims} after dropping single ones; give two")
    check_shape(path, *field.shape)
    y_name, x_name = (str(d) for d in field.dims)
    if y_name not in dataset.variables or x_name not in dataset.variables:
        raise UnreadableFile(f"{path}: no 1-D coordinates {y_name} and {x_name}; regrid the file or describe its grid")
    axes = {_axis_told(dataset[name]) for name in (y_name, x_name)}
    if axes in ({"x"}, {"y"}):
        raise UnreadableFile(
            f"{path}: {y_name} and {x_name} of {field.name} both say that they are the {axes.pop()} axis;"
            " correct their units, standard_name or axis"
        )
    field = _rows_first(dataset, field)
    y_name, x_name = (str(d) for d in field.dims)
    y, x = (_axis(dataset[name], crs, scale) for name in (y_name, x_name))
    values = _unrounded(np.asarray(field.values, dtype=np.float32), stated)
    if y[0] < y[-1]:
        y, values = y[::-1], values[::-1]
    values, told = _valid(stated, values, marks)
    try:
        return Gridded(Grid.of(crs, x, y), values, told)
    except ValueError as error:
        raise UnreadableFile(f"{path}: {error}; regrid the file") from error


def _unrounded(values: NDArray[np.float32], field: xr.DataArray) -> NDArray[np.float32]:
    """Return packed values with 0 for what is below it by less than half a code: 0 is no code of most packings."""
    codes = np.dtype(field.encoding.get("dtype", "f4")).kind in "iu"
    step = abs(float(field.encoding.get("scale_factor", 0.0))) if codes else 0.0
    return np.where((values < 0) & (values > -0.51 * step), np.float32(0), values) if step else values


def _valid(
    field: xr.DataArray, values: NDArray[np.float32], marks: tuple[float, ...]
) -> tuple[NDArray[np.float32], str]:
    """Return the values, NaN outside the valid range that the file states for them, and what was done.

    Of packed data the bounds are those of the packed values, and must be of their type. Where they are not, some mean
    unpacked values and others do not: which one, nothing says, so they are told and not applied.
    """
    bounds = {name: np.ravel(field.attrs[name]) for name in BOUNDS if name in field.attrs}
    if not bounds:
        return values, ""
    told = f"{field.name} states {', '.join(f'{name} {str(stated[:2])[:80]}' for name, stated in bounds.items())}"
    stored, packed = np.dtype(field.encoding.get("dtype", "f4")), {"scale_factor", "add_offset"} & set(field.encoding)
    if any(stated.dtype.kind not in "iuf" or len(stated) != len(BOUNDS[name]) for name, stated in bounds.items()):
        return values, f"{told}, which bounds nothing and is not applied"
    if packed and any(stated.dtype != stored for stated in bounds.values()):
        return values, f"{told}, not of the packed values' type ({stored}), so it is not applied (CF 2.5.1)"
    limits = np.array([-np.inf, np.inf])
    for name, stated in bounds.items():
        sign = SIGNS.get(str(field.encoding.get("_Unsigned")).lower()) if stated.dtype.kind in "iu" else None
        limits[BOUNDS[name]] = stated.view(f"{sign}{stated.itemsize}") if sign else stated
    if packed:
        limits += np.array([-0.5, 0.5]) if stored.kind in "iu" else 0  # codes are whole, unpacked values are rounded
        limits = np.sort(limits * field.encoding.get("scale_factor", 1.0) + field.encoding.get("add_offset", 0.0))
    low, high = limits.astype(np.float32)
    outside = (values < low) | (values > high)
    outside[np.isin(values, np.array(marks, np.float32))] = False
    if not outside.any():
        return values, ""
    return np.where(outside, np.float32(np.nan), values), f"{told}: {outside.sum()} cells outside it are not seen"


def north_first(dataset: xr.Dataset, field: xr.DataArray) -> NDArray:
    """Return the field's values, (H, W), with the northernmost row first: for fields beside the rain rate."""
    field = _rows_first(dataset, field.squeeze(drop=True))
    y = dataset[str(field.dims[0])].values
    return np.asarray(field.values[::-1] if y[0] < y[-1] else field.values)


def _rows_first(dataset: xr.Dataset, field: xr.DataArray) -> xr.DataArray:
    """Return the field as (y, x): turned where its coordinates say that it is (x, y)."""
    first, second = (_axis_told(dataset[name]) for name in field.dims)
    return field.transpose() if first == "x" or second == "y" else field


def _axis_told(coordinate: xr.DataArray) -> str:
    told = [str(coordinate.attrs.get(key, "")).strip() for key in ("units", "standard_name", "axis")]
    return next((axis for axis, words in AXES.items() if any(map(words.fullmatch, told))), "")


def _axis(coordinate: xr.DataArray, crs: str, scale: float) -> NDArray[np.float64]:
    values = coordinate.values.astype(np.float64)
    if scale:
        return values * scale
    if coordinate.attrs.get("units") in {"km", "kilometre", "kilometer"}:
        return values * (1000.0 / CRS.from_user_input(crs).axis_info[0].unit_conversion_factor)
    return values


def crs_of(dataset: xr.Dataset, field: xr.DataArray, y_name: str, path: Path) -> str:
    """Return the CRS (WKT) of the field's grid mapping, in metres; WGS 84 where coordinates are degrees."""
    stated = field.attrs.get("grid_mapping") or field.encoding.get("grid_mapping") or ""
    mapping = str(stated).split(":")[0].strip()  # "crs: x y" says which coordinates it is of
    if mapping in dataset.variables:
        attributes = dataset[mapping].attrs
        return str(attributes["crs_wkt"]) if "crs_wkt" in attributes else CRS.from_cf(attributes).to_wkt()
    y = dataset[y_name].attrs
    if str(y.get("units", "")).startswith("degree") and not str(y.get("standard_name", "")).startswith(TURNED):
        return WGS84
    raise UnreadableFile(
        f"{path}: {field.name} names no grid_mapping and {y_name} is no latitude in degrees; add a grid mapping"
    )
