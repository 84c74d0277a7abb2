"""DWD RADKLIM NetCDF: the reprocessed radar climatology, YW (mm in five minutes) and RW (mm in an hour).

Winterrath et al. (2018), RADKLIM version 2017.002, doi:10.5676/DWD/RADKLIM_YW_V2017.002. The coordinates `x` and `y`
are kilometres (or metres, as their units say) of the RADOLAN sphere; the grid mapping is not relied on. The time
ends the interval. Archives hold a month a file: split them into one file per time (`cdo splitsel,1`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.sources.base import ENDS, named, noted
from nowcast.sources.cf import grid_and_rows, one_time
from nowcast.sources.guard import NETCDF, open_netcdf
from nowcast.sources.radolan import SPHERE

MINUTES = {"YW": 5.0, "RW": 60.0}
"""By variable."""
AMOUNT_UNITS = ("mm", "kg m-2", "mm (5 min)-1", "mm/5min", "mm/h", "mm h-1")


@dataclass(frozen=True)
class RadklimSource:
    """DWD's radar climatology; the time ends the interval."""

    name: str = "dwd-radklim"
    patterns: tuple[str, ...] = ("YW*.nc", "RW_*.nc", "*radklim*.nc", "*RADKLIM*.nc")
    satellite: bool = False
    time_marks: str = ENDS

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by NetCDF's signature and the name."""
        return head.startswith(NETCDF) and named(path, self.patterns)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with open_netcdf(path) as dataset:
            name = next((name for name in MINUTES if name in dataset.data_vars), None)
            if name is None:
                raise UnreadableFile(f"{path}: no variable {' or '.join(MINUTES)}; name the source that it is")
            field = dataset[name]
            unit = str(field.attrs.get("units", "mm")).strip()
            if unit not in AMOUNT_UNITS:
                raise UnreadableFile(
                    f"{path}: unit {unit!r} of {name} is none of {', '.join(AMOUNT_UNITS)}; convert it"
                )
            time = one_time(dataset, field, path)
            found = grid_and_rows(dataset, field, SPHERE, path)
        minutes = MINUTES[name]
        per_hour = 1.0 if unit in {"mm/h", "mm h-1"} else 60 / minutes
        rate = np.where(found.values < 0, np.float32(np.nan), found.values * np.float32(per_hour))
        return noted(make_frame(rate, found.grid, time, self.name, accumulation_minutes=minutes), found.told)
