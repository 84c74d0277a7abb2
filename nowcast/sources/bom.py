"""BOM Rainfields NetCDF (`*.prcp-*.nc`): accumulations in kg m⁻².

They run from `start_time` to `valid_time`, which ends the interval. Coordinates are kilometres of the projection in
the grid mapping variable, taken for cell centres as CF has it (they run from -128 to 127.5 km about the radar, so
they may be north-western corners: 250 m); `_FillValue` is not seen.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.sources.base import ENDS, named, noted
from nowcast.sources.cf import crs_of, grid_and_rows, one_time
from nowcast.sources.guard import NETCDF, open_netcdf


@dataclass(frozen=True)
class BomSource:
    """Bureau of Meteorology, Rainfields; the time ends the interval."""

    name: str = "bom"
    patterns: tuple[str, ...] = ("*.prcp-*.nc",)
    satellite: bool = False
    time_marks: str = ENDS

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by NetCDF's signature and the name."""
        return head.startswith(NETCDF) and named(path, self.patterns)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with open_netcdf(path) as dataset:
            missing = {"precipitation", "start_time", "valid_time"} - set(dataset.variables)
            if missing:
                raise UnreadableFile(f"{path}: lacks {', '.join(sorted(missing))}; name the source that it is")
            field = dataset["precipitation"]
            end = one_time(dataset, field, path)
            span = dataset["valid_time"].values - dataset["start_time"].values
            minutes = float(span / np.timedelta64(1, "m"))
            found = grid_and_rows(dataset, field, crs_of(dataset, field, "y", path), path)
        if not 0 < minutes <= 1440:
            raise UnreadableFile(f"{path}: accumulation lasts {minutes:g} min; fetch it again")
        rate = found.values * np.float32(60 / minutes)
        return noted(make_frame(rate, found.grid, end, self.name, accumulation_minutes=minutes), found.told)
