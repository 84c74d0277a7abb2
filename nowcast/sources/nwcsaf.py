"""NWC SAF GEO convective rain rate (CRR, CRR-Ph) NetCDF on the geostationary grid of its satellite.

`crr_intensity` (or `crrph_intensity`) in mm/h; `_FillValue` is not seen. The valid time is the end of the region's
scan (`time_coverage_end`), not the nominal time of the disk: over Europe, Meteosat is twelve minutes later than
nominal, which at 15 m/s is 11 km. `crr_quality` (bits 4 to 6) becomes 1 good, 0.5 questionable or interpolated, 0
bad.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.sources.base import INSTANT, named, noted
from nowcast.sources.cf import grid_and_rows, north_first, utc
from nowcast.sources.guard import NETCDF, open_netcdf

VARIABLES = ("crr_intensity", "crrph_intensity")
QUALITY = {8: 1.0, 16: 0.5, 24: 0.0, 32: 0.5}
QUALITY_BITS = 56


@dataclass(frozen=True)
class NwcsafSource:
    """NWC SAF CRR from a geostationary satellite; the time is the end of the region's scan."""

    name: str = "nwcsaf-crr"
    patterns: tuple[str, ...] = ("S_NWC_CRR*.nc",)
    satellite: bool = True
    time_marks: str = INSTANT

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by NetCDF's signature and the name."""
        return head.startswith(NETCDF) and named(path, self.patterns)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with open_netcdf(path) as dataset:
            name = next((name for name in VARIABLES if name in dataset.data_vars), None)
            if name is None:
                raise UnreadableFile(f"{path}: no variable {' or '.join(VARIABLES)}; name the source that it is")
            unit = dataset[name].attrs.get("units")
            if unit != "mm/h":
                raise UnreadableFile(f"{path}: unit {unit!r} of {name} is not mm/h; convert it")
            end = utc(str(dataset.attrs["time_coverage_end"]))
            crs = f"{dataset.attrs['gdal_projection']} +units=m +no_defs +type=crs"
            found = grid_and_rows(dataset, dataset[name], crs, path)
            quality = _quality(dataset, name.replace("_intensity", "_quality"))
        return noted(make_frame(found.values, found.grid, end, self.name, quality=quality), found.told)


def _quality(dataset: xr.Dataset, name: str) -> NDArray[np.float32] | None:
    """Return 0 … 1, (H, W), north first."""
    if name not in dataset:
        return None
    flags = np.nan_to_num(north_first(dataset, dataset[name])).astype(np.uint16) & QUALITY_BITS
    table = np.full(QUALITY_BITS + 1, np.nan, np.float32)
    for bits, value in QUALITY.items():
        table[bits] = value
    quality: NDArray[np.float32] = table[flags]
    return quality
