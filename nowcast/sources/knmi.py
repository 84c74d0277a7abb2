"""KNMI HDF5 composites (`RAD_NL25_*`): accumulated rain (mm) or reflectivity (dBZ) on a polar stereographic grid.

The format is KNMI's "HDF5 data format" 3.5. The ellipsoid is stated in kilometres; grids here are in metres.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.sources.base import ENDS, zr_rate
from nowcast.sources.guard import HDF5, check_shape, check_written, open_hdf5

NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
FORMULA = re.compile(rf"\s*GEO\s*=\s*([-+]?{NUMBER})\s*\*\s*PV\s*(?:(?:\+\s*)?([-+])\s*({NUMBER})\s*)?")
"""KNMI writes a negative offset as `GEO=0.500000*PV+-32.000000`; others as `GEO = 0.5 * PV - 32`."""


class KnmiSource:
    """KNMI national composite; the time ends the five-minute interval."""

    name = "knmi"
    satellite = False
    time_marks = ENDS

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell a KNMI file by HDF5's signature and its name."""
        return head.startswith(HDF5) and path.name.startswith("RAD_NL")

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with open_hdf5(path) as file:
            start, end = (_time(file["overview"].attrs[f"product_datetime_{edge}"]) for edge in ("start", "end"))
            check_written(path, file["image1/image_data"])
            codes = file["image1/image_data"][...]
            calibration = file["image1/calibration"].attrs
            parameter = _text(file["image1"].attrs["image_geo_parameter"])
            grid = _grid(file["geographic"])
            check_shape(path, *grid.shape)
            values = _decode(codes, calibration)
        minutes = (end - start).total_seconds() / 60
        if "REFLECTIVITY" in parameter:
            return make_frame(zr_rate(values), grid, end, self.name)
        if "PRECIPITATION" not in parameter or minutes <= 0:
            raise UnreadableFile(f"{path}: parameter {parameter!r} over {minutes} min is no rain; give a rain product")
        return make_frame(values * np.float32(60 / minutes), grid, end, self.name, accumulation_minutes=minutes)


def _text(value: object) -> str:
    item = np.asarray(value).ravel()[0]
    return item.decode("ascii") if isinstance(item, bytes) else str(item)


def _time(value: object) -> datetime:
    return datetime.strptime(_text(value).split(".")[0], "%d-%b-%Y;%H:%M:%S").replace(tzinfo=UTC)


def _decode(codes: NDArray[np.integer], calibration: h5py.AttributeManager) -> NDArray[np.float32]:
    scale, offset = _calibration(_text(calibration["calibration_formulas"]))
    unseen = {int(np.ravel(calibration[f"calibration_{k}"])[0]) for k in ("missing_data", "out_of_image")}
    values = codes.astype(np.float32) * np.float32(scale) + np.float32(offset)
    values[np.isin(codes, list(unseen))] = np.nan
    return values


def _calibration(formula: str) -> tuple[float, float]:
    match = FORMULA.fullmatch(formula)
    if not match or not float(match[1]):  # by a factor of 0 all would be dry
        raise UnreadableFile(f"calibration formula {formula!r} is not GEO=a*PV+b; this KNMI product is not supported")
    return float(match[1]), float(f"{match[2]}{match[3]}") if match[3] else 0.0


def _grid(geographic: h5py.Group) -> Grid:
    attributes = geographic.attrs

    def number(name: str) -> float:
        return float(np.ravel(attributes[name])[0])

    proj4 = _text(geographic["map_projection"].attrs["projection_proj4_params"])
    axes = re.sub(r"\+([ab])=([\d.]+)", lambda m: f"+{m[1]}={float(m[2]) * 1000:.3f}", proj4)
    dx, dy = number("geo_pixel_size_x") * 1000, abs(number("geo_pixel_size_y")) * 1000
    return Grid(
        crs=f"{axes} +units=m +no_defs +type=crs",
        x0=number("geo_column_offset") * dx + dx / 2,
        y0=-number("geo_row_offset") * dy - dy / 2,
        dx=dx,
        dy=dy,
        height=int(number("geo_number_rows")),
        width=int(number("geo_number_columns")),
    )
