"""Your own files: a NetCDF or GeoTIFF source described by ten lines of TOML.

::

    [sources.our-radar]
    reader = "netcdf"                  # or "geotiff"; or a source we have (`odim`, `fmi-pgm`, …), read under this name
    files = ["RR_*.nc"]                # names it goes by
    variable = "rr"                    # of the NetCDF; `band = 1` of a GeoTIFF
    unit = "mm"                        # mm/h, mm s-1, kg m-2 s-1, m s-1; mm (in `minutes`); dBZ (by `zr`)
    minutes = 5                        # length of the accumulation; leave out where instantaneous
    time_in_name = "RR_%Y%m%d%H%M"     # leave out where the NetCDF has a coordinate `valid_time` or `time`
    time_marks = "end"                 # "start" is moved to the end by `minutes`
    nodata = [-9999]                   # not seen, beside the file's own fill value
    undetect = [-8888]                 # seen and dry
    scale = 1.0                        # value = scale · stored + offset, where the file does not say so itself
    offset = 0.0
    crs = "EPSG:3035"                  # where the file does not say
    zr = [200.0, 1.6]                  # Z = a·R^b
    satellite = false
"""

import re
import tomllib
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import ConfigError, UnreadableFile, WrongTime
from nowcast.frame import make_frame
from nowcast.sources.base import ENDS, MARSHALL_PALMER, ZR, Source, named, noted
from nowcast.sources.cf import TO_MM_PER_HOUR, Gridded, crs_of, grid_and_rows, one_time
from nowcast.sources.geotiff import TIFF, open_geotiff
from nowcast.sources.guard import NETCDF, check_scale, open_netcdf

AMOUNTS = ("mm", "kg m-2")
REFLECTIVITY = ("dBZ",)
UNITS = (*TO_MM_PER_HOUR, *AMOUNTS, *REFLECTIVITY)
DIGITS = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2, "%j": 3, "%y": 2}
READERS = ("netcdf", "geotiff")


