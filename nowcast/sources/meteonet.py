"""MeteoNet (Météo-France) rain: 1/100 mm in five minutes on 0.01° grids of north-western and south-eastern France.

Here `.npz` as published (a NetCDF conversion is source `cf`), one time a file: `data` (H, W) or
(1, H, W), −1 = not seen, and `dates`. As published, `dates` is a pickle, which is code, and never loaded: save it as
`datetime64`, or name the file `…_YYYYmmddHHMM.npz`. The time ends the interval.
"""

import re
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import UnreadableFile, WrongTime
from nowcast.frame import make_frame
from nowcast.grid import WGS84, Grid
from nowcast.sources.base import ENDS, named
from nowcast.sources.guard import MAX_BYTES

GRIDS = {
    "NW": Grid(WGS84, -5.837, 51.891, 0.01, 0.01, 565, 784),
    "SE": Grid(WGS84, 2.005, 46.245, 0.01, 0.01, 515, 784),
}
STAMP = re.compile(r"_(\d{12})\.npz$")
PER_HOUR = 12 * 0.01
UNSEEN = -1


@dataclass(frozen=True)
class MeteonetSource:
    """MeteoNet rain; the time ends the interval."""

    name: str = "meteonet"
    patterns: tuple[str, ...] = ("rainfall_NW_*.npz", "rainfall_SE_*.npz")
    satellite: bool = False
    time_marks: str = ENDS

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the name and ZIP's signature."""
        return named(path, self.patterns) and head.startswith(b"PK")

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        grid = GRIDS[path.name.split("_")[1]]
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise UnreadableFile(f"{path}: unpacks to more than {MAX_BYTES} bytes; give one file per time")
        with np.load(path, allow_pickle=False) as arrays:
            data = arrays["data"]
            time = _time(path, arrays)
        if data.ndim == 3 and len(data) == 1:
            data = data[0]
        if data.shape != grid.shape:
            raise UnreadableFile(
                f"{path}: data of shape {data.shape}, one time takes {grid.shape}; give one file per time"
            )
        return make_frame(_rate(data), grid, time, self.name, accumulation_minutes=5.0)


def _rate(data: NDArray[np.integer]) -> NDArray[np.float32]:
    rate = data.astype(np.float32) * np.float32(PER_HOUR)
    rate[data == UNSEEN] = np.nan
    return rate


def _time(path: Path, arrays: "np.lib.npyio.NpzFile") -> datetime:
    if match := STAMP.search(path.name):
        return datetime.strptime(match[1], "%Y%m%d%H%M").replace(tzinfo=UTC)
    try:
        dates = np.ravel(arrays["dates"])
    except (KeyError, ValueError) as error:
        raise WrongTime(
            f"{path}: no dates, or dates that are a pickle (which is code, and never loaded); name the file"
            " …_YYYYmmddHHMM.npz or save dates as datetime64"
        ) from error
    if len(dates) != 1 or not np.issubdtype(dates.dtype, np.datetime64):
        raise WrongTime(
            f"{path}: {len(dates)} dates of type {dates.dtype}; give one file per time, dates as datetime64"
        )
    return datetime.fromtimestamp(int(dates[0].astype("datetime64[s]").astype(np.int64)), UTC)
