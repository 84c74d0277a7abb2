"""GOES-R ABI level 2 rain rate (RRQPE) NetCDF on the ABI fixed grid.

GOES-R Product Definition and Users' Guide, volume 5. `RRQPE` in mm/h; `x` and `y` are scan angles in radians, times
the perspective height they are metres of the geostationary projection (sweep axis x). Cells whose `DQF` is not 0
keep their rate with quality 0; fill values are not seen. The valid time is the end of the scan
(`time_coverage_end`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from pyproj import CRS

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.sources.base import INSTANT, named, noted
from nowcast.sources.cf import grid_and_rows, north_first, utc
from nowcast.sources.guard import NETCDF, open_netcdf


@dataclass(frozen=True)
class GoesSource:
    """GOES ABI rain rate; the time is the end of the scan."""

    name: str = "goes-rrqpe"
    patterns: tuple[str, ...] = ("OR_ABI-L2-RRQPE*.nc",)
    satellite: bool = True
    time_marks: str = INSTANT

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by NetCDF's signature and the name."""
        return head.startswith(NETCDF) and named(path, self.patterns)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with open_netcdf(path) as dataset:
            missing = {"RRQPE", "goes_imager_projection", "x", "y"} - set(dataset.variables)
            if missing:
                raise UnreadableFile(f"{path}: lacks {', '.join(sorted(missing))}; name the source that it is")
            field, projection = dataset["RRQPE"], dataset["goes_imager_projection"].attrs
            unit = str(field.attrs.get("units"))
            if unit not in {"mm h-1", "mm/h", "mm hr-1"}:
                raise UnreadableFile(f"{path}: unit {unit!r} of RRQPE is not mm h-1; convert it")
            height = float(projection["perspective_point_height"])
            found = grid_and_rows(dataset, field, CRS.from_cf(projection).to_wkt(), path, scale=height)
            quality = None
            if "DQF" in dataset:
                quality = np.where(north_first(dataset, dataset["DQF"]) == 0, np.float32(1), np.float32(0))
            end = utc(str(dataset.attrs["time_coverage_end"]))
        return noted(make_frame(found.values, found.grid, end, self.name, quality=quality), found.told)
