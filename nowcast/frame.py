"""The canonical frame: one observed field of one source at one valid time.

An `xarray.Dataset` with dims `(y, x)`, row 0 north, and `rain_rate` float32 in mm/h. Three states, never confused:
NaN = not seen, 0 = seen and dry, > 0 = rain. `valid_time` is naive in the array (xarray has no zones) and UTC by
contract; it is the end of the accumulation interval. Attributes: `source`, `digest` (SHA-256 of the file),
`accumulation_minutes` (0 = instantaneous).
"""

from datetime import UTC, datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import WrongGrid, WrongTime
from nowcast.grid import Grid

DRY_BELOW = 0.1
"""Rates below this (mm/h) count as dry, as in the field's verification practice."""

RAIN_ATTRS = {"standard_name": "rainfall_rate", "units": "mm h-1", "long_name": "rain rate", "grid_mapping": "crs"}


def make_frame(
    rain_rate: NDArray[np.floating],
    grid: Grid,
    valid_time: datetime,
    source: str,
    digest: str = "",
    accumulation_minutes: float = 0.0,
    quality: NDArray[np.floating] | None = None,
) -> xr.Dataset:
    """Return a frame from a field on `grid`.

    Parameters
    ----------
    rain_rate
        (height, width), mm/h; NaN = not seen, 0 = dry. Negative rates are refused, not clipped.
    quality
        (height, width), 0 … 1, where the source states one.

    Raises
    ------
    WrongGrid, WrongTime
        When field and grid differ in shape, or the time is not aware.
    """
    if rain_rate.shape != grid.shape:
        raise WrongGrid(f"field of shape {rain_rate.shape} does not fit the grid {grid.shape}; check the reader")
    if valid_time.tzinfo is None:
        raise WrongTime(f"valid time {valid_time} has no zone; readers must give aware UTC")
    values = np.ascontiguousarray(rain_rate, dtype=np.float32)
    if np.nanmin(values, initial=0.0) < 0 or np.isinf(values).any():
        raise WrongGrid(
            f"rates must be finite and ≥ 0, got a minimum of {np.nanmin(values)}; is a code taken for rain?"
        )
    variables: dict[str, object] = {"rain_rate": (("y", "x"), values, RAIN_ATTRS)}
    if quality is not None:
        variables["quality"] = (("y", "x"), quality.astype(np.float32), {"units": "1", "grid_mapping": "crs"})
    stamp = np.datetime64(valid_time.astimezone(UTC).replace(tzinfo=None), "ns")
    return xr.Dataset(
        variables,
        coords={**grid.coordinates(), "valid_time": ((), stamp, {"standard_name": "time"})},
        attrs={
            "Conventions": "CF-1.11",
            "source": source,
            "digest": digest,
            "accumulation_minutes": float(accumulation_minutes),
        },
    )


def valid_time(frame: xr.Dataset) -> datetime:
    """Return the frame's valid time, aware UTC."""
    nanoseconds = int(frame["valid_time"].values.astype("datetime64[ns]").astype(np.int64))
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)


def grid_of(frame: xr.Dataset) -> Grid:
    """Return the grid that the frame lies on."""
    return Grid.of(frame["crs"].attrs["crs_wkt"], frame["x"].values, frame["y"].values)
