"""A whole run as NetCDF: CF, or as pysteps reads its own (dims `ens_number, time, y, x`).

Written chunk by chunk into a file, which is then sent from there: neither the fields nor the file are held in memory.
"""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from api.files.shelf import require_room
from nowcast import __version__
from nowcast.chunks import SIDE
from nowcast.frame import DRY_BELOW
from nowcast.grid import Grid
from nowcast.output import WRITING, Block, forecast_dataset, unfilled, write_netcdf_blocks
from nowcast.run import Run
from nowcast.store.pixels import RunPixels

HELD_BYTES = 2**20
"""What HDF5 holds back of a variable: less than a chunk of two hours. Unasked it takes 64 MiB, which held all of it."""


def write_cf(pixels: RunPixels, run: Run, grid: Grid, path: Path) -> None:
    """Write all products of a run, with its provenance as attributes."""
    told = {
        "title": f"Rain nowcast, {run.region}",
        "source": f"model {run.model} ({run.rung}), plan {run.plan}",
        "region": run.region,
        "flags": " ".join(run.flags),
        "input_digests": " ".join(run.frames),
        "history": f"{run.published_at:%Y-%m-%dT%H:%MZ} nowcast {__version__}",  # the same file from every process
    }
    shape = (run.leads, *grid.shape)
    template = forecast_dataset({p: unfilled(shape) for p in run.products}, grid, run.base_time, told)
    blocks = (
        (product, (slice(None), rows, columns), values)
        for product in run.products
        for rows, columns, values in pixels.parts(run, product)
    )
    _write(template, blocks, path)


def write_pysteps(pixels: RunPixels, run: Run, grid: Grid, path: Path) -> None:
    """Write what pysteps' blending takes as a nowcast: members where the run has them, else its mean as the one.

    As pysteps' own exporter does it, times count from the base time (its importer reads them as lead times), and the
    grid mapping has the name of its kind (the importer looks for `polar_stereographic`).
    """
    members = [p for p in run.products if p.startswith("rain_member_")] or ["rain_mean"]
    rain = unfilled((len(members), run.leads, *grid.shape))
    reference = np.datetime64(run.base_time.replace(tzinfo=None), "ns")
    lead = np.arange(1, run.leads + 1) * np.timedelta64(5, "m").astype("timedelta64[ns]")
    coordinates: dict[str, Any] = {
        **grid.coordinates(),
        "ens_number": ("ens_number", np.arange(1, len(members) + 1), {"standard_name": "realization"}),
        "forecast_reference_time": ((), reference, {"standard_name": "forecast_reference_time"}),
        "lead_time": ("time", lead, {"standard_name": "forecast_period"}),
        "time": ("time", reference + lead, {"standard_name": "time", "long_name": "forecast time"}),
    }
    mapping = coordinates.pop("crs")
    kind = str(mapping.attrs.get("grid_mapping_name", "crs"))
    coordinates[kind] = mapping
    described = {
        "long_name": "instantaneous precipitation rate",
        "standard_name": "instantaneous_precipitation_rate",
        "units": "mm h-1",
        "grid_mapping": kind,
        "threshold": DRY_BELOW,
        "zerovalue": 0.0,
        "transform": "None",
        "accutime": 5.0,
    }
    left, lower = float(grid.x[0]) - grid.dx / 2, float(grid.y[-1]) - grid.dy / 2
    attributes = {
        "Conventions": "CF-1.11",
        "projection": _proj4(grid),
        "institution": "nowcast",
        "datetime": f"{run.base_time:%Y%m%d%H%M}",
        "timestep": 5.0,
        "xpixelsize": grid.dx,
        "ypixelsize": grid.dy,
        "x1": left,
        "y1": lower,
        "x2": left + grid.width * grid.dx,
        "y2": lower + grid.height * grid.dy,
        "yorigin": "upper",
    }
    variables = {"precip_intensity": (("ens_number", "time", "y", "x"), rain, described)}
    since = f"{run.base_time:%Y-%m-%d %H:%M:%S}"
    blocks = (
        ("precip_intensity", (number, slice(None), rows, columns), values)
        for number, product in enumerate(members)
        for rows, columns, values in pixels.parts(run, product)
    )
    _write(xr.Dataset(variables, coordinates, attributes), blocks, path, since)


def _with_room(blocks: Iterable[Block], path: Path) -> Iterator[Block]:
    """Yield blocks for which the disk has room; HDF5 writes each at once, being larger than what it may hold back."""
    for block in blocks:
        require_room(path.parent, block[2].nbytes)
        yield block


def _write(template: xr.Dataset, blocks: Iterable[Block], path: Path, since: str = "1970-01-01") -> None:
    with WRITING:
        netCDF4.set_chunk_cache(HELD_BYTES)  # of files that are opened from now on
    write_netcdf_blocks(template, _with_room(blocks, path), SIDE, path, since)


def _proj4(grid: Grid) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pysteps has no other words for a CRS
        return grid.pyproj_crs.to_proj4()