@dataclass(frozen=True)
class OwnSource:
    """A source described in a file; see the module's example for what each field means."""

    name: str
    reader: str
    files: tuple[str, ...]
    unit: str
    variable: str = ""
    band: int = 1
    minutes: float = 0.0
    time_in_name: str = ""
    marks: str = "end"
    nodata: tuple[float, ...] = ()
    undetect: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    crs: str = ""
    zr: ZR = MARSHALL_PALMER
    satellite: bool = False

    def __post_init__(self) -> None:
        self._need(self.reader in READERS, f"reader must be one of {', '.join(READERS)}, got {self.reader!r}")
        self._need(bool(self.files), "files must name at least one pattern, such as 'RR_*.nc'")
        self._need(self.unit in UNITS, f"unit must be one of {', '.join(UNITS)}, got {self.unit!r}")
        self._need(self.unit not in AMOUNTS or self.minutes > 0, f"unit {self.unit!r} needs minutes > 0")
        self._need(self.reader == "geotiff" or bool(self.variable), "a NetCDF needs the name of its variable")
        self._need(self.reader == "netcdf" or bool(self.time_in_name), "a GeoTIFF needs time_in_name")
        self._need(self.marks in {"start", "end"}, f"time_marks must be 'start' or 'end', got {self.marks!r}")
        self._need(self.marks == "end" or self.minutes > 0, "time_marks 'start' needs minutes > 0: the end is wanted")
        self._need(self.scale != 0, "scale must not be 0: all would be dry")
        unknown = set(re.findall("%.", self.time_in_name)) - set(DIGITS)
        self._need(not unknown, f"time_in_name knows {' '.join(DIGITS)}, in UTC, not {' '.join(sorted(unknown))}")

    @property
    def time_marks(self) -> str:
        """Always the end: a stated start is moved."""
        return ENDS

    @staticmethod
    def _need(met: bool, message: str) -> None:
        if not met:
            raise ValueError(message)

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the name and the signature."""
        return named(path, self.files) and head.startswith(NETCDF if self.reader == "netcdf" else TIFF)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        found, time = self._netcdf(path) if self.reader == "netcdf" else self._geotiff(path)
        if self.marks == "start":
            time += timedelta(minutes=self.minutes)
        frame = make_frame(found.values, found.grid, time, self.name, accumulation_minutes=self.minutes)
        return noted(frame, found.told)

    def _netcdf(self, path: Path) -> tuple[Gridded, datetime]:
        with open_netcdf(path) as dataset:
            if self.variable not in dataset:
                told = ", ".join(map(str, dataset.data_vars))
                raise UnreadableFile(
                    f"{path}: no variable {self.variable!r}, only {told}; correct the source's variable"
                )
            field = dataset[self.variable]
            time = self._time(path) if self.time_in_name else one_time(dataset, field, path)
            crs = self.crs or crs_of(dataset, field, str(field.squeeze(drop=True).dims[0]), path)
            found = grid_and_rows(dataset, field, crs, path, marks=self.undetect)
        return replace(found, values=self._rate(found.values)), time

    def _geotiff(self, path: Path) -> tuple[Gridded, datetime]:
        raster = open_geotiff(path, self.band)
        check_scale(path, raster.scale)
        values = np.where(raster.seen, raster.values, np.nan).astype(np.float32)
        grid = replace(raster.grid, crs=self.crs) if self.crs else raster.grid
        return Gridded(grid, self._rate(values, raster.scale, raster.offset), raster.told), self._time(path)

    def _rate(self, stored: NDArray[np.float32], scale: float = 1.0, offset: float = 0.0) -> NDArray[np.float32]:
        """Return mm/h; `scale` and `offset` are the file's own, `nodata` and `undetect` are of `stored`."""
        values = stored * np.float32(scale) + np.float32(offset)
        values = values * np.float32(self.scale) + np.float32(self.offset)
        if self.unit in REFLECTIVITY:
            values = self.zr.rate(values)
        else:
            values *= np.float32(60 / self.minutes if self.unit in AMOUNTS else TO_MM_PER_HOUR[self.unit])
        values[np.isin(stored, np.array(self.undetect, np.float32))] = 0
        values[np.isin(stored, np.array(self.nodata, np.float32))] = np.nan
        return values

    def _time(self, path: Path) -> datetime:
        pattern = re.sub(r"%[a-zA-Z]", lambda m: rf"\d{{{DIGITS[m[0]]}}}", re.escape(self.time_in_name))
        match = re.search(pattern, path.name)
        if not match:
            raise WrongTime(f"{path}: no time like {self.time_in_name!r} in the name; correct time_in_name or the name")
        return datetime.strptime(match[0], self.time_in_name).replace(tzinfo=UTC)


def read_sources(path: Path, known: tuple[Source, ...]) -> tuple[Source, ...]:
    """Return the sources that a TOML file describes, in its order.

    Parameters
    ----------
    known
        Sources whose reader a description may name.

    Raises
    ------
    ConfigError
        With the file, the source and what is wrong with it.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get("sources", {})
    except (OSError, ValueError) as error:  # ValueError: no TOML, or no UTF-8
        raise ConfigError(f"{path}: {error}; give a TOML file of sources") from error
    return tuple(_described(name, table, known, path) for name, table in tables.items())


def _described(name: str, table: dict[str, Any], known: tuple[Source, ...], path: Path) -> Source:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        if "zr" in values:
            values["zr"] = ZR(*values["zr"])
        if values.get("reader") in READERS:
            return OwnSource(name=name, **{"marks" if key == "time_marks" else key: v for key, v in values.items()})
        return _renamed(name, values, known)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: source {name!r}: {error}; see the tutorial 'Your own files'") from error


def _renamed(name: str, values: dict[str, Any], known: tuple[Source, ...]) -> Source:
    """Return a known source under another name, with other patterns, quantity or Z–R."""
    reader = values.pop("reader", "")
    base: Any = next((source for source in known if source.name == reader), None)
    if base is None:
        raise ValueError(f"reader must be {', '.join((*READERS, *(s.name for s in known)))}, got {reader!r}")
    if "files" in values:
        values["patterns"] = values.pop("files")
    allowed = {field.name for field in fields(base)} if hasattr(base, "__dataclass_fields__") else set()
    if unknown := set(values) - allowed:
        raise ValueError(f"{reader} has no {', '.join(sorted(unknown))}, only {', '.join(sorted(allowed))}")
    renamed: Source = replace(base, name=name, **values)
    return renamed
