"""A forecast as CF NetCDF: dims `(lead_time, y, x)`, `forecast_reference_time`, one grid mapping with `crs_wkt`."""

import os
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast import __version__
from nowcast.grid import Grid
from nowcast.run import Fields

NAMES = {
    "rain_rate": ("rainfall_rate", "mm h-1", "rain rate"),
    "rain_mean": ("rainfall_rate", "mm h-1", "rain rate, mean of the ensemble"),
    "rain_p10": ("rainfall_rate", "mm h-1", "rain rate, 10th percentile of the ensemble"),
    "rain_p50": ("rainfall_rate", "mm h-1", "rain rate, median of the ensemble"),
    "rain_member": ("rainfall_rate", "mm h-1", "rain rate of a member of the ensemble"),
    "rain_source": ("", "1", "source of the rain rate: 1 for the region's first, NaN where none saw"),
    "rain_p90": ("rainfall_rate", "mm h-1", "rain rate, 90th percentile of the ensemble"),
}
STEP_MINUTES = 5
WRITING = threading.Lock()
"""netCDF-C is not thread-safe, even on separate files."""


def forecast_dataset(fields: Fields, grid: Grid, base_time: datetime, attributes: dict[str, str]) -> xr.Dataset:
    """Return a forecast as a dataset.

    Parameters
    ----------
    fields
        Products by name, (K, H, W), or `rain_member` (M, K, H, W); lead k is valid (k + 1) · 5 min after `base_time`
        (aware UTC).
    attributes
        Global attributes beside the conventional ones: source, model, rung …
    """
    leads = next(iter(fields.values())).shape[-3]
    reference = np.datetime64(base_time.astimezone(UTC).replace(tzinfo=None), "ns")
    lead = np.arange(1, leads + 1) * np.timedelta64(STEP_MINUTES, "m").astype("timedelta64[ns]")
    coordinates = {
        **grid.coordinates(),
        "forecast_reference_time": ((), reference, {"standard_name": "forecast_reference_time"}),
        "lead_time": ("lead_time", lead, {"standard_name": "forecast_period"}),
        "time": ("lead_time", reference + lead, {"standard_name": "time", "long_name": "valid time (UTC)"}),
    }
    if "rain_member" in fields:
        numbers = np.arange(1, len(fields["rain_member"]) + 1, dtype=np.int32)
        coordinates["realization"] = ("realization", numbers, {"standard_name": "realization", "units": "1"})
    variables = {}
    for name, values in fields.items():
        standard_name, units, long_name = names_of(name)
        described = {"units": units, "long_name": long_name, "grid_mapping": "crs"}
        if standard_name:
            described["standard_name"] = standard_name
        dims = ("realization", "lead_time", "y", "x")[-values.ndim :]
        variables[name] = (dims, values.astype(np.float32, copy=False), described)
    conventional = {"Conventions": "CF-1.11", "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ} nowcast {__version__}"}
    return xr.Dataset(variables, coordinates, {**conventional, **attributes})


def names_of(name: str) -> tuple[str, str, str]:
    """Return standard name, units and long name of a product."""
    if name.startswith("rain_member_"):
        standard_name, units, _ = NAMES["rain_member"]
        return standard_name, units, f"rain rate, member {int(name.removeprefix('rain_member_'))} of the ensemble"
    threshold = name.removeprefix("prob_")
    return NAMES.get(name, ("", "1", f"probability of a rain rate of at least {threshold} mm/h"))


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write atomically: a reader finds the whole file or none."""
    part = path.with_name(f".{path.name}.part")
    encoding: dict[str, dict[str, object]] = {
        str(name): {"zlib": True, "complevel": 1, "_FillValue": np.float32(np.nan)} for name in dataset.data_vars
    }
    try:
        with WRITING:
            dataset.to_netcdf(part, engine="netcdf4", encoding={**encoding, **_times()})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _times(since: str = "1970-01-01") -> dict[str, dict[str, object]]:
    instant: dict[str, object] = {"dtype": "i8", "calendar": "proleptic_gregorian", "units": f"seconds since {since}"}
    return {"forecast_reference_time": instant, "time": instant, "lead_time": {"dtype": "i8", "units": "seconds"}}


Block = tuple[str, tuple[int | slice, ...], NDArray[np.float32]]
"""A variable, which part of it, and the values of that part."""


def unfilled(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array of NaN that takes no memory: what stands in a template for values still to come."""
    return np.broadcast_to(np.float32(np.nan), shape)


def write_netcdf_blocks(
    template: xr.Dataset, blocks: Iterable[Block], side: int, path: Path, since: str = "1970-01-01"
) -> None:
    """Write, as `write_netcdf` does, a dataset whose values come block by block: one is held at a time.

    Parameters
    ----------
    template
        All but the values of its data variables, which have dims (…, y, x) and may be `unfilled`.
    blocks
        Values; what no block names stays NaN. They are asked for while the file is open, not while netCDF-C is locked.
    side
        Cells along y and x of a chunk of the file, best that of the blocks.
    since
        From when times count in the file, UTC.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with WRITING:
            template.drop_vars(list(template.data_vars)).to_netcdf(part, engine="netcdf4", encoding=_times(since))
            file = netCDF4.Dataset(part, "a")
        try:
            with WRITING:
                _add_variables(file, template, side)
            for name, where, values in blocks:
                with WRITING:
                    file[name][where] = values
        finally:
            with WRITING:
                file.close()
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _add_variables(file: netCDF4.Dataset, template: xr.Dataset, side: int) -> None:
    if "coordinates" in file.ncattrs():  # xarray says it once for the file when there are no variables
        file.delncattr("coordinates")
    beside = " ".join(sorted(str(name) for name in template.coords if name not in template.dims))
    for name, variable in template.data_vars.items():
        dims = [str(dim) for dim in variable.dims]
        sizes = (*(1 if dim == "ens_number" else template.sizes[dim] for dim in dims[:-2]), side, side)
        chunks = [min(size, whole) for size, whole in zip(sizes, variable.shape, strict=True)]
        made = file.createVariable(
            str(name), "f4", dims, zlib=True, complevel=1, chunksizes=chunks, fill_value=np.float32(np.nan)
        )
        made.setncatts({**variable.attrs, "coordinates": beside})
